import HyperEnvironment

/// Where a `MessagePump` puts what was written: a stream, on its loop.
package protocol MessageSink: AnyObject {
  /// Takes one message.
  /// - Returns: whether there is room for another one. After `false` the owner of the pump calls `drained` once there
  ///   is.
  func send(_ message: [UInt8]) -> Bool
  /// The same for bytes that are only there during the call.
  func send(borrowed message: UnsafeRawBufferPointer) -> Bool
  /// The same for a message that may be changed where it lies.
  func send(owned message: OwnedMessage) -> Bool
  /// Sends one unordered, unreliable message; what does not fit the path is lost.
  @discardableResult
  func sendDatagram(_ bytes: [UInt8]) -> Bool
  /// Calls `done` once: whether everything that was sent before has been acknowledged.
  func flush(_ done: @escaping (Bool) -> Void)
  func end()
}

/// The writing half of a connection: takes messages on any thread and hands them to a stream on its loop, in order and
/// as fast as the stream has room.
///
/// `await write` and `hyperswarm_connection_write` are two front ends of it. A Swift writer waits with its message
/// until there is room, so that the queue holds the window and one message, whatever the number of writers; a C writer
/// cannot wait, is refused at `limit`, and hears `onRoom`. Every waiting call and every flush settles exactly once: by
/// progress, by the cancellation of its task, or by `close`, which the owner calls when the stream has closed for
/// whatever reason.
package final class MessagePump: @unchecked Sendable {
  package enum Item: @unchecked Sendable {
    case message([UInt8])
    case borrowed(BorrowedMessage)
    case owned(OwnedMessage)
    case datagram([UInt8])
    /// Called on the loop when everything before it is acknowledged, or never will be.
    case flush((Bool) -> Void)
    case end

    /// Bytes that count against the bounds.
    var cost: Int {
      switch self {
      case .message(let bytes), .datagram(let bytes): bytes.count &+ Limits.messageCost
      case .borrowed(let message): message.bytes.count &+ Limits.messageCost
      case .owned(let message): message.count &+ Limits.messageCost
      case .flush, .end: 0
      }
    }

    /// It will never reach the sink.
    fileprivate func fail() {
      switch self {
      case .borrowed(let message): message.done(false)
      case .flush(let done): done(false)
      case .message, .owned, .datagram, .end: break
      }
    }
  }

  /// Marks of the queue, in bytes; each message counts `Limits.messageCost` more than its own bytes.
  package struct Bounds: Sendable {
    /// Above it a writer should wait.
    package var highWater: Int
    /// Down to it the writers wait.
    package var lowWater: Int
    /// From it on nothing is taken.
    package var limit: Int

    package init(highWater: Int, lowWater: Int, limit: Int) {
      self.highWater = highWater
      self.lowWater = lowWater
      self.limit = limit
    }
  }

  package enum Admission: Equatable, Sendable {
    /// Bytes that wait, this item included.
    case taken(queued: Int)
    /// The bytes that wait have reached the limit.
    case full
    /// Closed, or the writing half has ended.
    case closed
  }

  private struct State: WaitingState {
    var items: [Item] = []
    /// Cost of the items, and of those that the loop has in hand.
    var bytes = 0
    /// The loop knows of the items, or waits for the stream to drain.
    var isAnnounced = false
    /// A writer was told to wait, or refused, since the last `onRoom`.
    var owesRoom = false
    var isEnded = false
    var isClosed = false
    var waiters = Waiters<CallFailure?>()
    /// Of the writers that wait, by the number of the waiter; those that wait for room alone have none.
    var unadmitted: [UInt64: Item] = [:]
    /// The writing half ends behind the writers that wait.
    var endsAfterWaiters = false
  }

  private let loop: UVEventLoop
  private let bounds: Bounds
  private let startsInside: Bool
  private let state = Locked(State())

  // On the loop: one thread, so the dynamic check of each message would find nothing.

  @exclusivity(unchecked) private var sink: (any MessageSink)?
  /// Taken from the queue; from `waitingHead` on, the sink has not had it.
  @exclusivity(unchecked) private var waiting: [Item] = []
  @exclusivity(unchecked) private var waitingHead = 0
  /// The sink has no room, or there is none yet.
  @exclusivity(unchecked) private var isBlocked = true
  @exclusivity(unchecked) private var isPumping = false
  /// Something was added, or the sink has drained, while it had a message in hand.
  @exclusivity(unchecked) private var isRunDue = false
  /// At most `lowWater` waits, after a writer was told to wait or was refused. Not called by `close`.
  package var onRoom: (() -> Void)?

  /// Holds everything back until `attach` and `start`.
  /// - Parameter startsInside: whether an item that is added on the loop may reach the sink inside that call; otherwise
  ///   it does so later in the same turn.
  package init(loop: UVEventLoop, bounds: Bounds, startsInside: Bool) {
    self.loop = loop
    self.bounds = bounds
    self.startsInside = startsInside
  }

  /// For a Swift face: the bounds of `Limits`, and a stream that is open.
  package convenience init(loop: UVEventLoop, sink: any MessageSink) {
    self.init(
      loop: loop,
      bounds: Bounds(highWater: Limits.writeWindow, lowWater: Limits.writeResume, limit: .max),
      startsInside: true)
    attach(sink)
    start()
  }

  // MARK: Any thread

  /// Queues an item, and a flush right behind it if one is given. A refused flush is not called.
  /// - Parameter isBounded: `false`: the caller has bounds of its own, and must not lose the item to the limit.
  package func add(_ item: Item, isBounded: Bool = true, flush: ((Bool) -> Void)? = nil) -> Admission {
    let cost = item.cost
    let (admission, mustAnnounce) = state.withLock { state -> (Admission, Bool) in
      guard !state.isClosed else { return (.closed, false) }
      if case .flush = item {} else if state.isEnded { return (.closed, false) }
      if case .end = item {
        state.isEnded = true
        // The queue is above `lowWater` as long as writers wait: `took` comes, and adds the end.
        if !state.waiters.isEmpty {
          state.endsAfterWaiters = true
          return (.taken(queued: state.bytes), false)
        }
      }
      if cost > 0, state.bytes >= bounds.limit, isBounded {
        state.owesRoom = true
        return (.full, false)
      }
      state.items.append(item)
      if let flush { state.items.append(.flush(flush)) }
      state.bytes &+= cost
      if state.bytes > bounds.highWater { state.owesRoom = true }
      defer { state.isAnnounced = true }
      return (.taken(queued: state.bytes), !state.isAnnounced)
    }
    if mustAnnounce { announce() }
    return admission
  }

  /// From now on nothing is taken; what waits goes on until `close`.
  package func refuse() { state.withLock { $0.isClosed = true } }

  /// Bytes that the sink has not taken.
  package var queuedBytes: Int { state.withLock { $0.bytes } }

  /// Whether a writer is suspended in `write`.
  var isAwaited: Bool { state.withLock { !$0.waiters.isEmpty } }

  private func announce() {
    if !startsInside, loop.isOnLoop {
      loop.defer { [self] in run() }
    } else {
      loop.post { [self] in run() }
    }
  }

  // MARK: On the loop

  package func attach(_ sink: any MessageSink) { self.sink = sink }

  /// The sink takes messages from now on; `run` sends those that wait.
  package func start() { isBlocked = false }

  /// The sink has room again.
  package func drained() {
    isBlocked = false
    run()
  }

  /// Hands a message over without queue and copy, if nothing waits before it: `send` does it, and says whether there is
  /// room for another one.
  /// - Returns: whether `send` was called.
  package func passThrough(_ send: () -> Bool) -> Bool {
    guard !isBlocked, sink != nil, waitingHead == waiting.count else { return false }
    let isIdle = state.withLock { $0.items.isEmpty && !$0.isEnded && !$0.isClosed }
    guard isIdle else { return false }
    // Before, because the sink may drain at once.
    isBlocked = true
    if send() { isBlocked = false }
    return true
  }

  /// The stream is closed: writers, now and later, get `closed`; flushes that have not reached the sink fail.
  package func close() {
    let unsent = waiting[waitingHead...]
    waiting = []
    waitingHead = 0
    isBlocked = true
    sink = nil
    onRoom = nil
    let (items, waiters) = state.withLock { state in
      state.isClosed = true
      defer {
        state.items = []
        state.bytes = 0
        state.unadmitted = [:]
        state.endsAfterWaiters = false
      }
      return (state.items, state.waiters.popAll())
    }
    for waiter in waiters { waiter.resume(returning: .closed) }
    for item in unsent { item.fail() }
    for item in items { item.fail() }
  }

  /// Sends what waits, as far as there is room.
  package func run() {
    // A callback of the loop below may write, drain or close.
    guard !isPumping else {
      isRunDue = true
      return
    }
    guard let sink else { return }
    isPumping = true
    var taken = 0
    while !isBlocked {
      if waitingHead == waiting.count {
        took(&taken)
        waiting = takeAll()
        waitingHead = 0
        if waiting.isEmpty { break }
      }
      var item = Item.end
      swap(&item, &waiting[waitingHead])
      waitingHead &+= 1
      taken &+= item.cost
      hand(item, to: sink)
      if taken >= Limits.writeStep { took(&taken) }
    }
    took(&taken)
    isPumping = false
    isRunDue = false
    if let onRoom, takeRoomDue() { onRoom() }
  }

  @inline(__always)
  private func hand(_ item: Item, to sink: any MessageSink) {
    switch item {
    case .message(let bytes):
      // Before, because the sink may drain at once.
      isBlocked = true
      if sink.send(bytes) { isBlocked = false }
    case .borrowed(let message):
      isBlocked = true
      if sink.send(borrowed: message.bytes) { isBlocked = false }
      message.done(true)
    case .owned(let message):
      isBlocked = true
      if sink.send(owned: message) { isBlocked = false }
    case .datagram(let bytes): sink.sendDatagram(bytes)
    case .flush(let done): sink.flush(done)
    case .end: sink.end()
    }
  }

  /// All that is queued; empty means that the next `add` announces again.
  private func takeAll() -> [Item] {
    state.withLock { state in
      if state.items.isEmpty { state.isAnnounced = false }
      defer { state.items = [] }
      return state.items
    }
  }

  /// The sink has taken this much.
  private func took(_ bytes: inout Int) {
    guard bytes > 0 else { return }
    let waiters = state.withLock { state -> [Waiters<CallFailure?>.Continuation] in
      // `close` has counted everything off already.
      state.bytes = max(state.bytes &- bytes, 0)
      return state.bytes <= bounds.lowWater ? admit(&state) : []
    }
    bytes = 0
    for waiter in waiters { waiter.resume(returning: nil) }
  }

  /// Takes the messages of waiting writers, in their order and up to the window. The loop is at it: what is added here
  /// needs no announcement, because `run` looks again after each `took`, or the sink is full and drains later.
  private func admit(_ state: inout State) -> [Waiters<CallFailure?>.Continuation] {
    var admitted: [Waiters<CallFailure?>.Continuation] = []
    while state.bytes <= bounds.highWater, let waiter = state.waiters.popFirst() {
      if let item = state.unadmitted.removeValue(forKey: waiter.id) {
        state.items.append(item)
        state.bytes &+= item.cost
      }
      admitted.append(waiter.continuation)
    }
    if state.endsAfterWaiters, state.waiters.isEmpty {
      state.endsAfterWaiters = false
      state.items.append(.end)
    }
    if !state.items.isEmpty { state.isAnnounced = true }
    return admitted
  }

  private func takeRoomDue() -> Bool {
    state.withLock { state in
      guard state.owesRoom, state.bytes <= bounds.lowWater else { return false }
      state.owesRoom = false
      return true
    }
  }
}

/// A message that stays in the memory of its writer. In an object of its own, so that the other items stay small.
package final class BorrowedMessage {
  let bytes: UnsafeRawBufferPointer
  let done: (Bool) -> Void

  /// - Parameter done: called once, on the loop: with `true` when the sink has taken the message, with `false` when
  ///   that will not happen. The memory is the writer's again.
  package init(_ bytes: UnsafeRawBufferPointer, done: @escaping (Bool) -> Void) {
    self.bytes = bytes
    self.done = done
  }
}

extension MessageSink {
  package func send(borrowed message: UnsafeRawBufferPointer) -> Bool { send(Array(message)) }
  package func send(owned message: OwnedMessage) -> Bool { send(borrowed: message.bytes) }
}

/// The front end for Swift tasks.
extension MessagePump {
  /// Queues one message without waiting.
  /// - Returns: whether the writer should wait for room.
  package func put(_ message: [UInt8]) throws(CallFailure) -> Bool { try put(.message(message)) }

  /// The same for a message of any form.
  package func put(_ item: Item) throws(CallFailure) -> Bool {
    if handsOver(item) { return false }
    guard case .taken(let queued) = add(item) else { throw .closed }
    return queued > bounds.highWater
  }

  /// On the loop, with nothing before it and within the window, a message goes to the sink without the queue.
  private func handsOver(_ item: Item) -> Bool {
    guard startsInside, loop.isOnLoop, !isPumping, let sink else { return false }
    let isTaken: Bool
    // What the sink's callbacks add comes behind this message, not inside.
    isPumping = true
    switch item {
    case .message(let bytes) where bytes.count &+ Limits.messageCost <= bounds.highWater:
      isTaken = passThrough { sink.send(bytes) }
    case .owned(let message) where message.count &+ Limits.messageCost <= bounds.highWater:
      isTaken = passThrough { sink.send(owned: message) }
    case .message, .owned, .borrowed, .datagram, .flush, .end: isTaken = false
    }
    isPumping = false
    if isRunDue {
      isRunDue = false
      run()
    }
    return isTaken
  }

  /// Does what `write` does for a message that need not wait: the caller is spared an asynchronous call.
  /// - Returns: whether the message is taken.
  package func writeNow(_ item: Item) throws(CallFailure) -> Bool {
    if handsOver(item) { return true }
    var mustAnnounce = false
    let now = state.withLock { admitNow(item, &$0, &mustAnnounce) }
    if mustAnnounce { announce() }
    guard let now else { return false }
    if let now { throw now }
    return true
  }

  /// Queues one message, in any form that is the pump's own from then on. While more than `highWater` is queued,
  /// suspends first until the queue is down to `lowWater` and the writers before this one have had their turn. A
  /// cancelled writer's message is not sent.
  package nonisolated(nonsending) func write(_ item: Item) async throws(CallFailure) {
    if try !writeNow(item) { try await writeInTurn(item) }
  }

  /// The part of `write` that waits: for a message that `writeNow` has not taken.
  package nonisolated(nonsending) func writeInTurn(_ item: Item) async throws(CallFailure) {
    var mustAnnounce = false
    var number: UInt64?
    let failure = await state.waitNumbered(cancelled: .cancelled) { state, id -> CallFailure?? in
      if let outcome = admitNow(item, &state, &mustAnnounce) { return outcome }
      state.unadmitted[id] = item
      number = id
      return nil
    }
    if mustAnnounce { announce() }
    guard let failure else { return }
    if let number { state.withLock { _ = $0.unadmitted.removeValue(forKey: number) } }
    throw failure
  }

  /// Waits like `write`, with no message.
  package nonisolated(nonsending) func waitForRoom() async throws(CallFailure) {
    let failure = await state.wait(cancelled: .cancelled) { state -> CallFailure?? in
      if state.isClosed || state.isEnded { return .some(.closed) }
      return state.bytes <= bounds.highWater && state.waiters.isEmpty ? .some(nil) : nil
    }
    if let failure { throw failure }
  }

  /// The outcome of a `write` that need not wait; `nil` when it must.
  private func admitNow(_ item: Item, _ state: inout State, _ mustAnnounce: inout Bool) -> CallFailure?? {
    if state.isClosed || state.isEnded { return .some(.closed) }
    guard state.bytes <= bounds.highWater, state.waiters.isEmpty else { return nil }
    state.items.append(item)
    state.bytes &+= item.cost
    mustAnnounce = !state.isAnnounced
    state.isAnnounced = true
    return .some(nil)
  }

  /// Waits until the peer has acknowledged everything that was written before.
  /// - Returns: `false` when the connection closed first.
  package nonisolated(nonsending) func flush() async throws(CallFailure) -> Bool {
    try await awaitOperation(
      on: loop, cancelled: CallFailure.cancelled, gone: .closed
    ) { [self] settle in
      if case .closed = add(.flush { settle(.success($0)) }) { settle(.failure(.closed)) }
      return nil
    }
  }

  /// Nothing can be written after this; what was written before is still sent.
  package func end() { _ = add(.end) }
}
