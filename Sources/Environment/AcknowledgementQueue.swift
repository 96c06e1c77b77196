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
  /// Of the writes since the last flush. Made by the first of them.
  private var open: Group?
  /// The last write was a lone one: no other follows soon.
  private var isResting = false

  package init() {}

  deinit {
    for group in ended { group.end() }
    open?.end()
  }

  /// Everything written is acknowledged.
  package var isEmpty: Bool { ended.isEmpty && open?.outstanding ?? 0 == 0 }

  /// Counts one write. What it takes goes with the acknowledgement of a lone one, and stays for the next otherwise.
  /// - Returns: what the transport calls once for it, with `true` when the peer has all of it. Writes that end with
  ///   `false` stay open until `close`.
  package func write(isAlone: Bool = false) -> (Bool) -> Void {
    isResting = isAlone
    let group = open ?? begin()
    group.outstanding &+= 1
    if let acknowledge = group.acknowledge { return acknowledge }
    let acknowledge: (Bool) -> Void = { arrived in
      guard arrived, let queue = group.queue else { return }
      group.outstanding &-= 1
      queue.settle()
      if queue.isResting { queue.rest() }
    }
    group.queue = self
    group.acknowledge = acknowledge
    return acknowledge
  }

  /// `done(true)` once everything written before this call is acknowledged, `done(false)` by `close`.
  /// - Returns: `false`, and `done` is not taken, when nothing is outstanding.
  package func flush(_ done: @escaping (Bool) -> Void) -> Bool {
    if isEmpty { return false }
    let group = open ?? begin()
    group.flushes.append(done)
    ended.append(group)
    open = nil
    return true
  }

  private func begin() -> Group {
    let group = Group()
    open = group
    return group
  }

  /// The stream has closed: nothing more will be acknowledged. The flushes that wait fail.
  package func close() {
    let waiting = ended.flatMap(\.flushes)
    for group in ended { group.end() }
    ended = []
    open?.end()
    open = nil
    for done in waiting { done(false) }
  }

  /// Nothing is kept for writes to come.
  private func rest() {
    guard isEmpty else { return }
    open?.end()
    open = nil
    ended = []
  }

  private func settle() {
    while let first = ended.first, first.outstanding == 0 {
      ended.removeFirst()
      first.end()
      for done in first.flushes { done(true) }
    }
  }
}
