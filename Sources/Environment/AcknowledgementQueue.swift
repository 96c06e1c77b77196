/// The writes of a stream that are not acknowledged, and the flushes between them: a flush is done once the peer has
/// everything that was written before it. Confined to the stream's loop.
package final class AcknowledgementQueue {
  /// Writes between two flushes.
  private final class Group {
    /// Cleared by the queue with the last use of the group: the transport may hold its closure for longer. A `weak`
    /// reference would be read with each acknowledgement.
    unowned(unsafe) var queue: AcknowledgementQueue?
    var outstanding = 0
    /// The flushes that end this group.
    var flushes: [(Bool) -> Void] = []
    /// Made once a group, not once a write; holds the group until `end`.
    var acknowledge: ((Bool) -> Void)?

    func end() {
      queue = nil
      acknowledge = nil
    }
  }

  /// Each ends at a flush.
  private var ended: [Group] = []
  /// Of the writes since the last flush.
  private var open = Group()

  package init() {}

  deinit {
    for group in ended { group.end() }
    open.end()
  }

  /// Everything written is acknowledged.
  package var isEmpty: Bool { ended.isEmpty && open.outstanding == 0 }

  /// Counts one write.
  /// - Returns: what the transport calls once for it, with `true` when the peer has all of it. Writes that end with
  ///   `false` stay open until `close`.
  package func write() -> (Bool) -> Void {
    let group = open
    group.outstanding &+= 1
    if let acknowledge = group.acknowledge { return acknowledge }
    let acknowledge: (Bool) -> Void = { arrived in
      guard arrived, let queue = group.queue else { return }
      group.outstanding &-= 1
      queue.settle()
    }
    group.queue = self
    group.acknowledge = acknowledge
    return acknowledge
  }

  /// `done(true)` once everything written before this call is acknowledged, `done(false)` by `close`.
  /// - Returns: `false`, and `done` is not taken, when nothing is outstanding.
  package func flush(_ done: @escaping (Bool) -> Void) -> Bool {
    if isEmpty { return false }
    open.flushes.append(done)
    ended.append(open)
    open = Group()
    return true
  }

  /// The stream has closed: nothing more will be acknowledged. The flushes that wait fail.
  package func close() {
    let waiting = ended.flatMap(\.flushes)
    for group in ended { group.end() }
    ended = []
    open.end()
    open = Group()
    for done in waiting { done(false) }
  }

  private func settle() {
    while let first = ended.first, first.outstanding == 0 {
      ended.removeFirst()
      first.end()
      for done in first.flushes { done(true) }
    }
  }
}
