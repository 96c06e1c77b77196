import CHyperswarm
import HyperCrypto
import HyperDHT
import HyperDHTEngine
import HyperEncoding
import HyperRuntime
import HyperSecretStream
import HyperswarmEngine

/// What stands behind a `hyperswarm_connection_t`: an encrypted stream, the C callbacks, and the message pump with what
/// was written while the stream could not take it, or from another thread.
///
/// `shared` is for any thread, everything else for the loop.
final class ConnectionHandle: @unchecked Sendable {
  let swarm: SwarmHandle
  let isInitiator: Bool
  private(set) var pointer: OpaquePointer?

  /// Settings that other threads have asked for.
  struct Changes {
    var callbacks: hyperswarm_connection_callbacks_t?
    var isPaused: Bool?
    var keepAlive: UInt32?
    var timeout: UInt32?
    var destroys = false
  }

  struct Shared {
    var remotePublicKey = Bytes32()
    var handshakeHash: Bytes64?
    var isPeerProven = false
    var userData: UnsafeMutableRawPointer?
    /// Closed, or asked to.
    var isClosing = false
    var reason = ""
    var changes = Changes()
    var changesArePosted = false
    /// What takes the messages in place of the program.
    var mux: MuxHandle?
  }
  let shared = Locked(Shared())

  let pump: MessagePump

  private(set) var stream: EncryptedStream?
  /// Borrowed messages that the stream has taken inside the call that wrote them: their memory goes back later.
  private var releases: [() -> Void] = []
  private var callbacks = hyperswarm_connection_callbacks_t()
  private var isPaused = false
  /// The mux takes no more for now.
  private var isHeld = false
  /// What `closed` was told.
  private var closeStatus: Int32?

  init(swarm: SwarmHandle, isInitiator: Bool) {
    self.swarm = swarm
    self.isInitiator = isInitiator
    // Never inside a call of C: a callback of the connection must not run before the call has returned.
    pump = MessagePump(
      loop: swarm.home.loop,
      bounds: .init(highWater: Limits.writeHighWater, lowWater: Limits.writeLowWater, limit: Limits.writeLimit),
      startsInside: false)
    pointer = Handles.connections.add(self)
  }

  // MARK: Opening

  /// A stream that is open.
  func adopt(_ stream: EncryptedStream) {
    attach(stream)
    opened(stream)
  }

  /// A stream that is about to be made.
  func attach(_ stream: EncryptedStream) {
    self.stream = stream
    swarm.connections[ObjectIdentifier(self)] = self
    pump.attach(stream)
    pump.onRoom = { [self] in
      guard !stream.isDestroying else { return }
      guard let mux else { return callbacks.on_drain?(pointer, callbacks.user_data) ?? () }
      // Later: the mux may be inside a call that has sent something.
      swarm.home.loop.defer { mux.drained() }
    }
    stream.onDrain = { [self] in pump.drained() }
    stream.onEnd = { [self] in
      mux?.peerEnded()
      callbacks.on_end?(pointer, callbacks.user_data)
    }
    stream.onPathChange = { [self] in pathChanged(stream, $0) }
    stream.onClose = { [self] in closed(status($0), $0?.description ?? "") }
    stream.onAuthenticated = { [self] in
      shared.withLock { $0.isPeerProven = true }
      callbacks.on_peer_proven?(pointer, callbacks.user_data)
    }
    // Held by the stream's callbacks, which the stream drops when it closes.
    if !stream.isOpen {
      stream.onOpen = { [self] in
        opened(stream)
        callbacks.on_open?(pointer, callbacks.user_data)
        pump.run()
      }
    }
    apply()
    if let mux, mux.state.withLock({ $0.isStarted }) { read(for: mux) }
  }

  private func opened(_ stream: EncryptedStream) {
    pump.start()
    shared.withLock {
      $0.remotePublicKey = stream.remotePublicKey ?? $0.remotePublicKey
      $0.handshakeHash = stream.handshakeHash
      $0.isPeerProven = stream.isAuthenticated
    }
    swarm.events?.log(.info, "connection with \(peerText): open\(pathText)")
    logTimeline()
  }

  private func pathChanged(_ stream: EncryptedStream, _ remote: Endpoint) {
    guard let onPath = callbacks.on_path else { return }
    var path = hyperswarm_path_t()
    path.size = MemoryLayout<hyperswarm_path_t>.size
    path.is_relayed = stream.isRelayed ? 1 : 0
    path.changes = stream.statistics.pathChanges
    remote.description.withCString {
      path.remote_address = $0
      onPath(pointer, &path, callbacks.user_data)
    }
  }

  // MARK: Closing

  /// Last act. Once: of the stream, or in place of a stream that was never made.
  func closed(_ status: Int32, _ reason: String) {
    let mux = mux
    var (status, reason) = (status, reason)
    // The mux has destroyed it.
    if status == HYPERSWARM_OK, let violation = mux?.violation {
      status = violation
      reason = "\(ErrorCodes.entry(violation).text)"
    }
    let text = reason
    shared.withLock { shared in
      shared.isClosing = true
      shared.reason = text
      shared.changes.callbacks.map { callbacks = $0 }
      shared.changes = Changes()
    }
    closeStatus = status
    logClosed(status, reason)
    release()
    // Writes fail before `on_close`, after which the program may free what their callbacks use.
    pump.close()
    (mux ?? self.mux)?.connectionClosed(status)
    shared.withLock { $0.mux = nil }
    callbacks.on_close?(pointer, status, callbacks.user_data)
    callbacks = hyperswarm_connection_callbacks_t()
    stream = nil
    Handles.connections.remove(pointer)
    swarm.connections[ObjectIdentifier(self)] = nil
    swarm.checkIdle()
  }

  // MARK: What the log says

  /// Open, and not about to close.
  var isLive: Bool { stream?.isOpen == true && !shared.withLock { $0.isClosing } }

  /// How the connection came about, one line per step.
  var timeline: [String] { stream?.pathTimeline?() ?? [] }

  private var peerText: String { KeyText.zBase32(shared.withLock { $0.remotePublicKey }) }

  private var pathText: String {
    guard let remote = stream?.transport?.remote else { return "" }
    return stream?.isRelayed == true ? ", over the relay \(remote)" : ", directly with \(remote)"
  }

  private func logTimeline() {
    guard let events = swarm.events, events.wants(.debug) else { return }
    for line in timeline { events.log(.debug, "connection with \(peerText): \(line)") }
  }

  private func logClosed(_ status: Int32, _ reason: String) {
    if stream?.isOpen != true { logTimeline() }
    swarm.events?.log(
      status == HYPERSWARM_OK ? .info : .warning,
      "connection with \(peerText): closed" + (status == HYPERSWARM_OK ? "" : ", \(reason)"))
  }

  // MARK: Settings

  func change(_ change: (inout Changes) -> Void) throws(Failure) {
    try swarm.home.checkThread()
    let mustPost = try record(change)
    if swarm.home.loop.isOnLoop {
      if stream != nil { apply() }
    } else if mustPost {
      swarm.home.loop.post { [self] in
        if stream != nil { apply() }
      }
    }
  }

  private func record(_ change: (inout Changes) -> Void) throws(Failure) -> Bool {
    let mustPost = shared.withLock { shared -> Bool? in
      guard !shared.isClosing else { return nil }
      change(&shared.changes)
      if let callbacks = shared.changes.callbacks { shared.userData = callbacks.user_data }
      if shared.changes.destroys {
        shared.isClosing = true
        pump.refuse()
      }
      defer { shared.changesArePosted = true }
      return !shared.changesArePosted
    }
    guard let mustPost else { throw Failure(HYPERSWARM_ERR_CLOSED) }
    return mustPost
  }

  private func apply() {
    guard let stream else { return }
    let changes = shared.withLock { shared -> Changes in
      shared.changesArePosted = false
      defer { shared.changes = Changes() }
      return shared.changes
    }
    if let given = changes.callbacks { set(given, stream) }
    if let milliseconds = changes.keepAlive { stream.keepAlive = UInt64(milliseconds) }
    if let milliseconds = changes.timeout { stream.timeout = UInt64(milliseconds) }
    if let isPaused = changes.isPaused {
      self.isPaused = isPaused
      updateFlow(stream)
      if !isPaused { mux?.pumpSoon() }
    }
    if changes.destroys { stream.destroy() }
  }

  private func set(_ given: hyperswarm_connection_callbacks_t, _ stream: EncryptedStream) {
    callbacks = given
    if mux != nil { return setDatagrams(given, stream) }
    stream.onMessage = given.on_message.map { onMessage in
      { [self] bytes in
        onMessage(pointer, Empty.address(of: bytes), bytes.count, callbacks.user_data)
      }
    }
    setDatagrams(given, stream)
  }

  private func setDatagrams(_ given: hyperswarm_connection_callbacks_t, _ stream: EncryptedStream) {
    stream.onDatagram = given.on_datagram.map { onDatagram in
      { [self] bytes in
        onDatagram(pointer, Empty.address(of: bytes), bytes.count, callbacks.user_data)
      }
    }
  }

  private func updateFlow(_ stream: EncryptedStream) {
    if isPaused || isHeld { stream.pause() } else { stream.resume() }
  }

  // MARK: Channels

  private var mux: MuxHandle? { shared.withLock { $0.mux } }

  /// The program, and the state of the stream, let messages through.
  var takesMessages: Bool { !isPaused && stream?.isDestroying == false }

  /// The mux takes the messages once it has started.
  func adopt(_ mux: MuxHandle) throws(Failure) {
    let code = shared.withLock { shared -> Int in
      if shared.isClosing { return HYPERSWARM_ERR_CLOSED }
      if shared.mux != nil { return HYPERSWARM_ERR_INVALID_ARGUMENT }
      shared.mux = mux
      return HYPERSWARM_OK
    }
    if code != HYPERSWARM_OK { throw Failure(code) }
    _ = swarm.home.run { [self] in
      if !mux.isGone { stream?.onMessage = nil }
    }
  }

  func read(for mux: MuxHandle) {
    guard !mux.isGone else { return }
    stream?.onMessage = nil
    // Held by the stream, which drops it when it closes.
    stream?.onOwnedMessage = { mux.take($0) }
  }

  func hold(_ isHeld: Bool) {
    guard self.isHeld != isHeld, let stream else { return }
    self.isHeld = isHeld
    updateFlow(stream)
  }

  /// One frame of the channels. The bounds are those of the mux: it is never refused, and is lost only with the
  /// connection.
  /// - Returns: bytes in the queue.
  func send(frame: [UInt8]) -> Int {
    if swarm.home.loop.isOnLoop, let stream, pump.passThrough({ stream.write(frame) || stream.isDestroying }) {
      return 0
    }
    guard case .taken(let queued) = pump.add(.message(frame), isBounded: false) else { return 0 }
    return queued
  }

  // MARK: Sending

  /// - Returns: bytes in the queue.
  func write(
    _ bytes: UnsafeRawBufferPointer, _ written: hyperswarm_write_cb?, _ userData: UnsafeMutableRawPointer?
  ) throws(Failure) -> Int64 {
    let home = swarm.home
    try home.checkThread()
    guard bytes.count <= Limits.message else { throw Failure(HYPERSWARM_ERR_MESSAGE_TOO_LARGE) }
    var flush: ((Bool) -> Void)?
    if let written {
      try swarm.begin()
      flush = { [self] arrived in
        written(pointer, arrived ? Int32(HYPERSWARM_OK) : failureStatus, userData)
        swarm.finish()
      }
    }
    if home.loop.isOnLoop, let stream {
      // Straight into the stream's own buffer when nothing waits before it.
      let isSent = pump.passThrough {
        let hasRoom = stream.write(bytes) || stream.isDestroying
        if let flush { stream.flush(flush) }
        return hasRoom
      }
      if isSent { return 0 }
    }
    do throws(Failure) {
      return Int64(try queue(.message(Array(bytes)), flush))
    } catch {
      if flush != nil { swarm.finish() }
      throw error
    }
  }

  /// - Returns: bytes in the queue.
  func write(
    borrowed bytes: UnsafeRawBufferPointer, _ released: @escaping hyperswarm_release_cb,
    _ userData: UnsafeMutableRawPointer?
  ) throws(Failure) -> Int64 {
    let home = swarm.home
    try home.checkThread()
    guard bytes.count <= Limits.message else { throw Failure(HYPERSWARM_ERR_MESSAGE_TOO_LARGE) }
    try swarm.begin()
    let done: (Bool) -> Void = { [self] isTaken in
      released(pointer, isTaken ? Int32(HYPERSWARM_OK) : failureStatus, userData)
      swarm.finish()
    }
    if home.loop.isOnLoop, let stream, pump.passThrough({ stream.send(borrowed: bytes) }) {
      releases.append { done(true) }
      if releases.count == 1 { home.loop.defer { [self] in release() } }
      return 0
    }
    do throws(Failure) {
      return Int64(try queue(.borrowed(BorrowedMessage(bytes, done: done)), nil))
    } catch {
      swarm.finish()
      throw error
    }
  }

  private func release() {
    let due = releases
    releases = []
    for body in due { body() }
  }

  func add(_ item: MessagePump.Item) throws(Failure) {
    try swarm.home.checkThread()
    _ = try queue(item, nil)
  }

  private func queue(_ item: MessagePump.Item, _ flush: ((Bool) -> Void)?) throws(Failure) -> Int {
    switch pump.add(item, flush: flush) {
    case .taken(let queued): return queued
    case .full: throw Failure(HYPERSWARM_ERR_QUEUE_FULL)
    case .closed: throw Failure(HYPERSWARM_ERR_CLOSED)
    }
  }

  /// Of a write that has not arrived: why the connection closed.
  private var failureStatus: Int32 {
    let why = closeStatus ?? status(stream?.closeError)
    return why == HYPERSWARM_OK ? Int32(HYPERSWARM_ERR_CLOSED) : why
  }
}

/// Where no bytes are: C may hand the address on to functions that do not take NULL.
enum Empty {
  nonisolated(unsafe) static let byte = UnsafePointer(
    { () -> UnsafeMutablePointer<UInt8> in
      let byte = UnsafeMutablePointer<UInt8>.allocate(capacity: 1)
      byte.initialize(to: 0)
      return byte
    }())

  static func address(of bytes: UnsafeRawBufferPointer) -> UnsafePointer<UInt8> {
    bytes.baseAddress?.assumingMemoryBound(to: UInt8.self) ?? byte
  }
}
