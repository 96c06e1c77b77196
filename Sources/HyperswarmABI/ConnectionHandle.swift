import CHyperswarm
import HyperCrypto
import HyperDHT
import HyperDHTEngine
import HyperEncoding
import HyperRuntime
import HyperSecretStream
import HyperswarmEngine

/// What stands behind a `hyperswarm_connection_t`: an encrypted stream, the C callbacks, and a bounded queue of what was
/// written while the stream could not take it, or from another thread.
///
/// `shared` is for any thread, everything else for the loop.
final class ConnectionHandle: @unchecked Sendable {
  let swarm: SwarmHandle
  let isInitiator: Bool
  private(set) var pointer: OpaquePointer?

  enum Item {
    case message([UInt8], ((Int32) -> Void)?)
    case datagram([UInt8])
    case end
  }

  /// Settings that other threads have asked for.
  struct Wishes {
    var callbacks: hyperswarm_connection_callbacks_t?
    var isPaused: Bool?
    var keepAlive: UInt32?
    var timeout: UInt32?
    var destroys = false
  }

  struct Shared {
    var remotePublicKey = Bytes32()
    var handshakeHash: Bytes64?
    var userData: UnsafeMutableRawPointer?
    var items: [Item] = []
    /// Of the items and of those that the loop has in hand.
    var bytes = 0
    /// The loop knows of the items, or waits for the stream to drain.
    var isAnnounced = false
    var owesDrain = false
    var isEnded = false
    /// Closed, or asked to.
    var isClosing = false
    var reason = ""
    var wishes = Wishes()
    var wishesArePosted = false
  }
  let shared = Locked(Shared())

  private(set) var stream: EncryptedStream?
  private var callbacks = hyperswarm_connection_callbacks_t()
  private var waiting: [Item] = []
  private var waitingHead = 0
  private var isBlocked = true
  private var isPumping = false

  init(swarm: SwarmHandle, isInitiator: Bool) {
    self.swarm = swarm
    self.isInitiator = isInitiator
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
    stream.onDrain = { [self] in
      isBlocked = false
      pump()
    }
    stream.onEnd = { [self] in callbacks.on_end?(pointer, callbacks.user_data) }
    stream.onClose = { [self] in closed(status($0), $0?.description ?? "") }
    // Held by the stream's callbacks, which the stream drops when it closes.
    if !stream.isOpen {
      stream.onOpen = { [self] in
        opened(stream)
        callbacks.on_open?(pointer, callbacks.user_data)
        pump()
      }
    }
    apply()
  }

  private func opened(_ stream: EncryptedStream) {
    isBlocked = false
    shared.withLock {
      $0.remotePublicKey = stream.remotePublicKey ?? $0.remotePublicKey
      $0.handshakeHash = stream.handshakeHash
    }
  }

  // MARK: Closing

  /// Last act. Once: of the stream, or in place of a stream that was never made.
  func closed(_ status: Int32, _ reason: String) {
    let unsent = waiting[waitingHead...]
    waiting = []
    waitingHead = 0
    isBlocked = true
    let queued = shared.withLock { shared -> [Item] in
      shared.isClosing = true
      shared.reason = reason
      shared.bytes = 0
      shared.wishes.callbacks.map { callbacks = $0 }
      shared.wishes = Wishes()
      defer { shared.items = [] }
      return shared.items
    }
    // Writing fails first: whoever learns of the end may look at his books.
    let failure = status == HYPERSWARM_OK ? Int32(HYPERSWARM_ERR_CLOSED) : status
    for item in unsent + queued {
      if case .message(_, let written) = item { written?(failure) }
    }
    callbacks.on_close?(pointer, status, callbacks.user_data)
    callbacks = hyperswarm_connection_callbacks_t()
    stream = nil
    Handles.connections.remove(pointer)
    swarm.connections[ObjectIdentifier(self)] = nil
    swarm.checkIdle()
  }

  // MARK: Settings

  func wish(_ change: (inout Wishes) -> Void) throws(Failure) {
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

  private func record(_ change: (inout Wishes) -> Void) throws(Failure) -> Bool {
    let mustPost = shared.withLock { shared -> Bool? in
      guard !shared.isClosing else { return nil }
      change(&shared.wishes)
      if let callbacks = shared.wishes.callbacks { shared.userData = callbacks.user_data }
      if shared.wishes.destroys { shared.isClosing = true }
      defer { shared.wishesArePosted = true }
      return !shared.wishesArePosted
    }
    guard let mustPost else { throw Failure(HYPERSWARM_ERR_CLOSED) }
    return mustPost
  }

  private func apply() {
    guard let stream else { return }
    let wishes = shared.withLock { shared -> Wishes in
      shared.wishesArePosted = false
      defer { shared.wishes = Wishes() }
      return shared.wishes
    }
    if let given = wishes.callbacks { set(given, stream) }
    if let milliseconds = wishes.keepAlive { stream.keepAlive = UInt64(milliseconds) }
    if let milliseconds = wishes.timeout { stream.timeout = UInt64(milliseconds) }
    switch wishes.isPaused {
    case true: stream.pause()
    case false: stream.resume()
    case nil: break
    }
    if wishes.destroys { stream.destroy() }
  }

  private func set(_ given: hyperswarm_connection_callbacks_t, _ stream: EncryptedStream) {
    callbacks = given
    stream.onMessage = given.on_message.map { onMessage in
      { [self] bytes in
        onMessage(pointer, Empty.address(of: bytes), bytes.count, callbacks.user_data)
      }
    }
    stream.onDatagram = given.on_datagram.map { onDatagram in
      { [self] bytes in
        onDatagram(pointer, Empty.address(of: bytes), bytes.count, callbacks.user_data)
      }
    }
  }

  // MARK: Sending

  /// - Returns: bytes in the queue.
  func write(
    _ bytes: UnsafeRawBufferPointer, _ written: hyperswarm_write_cb?, _ userData: UnsafeMutableRawPointer?
  ) throws(Failure) -> Int64 {
    let home = swarm.home
    try home.checkThread()
    guard bytes.count <= Limits.message else { throw Failure(HYPERSWARM_ERR_MESSAGE_TOO_LARGE) }
    var report: ((Int32) -> Void)?
    if let written {
      try swarm.begin()
      report = { [self] status in
        written(pointer, status, userData)
        swarm.finish()
      }
    }
    // Straight into the stream's own buffer when nothing waits before it.
    if home.loop.isOnLoop, !isBlocked, waitingHead == waiting.count, let stream {
      let isIdle = shared.withLock { $0.items.isEmpty && !$0.isEnded && !$0.isClosing }
      if isIdle {
        send(bytes, report, stream)
        return 0
      }
    }
    let outcome = shared.withLock { shared -> Result<(Int, mustPost: Bool), Failure> in
      guard !shared.isClosing, !shared.isEnded else { return .failure(Failure(HYPERSWARM_ERR_CLOSED)) }
      guard shared.bytes < Limits.writeLimit else {
        shared.owesDrain = true
        return .failure(Failure(HYPERSWARM_ERR_QUEUE_FULL))
      }
      shared.items.append(.message(Array(bytes), report))
      shared.bytes += bytes.count + Limits.messageCost
      if shared.bytes > Limits.writeHighWater { shared.owesDrain = true }
      defer { shared.isAnnounced = true }
      return .success((shared.bytes, !shared.isAnnounced))
    }
    switch outcome {
    case .success(let (queued, mustPost)):
      if mustPost { announce() }
      return Int64(queued)
    case .failure(let failure):
      if report != nil { swarm.finish() }
      throw failure
    }
  }

  func add(_ item: Item) throws(Failure) {
    try swarm.home.checkThread()
    let outcome = shared.withLock { shared -> Result<Bool, Failure> in
      guard !shared.isClosing, !shared.isEnded else { return .failure(Failure(HYPERSWARM_ERR_CLOSED)) }
      switch item {
      case .end: shared.isEnded = true
      case .datagram(let bytes), .message(let bytes, _):
        guard shared.bytes < Limits.writeLimit else { return .failure(Failure(HYPERSWARM_ERR_QUEUE_FULL)) }
        shared.bytes += bytes.count + Limits.messageCost
      }
      shared.items.append(item)
      defer { shared.isAnnounced = true }
      return .success(!shared.isAnnounced)
    }
    if try outcome.get() { announce() }
  }

  private func announce() {
    let loop = swarm.home.loop
    if loop.isOnLoop {
      loop.defer { [self] in pump() }
    } else {
      loop.post { [self] in pump() }
    }
  }

  private func send(_ bytes: UnsafeRawBufferPointer, _ report: ((Int32) -> Void)?, _ stream: EncryptedStream) {
    // A closing stream takes nothing and will not drain either.
    isBlocked = !stream.write(bytes) && !stream.isDestroying
    guard let report else { return }
    stream.flush { [weak stream] arrived in
      let why = status(stream?.closeError)
      report(arrived ? Int32(HYPERSWARM_OK) : why == HYPERSWARM_OK ? Int32(HYPERSWARM_ERR_CLOSED) : why)
    }
  }

  private func pump() {
    guard !isPumping, let stream else { return }
    isPumping = true
    var taken = 0
    while !isBlocked {
      if waitingHead == waiting.count {
        waiting = shared.withLock { shared in
          if shared.items.isEmpty { shared.isAnnounced = false }
          defer { shared.items = [] }
          return shared.items
        }
        waitingHead = 0
        if waiting.isEmpty { break }
      }
      let item = waiting[waitingHead]
      waiting[waitingHead] = .end
      waitingHead += 1
      switch item {
      case .message(let bytes, let report):
        bytes.withUnsafeBytes { send($0, report, stream) }
        taken += bytes.count + Limits.messageCost
      case .datagram(let bytes):
        _ = stream.sendDatagram(bytes)
        taken += bytes.count + Limits.messageCost
      case .end: stream.end()
      }
    }
    isPumping = false
    let drains = shared.withLock { shared -> Bool in
      shared.bytes = max(shared.bytes - taken, 0)
      guard shared.owesDrain, shared.bytes <= Limits.writeHighWater / 2 else { return false }
      shared.owesDrain = false
      return true
    }
    if drains, !stream.isDestroying { callbacks.on_drain?(pointer, callbacks.user_data) }
  }
}

/// Where no bytes are: C may hand the address on to functions that do not take NULL.
private enum Empty {
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
