import CHyperswarm
import HyperProtomuxEngine
import HyperRuntime

/// What stands behind a `hyperswarm_mux_t`: the engine of the channels behind a lock, between the calls of any thread
/// and the loop, which takes what happens.
///
/// Frames leave under the lock, so that they are in the order of the engine. Callbacks come on the loop, outside of the
/// lock and never inside a call of C.
final class MuxHandle: @unchecked Sendable {
  struct Offer {
    let ask: hyperswarm_offer_cb
    let userData: UnsafeMutableRawPointer?
  }

  /// Where the engine's frames go. Confined to the lock.
  final class Output {
    let connection: ConnectionHandle
    /// Not more waits than a program should let wait.
    var hasRoom = true
    /// Bytes in the write queue after the last frame.
    var queued = 0

    init(_ connection: ConnectionHandle) { self.connection = connection }

    func write(_ frame: [UInt8]) {
      queued = connection.send(frame: frame)
      if queued > Limits.writeHighWater { hasRoom = false }
    }
  }

  struct State {
    let engine: ProtomuxEngine
    let output: Output
    var offers: [ChannelName: Offer] = [:]
    /// Closed by this side; their `on_close` is to come.
    var closed: [ChannelHandle] = []
    var isStarted = false
    /// The loop is about to take what has happened.
    var isPumpDue = false
  }

  private enum Step {
    case offer(ChannelName, Offer?)
    case opened(ChannelHandle, [UInt8])
    case message(ChannelHandle, UInt32, [UInt8], ChannelHandle.Handler)
    case ended(ChannelHandle, Int32)
    case closed([ChannelHandle])
    case violation
    case nothing
    case idle
  }

  let connection: ConnectionHandle
  let callbacks: hyperswarm_mux_options_t
  private(set) var pointer: OpaquePointer?
  let state: Locked<State>

  // On the loop.

  private var isPumping = false
  private(set) var isGone = false
  /// Why the connection was destroyed, where it was the mux that did it.
  private(set) var violation: Int32?

  init(connection: ConnectionHandle, callbacks: hyperswarm_mux_options_t) {
    self.connection = connection
    self.callbacks = callbacks
    let channels = callbacks.max_channels == 0 ? Limits.channels : Int(callbacks.max_channels)
    let engine = ProtomuxEngine(maximumFrame: Limits.message, maximumChannels: channels)
    let output = Output(connection)
    engine.onFrame = { output.write($0) }
    state = Locked(State(engine: engine, output: output))
    pointer = Handles.muxes.add(self)
  }

  private var home: LoopHome { connection.swarm.home }

  // MARK: Any thread

  /// Runs a call of the program on the engine.
  func call<Value>(_ body: (inout State) throws(MuxRefusal) -> Value) throws(Failure) -> Value {
    try home.checkThread()
    let result = state.withLock { state -> Result<Value, MuxRefusal> in
      guard !state.engine.isClosed else { return .failure(.closed) }
      do throws(MuxRefusal) { return .success(try body(&state)) } catch { return .failure(error) }
    }
    switch result {
    case .success(let value): return value
    case .failure(let refusal): throw Failure(refusal)
    }
  }

  /// The loop takes what has happened, later in this turn or in one of its next.
  func pumpSoon() {
    let mustRun = state.withLock { state in
      defer { state.isPumpDue = true }
      return !state.isPumpDue
    }
    guard mustRun else { return }
    _ = home.run { [self] in
      state.withLock { $0.isPumpDue = false }
      pump()
    }
  }

  func start() throws(Failure) {
    try call { $0.isStarted = true }
    _ = home.run { [self] in connection.read(for: self) }
  }

  func close() throws(Failure) {
    try call { state in
      for link in state.engine.liveChannels {
        state.engine.close(link)
        state.closed += [link.owner as? ChannelHandle].compactMap { $0 }
        link.owner = nil
      }
      state.engine.flush()
      _ = state.engine.shutDown()
    }
    // One that ends or closes already does so by itself.
    try? connection.add(.end)
    pumpSoon()
  }

  // MARK: On the loop

  /// One message of the peer.
  func take(_ frame: [UInt8]) {
    state.withLock { $0.engine.receive(frame) }
    pump()
  }

  /// Hands over what has happened, until there is nothing more or the program does not want it now.
  func pump() {
    // A callback below may resume the connection.
    guard !isPumping else { return }
    isPumping = true
    while true {
      let takesEvents = connection.takesMessages
      let step = state.withLock { next(&$0, takesEvents) }
      if case .idle = step { break }
      hand(step)
    }
    isPumping = false
    connection.hold(state.withLock { !$0.engine.isClosed && !$0.engine.isIdle })
  }

  private func next(_ state: inout State, _ takesEvents: Bool) -> Step {
    if !state.closed.isEmpty {
      defer { state.closed = [] }
      return .closed(state.closed)
    }
    if state.output.hasRoom { state.engine.repliesSent() }
    let mayReply = state.output.hasRoom || state.engine.replyBytes <= Limits.replyBytes
    do throws(MuxViolation) {
      if takesEvents, state.isStarted, mayReply, let event = try state.engine.next() { return step(event, state) }
    } catch {
      return .violation
    }
    // What was said in answer to a batch must not wait for the program.
    state.engine.uncorkBatch()
    return .idle
  }

  private func step(_ event: MuxEvent, _ state: State) -> Step {
    switch event {
    case .offer(let name): return .offer(name, state.offers[name] ?? state.offers[ChannelName(name: name.name, id: [])])
    case .opened(let link, let handshake):
      guard let channel = link.owner as? ChannelHandle else { return .nothing }
      return .opened(channel, handshake)
    case .message(let link, let type, let body):
      guard let channel = link.owner as? ChannelHandle, let type = UInt32(exactly: type) else { return .nothing }
      return .message(channel, type, body, channel.handler(type))
    case .closed(let link, let isRejected):
      guard let channel = link.owner as? ChannelHandle else { return .nothing }
      link.owner = nil
      return .ended(channel, Int32(isRejected ? HYPERSWARM_ERR_CHANNEL_REJECTED : HYPERSWARM_OK))
    }
  }

  private func hand(_ step: Step) {
    switch step {
    case .offer(let name, let offer):
      name.id.withUnsafeBytes { offer?.ask(pointer, Empty.address(of: $0), $0.count, offer?.userData) }
      state.withLock { $0.engine.offerHandled(name) }
    case .opened(let channel, let handshake): channel.opened(handshake)
    case .message(let channel, let type, let body, let handler): channel.received(type, body, handler)
    case .ended(let channel, let status): channel.closed(status)
    case .closed(let channels): for channel in channels { channel.closed(Int32(HYPERSWARM_OK)) }
    case .violation:
      violation = Int32(HYPERSWARM_ERR_PROTOCOL)
      try? connection.change { $0.destroys = true }
    case .nothing, .idle: break
    }
  }

  /// The write queue has room again.
  func drained() {
    guard !isGone else { return }
    state.withLock { state in
      state.output.queued = connection.pump.queuedBytes
      state.output.hasRoom = state.output.queued <= Limits.writeHighWater
      if state.output.hasRoom { state.engine.repliesSent() }
    }
    pump()
    callbacks.on_drain?(pointer, callbacks.user_data)
  }

  /// The peer has ended its half: there is no half-open use (secret-stream.md Annex A).
  func peerEnded() {
    finish(Int32(HYPERSWARM_OK))
    try? connection.add(.end)
  }

  /// Last act.
  func connectionClosed(_ status: Int32) {
    finish(status)
    callbacks.on_close?(pointer, status, callbacks.user_data)
    isGone = true
    Handles.muxes.remove(pointer)
  }

  private func finish(_ status: Int32) {
    let (closed, rest) = state.withLock { state -> ([ChannelHandle], [ChannelHandle]) in
      let links = state.engine.shutDown()
      let rest = links.compactMap { $0.owner as? ChannelHandle }
      for link in links { link.owner = nil }
      state.offers = [:]
      defer { state.closed = [] }
      return (state.closed, rest)
    }
    for channel in closed { channel.closed(Int32(HYPERSWARM_OK)) }
    for channel in rest { channel.closed(status) }
  }
}

extension Failure {
  fileprivate init(_ refusal: MuxRefusal) {
    switch refusal {
    case .closed: self.init(HYPERSWARM_ERR_CLOSED)
    case .notOpened: self.init(HYPERSWARM_ERR_CHANNEL_NOT_OPENED)
    case .duplicate: self.init(HYPERSWARM_ERR_DUPLICATE_CHANNEL)
    case .tooManyChannels: self.init(HYPERSWARM_ERR_TOO_MANY_CHANNELS)
    case .tooLarge: self.init(HYPERSWARM_ERR_MESSAGE_TOO_LARGE)
    }
  }
}
