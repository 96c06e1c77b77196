import HyperDHT
import HyperProtomuxEngine
import HyperRuntime

/// The engine behind a lock, between the calls of the program and one task that reads the connection.
///
/// Frames leave under the lock, so that they are in the order of the engine. What happens at the engine is taken one by
/// one by `pump`, which runs on one thread at a time and hands it to channels and handlers outside of the lock.
final class MuxCore: @unchecked Sendable {
  /// What the engine writes to. Confined to the lock.
  fileprivate final class Output {
    let stream: any ProtomuxStream
    var hasRoom = true

    init(_ stream: any ProtomuxStream) { self.stream = stream }

    /// A stream that takes nothing more is about to say so to its reader.
    func write(_ frame: [UInt8]) {
      guard let mustWait = try? stream.writeWithoutWaiting(frame) else { return }
      if mustWait { hasRoom = false }
    }
  }

  fileprivate struct State {
    let engine: ProtomuxEngine
    let output: Output
    var offers: [ChannelName: Protomux.Offer] = [:]
    var isStarted = false
    /// Something takes events, or is about to.
    var isPumping = false
    /// The reader waits until its frame has been taken.
    var isReaderWaiting = false
    /// A task waits until the stream has room.
    var isAwaitingRoom = false
    /// Bytes that were received and have not been read, of all channels.
    var unread = 0
    /// There are too many of them.
    var isHeldUp = false
  }

  fileprivate enum Step {
    case event(MuxEvent, AnyObject?)
    case violation(MuxViolation)
    case idle(wakesReader: Bool)
  }

  let closing = ClosingFlag<ProtomuxError>()
  private let stream: any ProtomuxStream
  private let state: Locked<State>
  private let frameTaken = EventQueue<Void, Never>(capacity: 1)

  init(stream: any ProtomuxStream, maximumChannels: Int) {
    self.stream = stream
    let engine = ProtomuxEngine(maximumFrame: stream.maximumMessageSize, maximumChannels: maximumChannels)
    let output = Output(stream)
    engine.onFrame = { output.write($0) }
    state = Locked(State(engine: engine, output: output))
  }

  // MARK: Calls of the program

  func start() {
    let isFirst = state.withLock { state in
      defer { state.isStarted = true }
      return !state.isStarted && !state.engine.isClosed
    }
    if isFirst { Task { await readAll() } }
  }

  func create(
    _ name: String, id: [UInt8], aliases: [String], isUnique: Bool
  ) throws(ProtomuxError) -> Protomux.Channel {
    let names = aliases.map { ChannelName($0, id: id) }
    let result = state.withLock { state -> Result<Protomux.Channel, MuxRefusal> in
      do throws(MuxRefusal) {
        let link = try state.engine.create(ChannelName(name, id: id), aliases: names, isUnique: isUnique)
        let channel = Protomux.Channel(core: self, link: link, name: name, id: id, aliases: aliases)
        link.owner = channel
        return .success(channel)
      } catch {
        return .failure(error)
      }
    }
    switch result {
    case .success(let channel): return channel
    case .failure(let refusal): throw ProtomuxError(refusal)
    }
  }

  var liveChannels: [Protomux.Channel] {
    state.withLock { $0.engine.liveChannels.compactMap { $0.owner as? Protomux.Channel } }
  }

  func isOpened(_ name: ChannelName) -> Bool { state.withLock { $0.engine.isOpened(name) } }

  func pair(_ name: ChannelName, _ offer: @escaping Protomux.Offer) {
    let old = state.withLock { state -> Protomux.Offer? in
      guard !state.engine.isClosed else { return nil }
      state.engine.pair(name)
      return state.offers.updateValue(offer, forKey: name)
    }
    // Its last reference goes outside of the lock.
    _ = old
  }

  func unpair(_ name: ChannelName) {
    let old = state.withLock { state in
      state.engine.unpair(name)
      return state.offers.removeValue(forKey: name)
    }
    // Its last reference goes outside of the lock.
    _ = old
  }

  func open(_ channel: Protomux.Channel, handshake: [UInt8]) throws(ProtomuxError) {
    try call { engine throws(MuxRefusal) in try engine.open(channel.link.value, handshake: handshake) }
    // The peer may have been first.
    pumpSoon()
  }

  /// - Returns: whether there is room for more.
  func send(_ channel: Protomux.Channel, _ type: UInt64, _ body: [UInt8]) throws(ProtomuxError) -> Bool {
    try call { engine throws(MuxRefusal) in try engine.send(channel.link.value, type: type, body: body) }
  }

  func close(_ channel: Protomux.Channel) {
    state.withLock { state in
      state.engine.close(channel.link.value)
      channel.link.value.owner = nil
    }
    channel.didClose(nil)
    pumpSoon()
  }

  func cork() { state.withLock { $0.engine.cork() } }

  func uncork() {
    state.withLock { $0.engine.uncork() }
    awaitRoomIfNeeded()
  }

  @discardableResult
  private func call(_ body: (ProtomuxEngine) throws(MuxRefusal) -> Void) throws(ProtomuxError) -> Bool {
    let result = state.withLock { state -> Result<Bool, MuxRefusal> in
      do throws(MuxRefusal) {
        try body(state.engine)
        return .success(state.output.hasRoom)
      } catch {
        return .failure(error)
      }
    }
    switch result {
    case .success(let hasRoom):
      if !hasRoom { awaitRoomIfNeeded() }
      return hasRoom
    case .failure(.closed): throw closing.reason ?? .closed
    case .failure(let refusal): throw ProtomuxError(refusal)
    }
  }

  // MARK: Room on the connection

  var isDrained: Bool { state.withLock { $0.output.hasRoom } }

  nonisolated(nonsending) func drained() async throws(ProtomuxError) {
    start()
    guard !isDrained else { return }
    do throws(ConnectionError) {
      try await stream.drained()
    } catch {
      throw ProtomuxError(error)
    }
    hasRoom()
  }

  private func hasRoom() {
    state.withLock { state in
      state.output.hasRoom = true
      state.engine.repliesSent()
    }
    pumpSoon()
  }

  private func awaitRoomIfNeeded() {
    let mustAwait = state.withLock { state in
      guard !state.output.hasRoom, !state.isAwaitingRoom, !state.engine.isClosed else { return false }
      state.isAwaitingRoom = true
      return true
    }
    guard mustAwait else { return }
    Task {
      // A stream that has failed has no need of room.
      try? await stream.drained()
      state.withLock { $0.isAwaitingRoom = false }
      hasRoom()
    }
  }

  // MARK: Messages that wait for the program

  func received(_ cost: Int) {
    state.withLock { state in
      state.unread += cost
      if state.unread > Limits.unreadBytes { state.isHeldUp = true }
    }
  }

  func read(_ cost: Int) {
    let goesOn = state.withLock { state in
      state.unread -= cost
      assert(state.unread >= 0, "each message counts once")
      guard state.isHeldUp, state.unread <= Limits.unreadResume else { return false }
      state.isHeldUp = false
      return true
    }
    if goesOn { pumpSoon() }
  }

  // MARK: Events

  /// Takes events on another task, if there are any and nothing does.
  private func pumpSoon() {
    let mustPump = state.withLock { state in
      guard state.isStarted, !state.isPumping, !state.engine.isIdle else { return false }
      state.isPumping = true
      return true
    }
    if mustPump { Task { pump() } }
  }

  /// Until there is nothing more, or the program has to catch up. The caller has set `isPumping`.
  private func pump() {
    while true {
      switch state.withLock({ $0.nextStep() }) {
      case .event(let event, let owner): handle(event, owner as? Protomux.Channel)
      case .violation(let violation): return destroy(ProtomuxError(violation))
      case .idle(let wakesReader):
        if wakesReader { frameTaken.push(()) }
        return awaitRoomIfNeeded()
      }
    }
  }

  private func handle(_ event: MuxEvent, _ channel: Protomux.Channel?) {
    switch event {
    case .offer(let name): consider(name)
    case .opened(_, let handshake): channel?.didOpen(handshake)
    case .message(_, let type, let body):
      do throws(ProtomuxError) {
        try channel?.received(type, body)
      } catch {
        destroy(error)
      }
    case .closed(_, let isRejected): channel?.didClose(isRejected ? .rejected : nil)
    }
  }

  private func consider(_ name: ChannelName) {
    let offer = state.withLock { $0.offers[name] ?? $0.offers[ChannelName(name.text)] }
    Task {
      await offer?(Protomux(core: self), name.id)
      state.withLock { $0.engine.offerHandled(name) }
      pumpSoon()
    }
  }

  // MARK: Reading

  private func readAll() async {
    do throws(ConnectionError) {
      while let frame = try await stream.read() { await take(frame) }
      // There is no half-open use (secret-stream.md Annex A).
      stream.end()
      finish(nil)
    } catch {
      finish(error == .closed ? nil : ProtomuxError(error))
    }
  }

  private func take(_ frame: [UInt8]) async {
    let mustPump = state.withLock { state in
      state.engine.receive(frame)
      defer { state.isPumping = true }
      return !state.isPumping
    }
    if mustPump { pump() }
    let isTaken = state.withLock { state in
      state.isReaderWaiting = !state.engine.isIdle
      return state.engine.isIdle
    }
    if !isTaken { _ = await frameTaken.next() }
  }

  // MARK: The end

  nonisolated(nonsending) func close() async {
    for channel in liveChannels { close(channel) }
    state.withLock { $0.engine.flush() }
    finish(nil)
    await stream.close()
  }

  func destroy(_ reason: ProtomuxError?) {
    finish(reason)
    stream.destroy()
  }

  private func finish(_ reason: ProtomuxError?) {
    closing.record(reason)
    let (owners, offers, wakesReader) = state.withLock { state in
      let links = state.engine.shutDown()
      let owners = links.compactMap { $0.owner as? Protomux.Channel }
      for link in links { link.owner = nil }
      defer {
        state.offers = [:]
        state.isReaderWaiting = false
      }
      return (owners, state.offers, state.isReaderWaiting)
    }
    _ = offers
    for owner in owners { owner.didClose(reason) }
    if wakesReader { frameTaken.push(()) }
    closing.close()
  }
}

extension MuxCore.State {
  /// What the pump does next; it stops with `idle`.
  fileprivate mutating func nextStep() -> MuxCore.Step {
    if output.hasRoom { engine.repliesSent() }
    let mayReply = output.hasRoom || engine.replyBytes <= Limits.replyBytes
    do throws(MuxViolation) {
      if !isHeldUp, mayReply, let event = try engine.next() { return step(event) }
    } catch {
      isPumping = false
      return .violation(error)
    }
    // Held-up answers must not wait for the program.
    engine.uncorkBatch()
    isPumping = false
    guard isReaderWaiting, engine.isIdle else { return .idle(wakesReader: false) }
    isReaderWaiting = false
    return .idle(wakesReader: true)
  }

  private func step(_ event: MuxEvent) -> MuxCore.Step {
    switch event {
    case .offer: return .event(event, nil)
    case .opened(let link, _), .message(let link, _, _): return .event(event, link.owner)
    case .closed(let link, _):
      defer { link.owner = nil }
      return .event(event, link.owner)
    }
  }
}
