import HyperEnvironment
import HyperRuntime

/// Writes to a stream and knows when everything before a flush is acknowledged. Confined to the loop.
final class AcknowledgedWriter: WritingSink {
  /// Writes that are not acknowledged, and who waits for them.
  private final class Group {
    var outstanding = 0
    var waiters: [(Bool) -> Void] = []
  }

  private let stream: UDXStream
  /// Each ends at a flush; the last one is open.
  private var groups = [Group()]

  init(_ stream: UDXStream) { self.stream = stream }

  func send(_ message: [UInt8]) -> Bool {
    guard !message.isEmpty, let group = groups.last else { return true }
    group.outstanding += 1
    return stream.write(OwnedBuffer(message)) { [weak self] arrived in
      group.outstanding -= 1
      if arrived { self?.settleGroups() }
    }
  }

  func flush(_ done: @escaping (Bool) -> Void) {
    guard !stream.isClosed else { return done(false) }
    groups.last?.waiters.append(done)
    groups.append(Group())
    settleGroups()
  }

  func end() { stream.end() }

  /// The stream has closed: nothing more will be acknowledged.
  func close() {
    let unacknowledged = groups.flatMap(\.waiters)
    groups = [Group()]
    for done in unacknowledged { done(false) }
  }

  private func settleGroups() {
    while groups.count > 1, let first = groups.first, first.outstanding == 0 {
      groups.removeFirst()
      for done in first.waiters { done(true) }
    }
  }
}
