import HyperRuntime

/// The readers of events, on the loop. Each has a copy of every event, bounded by `Limits.pendingEvents`.
package final class EventObservers<Event: Sendable> {
  private struct Reader {
    weak var queue: EventQueue<Event, Never>?
  }

  private var readers: [Reader] = []
  /// Called on the loop for every event, before the readers have it; not for those of `pushOnce`, nor after the end.
  package var listeners: [(Event) -> Void] = []
  private var isFinished = false
  /// What happened before the first reader came, for that reader; `nil` once there was one. At most
  /// `Limits.pendingEvents`, the first ones.
  private var early: [Event]?
  /// Takes these observers off what they observe, which may outlive them.
  package var endObservation: (() -> Void)?

  /// - `keepsEarly`: the first reader also has what happened before it came.
  package init(keepsEarly: Bool = false) { early = keepsEarly ? [] : nil }

  /// Adds a reader, at the cost of the oldest one when there are `Limits.eventReaders` already.
  package func add(_ queue: EventQueue<Event, Never>) {
    guard !isFinished else { return queue.finish() }
    readers.removeAll { $0.queue == nil }
    if readers.count >= Limits.eventReaders { readers.removeFirst().queue?.finish() }
    readers.append(Reader(queue: queue))
    for event in early ?? [] { queue.push(event) }
    early = nil
  }

  package func push(_ event: Event) {
    for listener in listeners { listener(event) }
    if let count = early?.count, count < Limits.pendingEvents { early?.append(event) }
    for reader in readers { reader.queue?.push(event) }
  }

  package func finish() {
    isFinished = true
    early = nil
    endObservation?()
    endObservation = nil
    listeners = []
    for reader in readers { reader.queue?.finish() }
    readers = []
  }
}

extension EventObservers where Event: Equatable {
  /// The same event is not repeated to a reader whose newest unread one it is.
  package func pushOnce(_ event: Event) {
    if let count = early?.count, count < Limits.pendingEvents, early?.last != event { early?.append(event) }
    for reader in readers where reader.queue?.last != event { reader.queue?.push(event) }
  }
}

extension LoopBound {
  /// A new reader of these observers, from the loop's next turn on; ends at once when the loop has ended.
  package func reader<Event: Sendable>(on loop: UVEventLoop) -> HyperDHT.Events<Event, Never>
  where Value == EventObservers<Event> {
    let queue = EventQueue<Event, Never>(capacity: Limits.pendingEvents)
    let observers = self
    if !loop.post({ [weak queue] in if let queue { observers.value.add(queue) } }) { queue.finish() }
    return HyperDHT.Events(queue)
  }
}
