import HyperDHT

/// What `forward` and `expose` agree on (tunnels.md 2), by datagrams beside the stream: peers of another make do not
/// look at those, and nothing is put into their stream.
enum TunnelOffer: UInt8, Sendable {
  case channels = 1
  case datagrams = 2

  private static let magic = Array("hyperswarm-tunnel".utf8)
  private static let version: UInt8 = 1

  var question: [UInt8] { TunnelOffer.magic + [TunnelOffer.version, rawValue, 0] }
  var answer: [UInt8] { TunnelOffer.magic + [TunnelOffer.version, rawValue, 1] }

  /// Asks the peer until it answers, or does not for as long as `TunnelLimits.asking` says.
  func ask(_ connection: HyperDHT.Connection) async -> Bool {
    await withTaskGroup(of: Bool.self) { group in
      group.addTask {
        for await datagram in connection.datagrams where datagram == answer { return true }
        return false
      }
      group.addTask {
        for pause in TunnelLimits.asking {
          await connection.sendDatagram(question)
          guard (try? await Task.sleep(for: pause)) != nil else { break }
        }
        return false
      }
      defer { group.cancelAll() }
      return await group.next() ?? false
    }
  }

  /// What a peer begins with.
  enum Beginning: Sendable {
    /// The question; it has its answer.
    case asked
    /// A message of the stream, or its end.
    case message([UInt8]?)
    /// Nothing yet.
    case silent
    case failed
  }

  /// Waits for the question, or for the stream to begin, as long as this.
  func beginning(of connection: HyperDHT.Connection, within time: Duration) async -> Beginning {
    let found = await withTaskGroup(of: Beginning.self) { group in
      group.addTask {
        for await datagram in connection.datagrams where datagram == question { return .asked }
        return .silent
      }
      group.addTask {
        do throws(ConnectionError) {
          return .message(try await connection.read())
        } catch {
          return error == .cancelled ? .silent : .failed
        }
      }
      group.addTask {
        try? await Task.sleep(for: time)
        return .silent
      }
      var found = await group.next() ?? .silent
      group.cancelAll()
      // A message that was read in the same moment must not be lost.
      while let other = await group.next() {
        if case .message = other { found = other }
      }
      return found
    }
    if case .asked = found { await connection.sendDatagram(answer) }
    return found
  }
}
