import ArgumentParser
import Foundation
import HyperCrypto
import HyperDHT
import HyperEncoding
import Synchronization

struct Forward: Command {
  static let configuration = CommandConfiguration(
    abstract: "Reach the services that 'expose' publishes, as local ports.",
    discussion: """
      Takes pairs: where to listen (a port of 127.0.0.1, host:port, or the path of a socket; port 0 is any), and what \
      to reach: a public key, or hs:// and what 'expose --private' or holesail print. Every local connection becomes \
      one to the peer. --private takes the second as the seed of hypertele's private mode; '-' reads it from standard \
      input, so that no list of processes shows it.
      """)

  @OptionGroup var common: CommonOptions
  @OptionGroup var identity: IdentityOptions
  @OptionGroup var relay: RelayOptions
  @Flag(help: "The keys are seeds, which both sides have.")
  var `private` = false
  @Argument(help: ArgumentHelp("Pairs of a local place and a key.", valueName: "local key"))
  var pairs: [String]

  /// What a key stands for.
  struct Remote: Sendable {
    let publicKey: Bytes32
    /// In private mode both sides have the same key pair.
    let keyPair: KeyPair?

    init?(_ text: String, isPrivate: Bool) {
      var text = text[...]
      var isPrivate = isPrivate
      if text.hasPrefix("hs://") {
        text = text.dropFirst(5)
        guard text.hasPrefix("s000") || text.hasPrefix("0000") else { return nil }
        isPrivate = text.hasPrefix("s")
        text = text.dropFirst(4)
      }
      guard let key = try? KeyText.parse(String(text)) else { return nil }
      keyPair = isPrivate ? HyperDHT.keyPair(seed: key) : nil
      publicKey = keyPair?.publicKey ?? key
    }
  }

  func validate() throws {
    guard !pairs.isEmpty, pairs.count.isMultiple(of: 2) else { throw ValidationError("pairs of a place and a key") }
    if pairs.count / 2 > TunnelLimits.targets { throw ValidationError("at most \(TunnelLimits.targets) pairs") }
    for index in stride(from: 0, to: pairs.count, by: 2) {
      guard LocalAddress(pairs[index]) != nil else {
        throw ValidationError("'\(pairs[index])' is no port, host:port or path of a socket")
      }
      let key = pairs[index + 1]
      guard key == "-" || Remote(key, isPrivate: self.private) != nil else {
        // It may be a secret: it is not repeated.
        throw ValidationError("the key for \(pairs[index]) is none")
      }
    }
  }

  func execute() async throws {
    var services: [(LocalAddress, Remote)] = []
    for index in stride(from: 0, to: pairs.count, by: 2) {
      var text = pairs[index + 1]
      if text == "-" { text = readLine() ?? "" }
      guard let place = LocalAddress(pairs[index]), let remote = Remote(text, isPrivate: self.private) else {
        throw Failure("standard input has no key for \(pairs[index])", code: "INVALID_KEY")
      }
      services.append((place, remote))
    }
    var sockets: [(socket: Socket, address: String, remote: Remote)] = []
    for (place, remote) in services {
      do {
        let (socket, address) = try await place.listen()
        sockets.append((socket, address, remote))
      } catch {
        throw Failure("cannot listen on \(place): \(error)", code: "LISTEN")
      }
    }
    defer { for (place, _) in services { if case .path(let path) = place.place { unlink(path) } } }
    let dht = try await enterNetwork(common, keyPair: identity.keyPair)
    var options = HyperDHT.ConnectOptions()
    options.relayThrough = relay.choice
    options.allowsHolepunching = !relay.noPunch
    options.deadline = TunnelLimits.dial
    let forwarder = Forwarder(dht: dht, options: options)
    try await using(dht, until: Interrupt()) { [sockets] in
      await withDiscardingTaskGroup { group in
        for (socket, address, remote) in sockets {
          Console.event(
            "forwarding", "\(address) -> \(remote.publicKey.hex)",
            [("address", .string(address)), ("publicKey", .string(remote.publicKey.hex))])
          group.addTask { await forwarder.serve(socket, address, remote) }
        }
      }
    }
  }
}

/// Dials for local connections.
struct Forwarder: Sendable {
  let dht: HyperDHT
  let options: HyperDHT.ConnectOptions
  private let dials = Gate(TunnelLimits.dials)
  private let counter = ConnectionCounter()

  init(dht: HyperDHT, options: HyperDHT.ConnectOptions) {
    self.dht = dht
    self.options = options
  }

  func serve(_ listening: Socket, _ address: String, _ remote: Forward.Remote) async {
    await withDiscardingTaskGroup { group in
      while !Task.isCancelled {
        guard await Poller.shared.wait(listening.descriptor, for: Int32(POLLIN), seconds: 1) else { continue }
        guard counter.enter() else {
          // The system's queue holds them until there is room.
          try? await Task.sleep(for: .milliseconds(20))
          continue
        }
        let accepted = accept(listening.descriptor, nil, nil)
        guard accepted >= 0 else {
          counter.leave()
          // No descriptors, say: others end.
          if errno != EAGAIN, errno != ECONNABORTED { try? await Task.sleep(for: .milliseconds(100)) }
          continue
        }
        let socket = Socket(accepted)
        group.addTask {
          defer { counter.leave() }
          await carry(socket, address, remote)
        }
      }
    }
  }

  private func carry(_ socket: Socket, _ address: String, _ remote: Forward.Remote) async {
    var options = options
    options.keyPair = remote.keyPair
    await dials.enter()
    do {
      let connection = try await dht.connect(to: remote.publicKey, options: options)
      await dials.leave()
      await TunnelPipe.join(socket, connection)
    } catch {
      await dials.leave()
      await socket.abort(within: 0)
      Console.note(
        "failed", "\(address): \(error)",
        [("address", .string(address)), ("code", .string(error.code)), ("message", .string("\(error)"))])
    }
  }
}

/// How many connections there are.
final class ConnectionCounter: Sendable {
  private let count = Mutex(0)

  /// `false` when there are as many as may be.
  func enter() -> Bool {
    count.withLock {
      guard $0 < TunnelLimits.connections else { return false }
      $0 += 1
      return true
    }
  }

  func leave() { count.withLock { $0 -= 1 } }
}
