import CHyperUV
import HyperEnvironment
import HyperRuntime

#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// Pipes and stream sockets of the system, by their descriptors, which it owns. Loop-confined.
final class DescriptorTransport: ByteTransport {
  var onData: ((UnsafeRawBufferPointer) -> Void)?
  var onEnd: (() -> Void)?
  var onDrain: (() -> Void)?
  var onClose: ((TransportStreamError?) -> Void)?
  private(set) var isClosed = false

  private let loop: UVEventLoop
  private let reading: PolledDescriptor
  private let writing: PolledDescriptor
  private var queue: [(buffer: OwnedBuffer, done: ((Bool) -> Void)?)] = []
  /// Bytes of the first buffer that the system has.
  private var sent = 0
  private var queuedBytes = 0
  private var owesDrain = false
  private var isEnding = false
  private var hasEnded = false
  private var peerHasEnded = false
  private var isPaused = false
  private var isStarted = false
  private var closeError: TransportStreamError?
  private let block = UnsafeMutableRawBufferPointer.allocate(byteCount: Limits.readBlock, alignment: 16)

  /// - Parameters:
  ///   - reading: read from.
  ///   - writing: written to; another descriptor than `reading`, of the same socket or of another pipe.
  init(loop: UVEventLoop, reading: Int32, writing: Int32) {
    self.loop = loop
    self.reading = PolledDescriptor(reading)
    self.writing = PolledDescriptor(writing)
  }

  deinit { block.deallocate() }

  /// The callbacks are set: begins to read.
  func start() {
    // The stream may have failed before it began.
    guard !isClosed else { return }
    isStarted = true
    let result = reading.open(loop) { [self] in readable($0) }
    let other = result == 0 ? writing.open(loop) { [self] in writable($0) } : result
    if other != 0 { return close(.other(other)) }
    watchReading()
    send()
  }

  // MARK: Reading

  private func watchReading() { reading.watch(isPaused || peerHasEnded || isClosed ? nil : UV_READABLE) }

  /// With an error libuv says only that there is one: the descriptor has what came before it, and then which it is.
  private func readable(_ status: Int32) {
    for _ in 0..<Limits.readBlocks {
      guard !isPaused, !peerHasEnded, !isClosed else { break }
      let count = reading.read(into: block)
      if count > 0 {
        onData?(UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(block)[..<count]))
        if count < block.count { break }
      } else if count == 0 {
        peerHasEnded = true
        onEnd?()
        closeIfOver()
      } else if count != Int(UV_EAGAIN.rawValue) {
        return failed(Int32(count))
      } else if status != 0 {
        return close(.other(status))
      } else {
        break
      }
    }
    watchReading()
  }

  func pauseReading() {
    isPaused = true
    watchReading()
  }

  func resumeReading() {
    isPaused = false
    watchReading()
  }

  // MARK: Writing

  func write(_ buffer: OwnedBuffer, _ onAcknowledged: ((Bool) -> Void)?) -> Bool {
    guard !isClosed, !isEnding else {
      onAcknowledged?(false)
      return true
    }
    queue.append((buffer, onAcknowledged))
    queuedBytes += buffer.count
    if queue.count == 1, isStarted { send() }
    if queuedBytes > Limits.transportWindow { owesDrain = true }
    return !owesDrain
  }

  func end() {
    guard !isClosed, !isEnding else { return }
    isEnding = true
    if isStarted { send() }
  }

  private func writable(_ status: Int32) {
    send()
    if status != 0, !queue.isEmpty { return close(.other(status)) }
    guard owesDrain, queuedBytes <= Limits.transportResume, !isClosed else { return }
    owesDrain = false
    onDrain?()
  }

  /// Writes as much as the system takes.
  private func send() {
    while let (buffer, done) = queue.first, !isClosed {
      let count = writing.write(UnsafeRawBufferPointer(rebasing: buffer.bytes[sent...]))
      if count == Int(UV_EAGAIN.rawValue) { return writing.watch(UV_WRITABLE) }
      guard count >= 0 else { return failed(Int32(count)) }
      sent += count
      queuedBytes -= count
      guard sent == buffer.count else { continue }
      queue.removeFirst()
      sent = 0
      done?(true)
    }
    writing.watch(nil)
    guard isEnding, !hasEnded, !isClosed else { return }
    hasEnded = true
    writing.endWriting(loop)
    closeIfOver()
  }

  // MARK: Closing

  func destroy() { close(nil) }

  private func failed(_ error: Int32) {
    let isReset = error == UV_ECONNRESET.rawValue || error == UV_EPIPE.rawValue
    close(isReset ? .reset : .other(error))
  }

  private func closeIfOver() { if hasEnded, peerHasEnded { close(nil) } }

  private func close(_ error: TransportStreamError?) {
    guard !isClosed else { return }
    isClosed = true
    closeError = error
    let unsent = queue
    queue = []
    for (_, done) in unsent { done?(false) }
    var open = 2
    let closed = { [self] in
      open -= 1
      guard open == 0 else { return }
      let report = onClose
      onClose = nil
      report?(closeError)
    }
    reading.close(loop, closed)
    writing.close(loop, closed)
  }
}

/// One descriptor and the libuv handle that watches it.
private final class PolledDescriptor {
  private let descriptor: Int32
  private let isSocket: Bool
  private var handle: UnsafeMutablePointer<uv_poll_t>?
  private var events: Int32 = 0
  private var onEvent: ((Int32) -> Void)?
  private var isClosing = false
  private var isClosed = false
  private var onClosed: [() -> Void] = []

  init(_ descriptor: Int32) {
    self.descriptor = descriptor
    var status = stat()
    isSocket = fstat(descriptor, &status) == 0 && status.st_mode & S_IFMT == S_IFSOCK
  }

  /// - Returns: 0, or the negative errno of libuv.
  func open(_ loop: UVEventLoop, _ onEvent: @escaping (Int32) -> Void) -> Int32 {
    let flags = fcntl(descriptor, F_GETFL)
    guard flags >= 0, fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) == 0 else { return -errno }
    #if canImport(Darwin)
      _ = fcntl(descriptor, F_SETNOSIGPIPE, 1)
    #endif
    let made = UnsafeMutablePointer<uv_poll_t>.allocate(capacity: 1)
    made.initialize(to: uv_poll_t())
    let result = uv_poll_init(loop.uv, made, descriptor)
    guard result == 0 else {
      made.deallocate()
      return result
    }
    handle = made
    self.onEvent = onEvent
    // Held until the close callback.
    made.pointee.data = Unmanaged.passRetained(self).toOpaque()
    return 0
  }

  /// Watches for one kind of event from now on, `nil` for none.
  func watch(_ wanted: uv_poll_event?) {
    let wanted = wanted.map { Int32($0.rawValue) } ?? 0
    guard let handle, wanted != events, !isClosing else { return }
    events = wanted
    guard wanted != 0 else {
      uv_poll_stop(handle)
      return
    }
    uv_poll_start(handle, wanted) { handle, status, _ in
      guard let context = handle?.pointee.data else { return }
      let this = Unmanaged<PolledDescriptor>.fromOpaque(context).takeUnretainedValue()
      // libuv stops watching when it reports an error.
      if status < 0 { this.events = 0 }
      this.onEvent?(status)
    }
  }

  /// - Returns: bytes read, 0 at the end, or a negative errno.
  func read(into block: UnsafeMutableRawBufferPointer) -> Int {
    while true {
      #if canImport(Darwin)
        let count = Darwin.read(descriptor, block.baseAddress, block.count)
      #elseif canImport(Musl)
        let count = Musl.read(descriptor, block.baseAddress, block.count)
      #else
        let count = Glibc.read(descriptor, block.baseAddress, block.count)
      #endif
      if count >= 0 { return count }
      if errno != EINTR { return Self.negated(errno) }
    }
  }

  /// - Returns: bytes written, or a negative errno. A reader that is gone is an error and never a signal.
  func write(_ bytes: UnsafeRawBufferPointer) -> Int {
    while true {
      let count = writeOnce(bytes)
      if count >= 0 { return count }
      if errno != EINTR { return Self.negated(errno) }
    }
  }

  /// As libuv has them.
  private static func negated(_ error: Int32) -> Int {
    error == EWOULDBLOCK ? Int(UV_EAGAIN.rawValue) : -Int(error)
  }

  #if canImport(Darwin)
    private func writeOnce(_ bytes: UnsafeRawBufferPointer) -> Int {
      Darwin.write(descriptor, bytes.baseAddress, bytes.count)
    }
  #else
    private func writeOnce(_ bytes: UnsafeRawBufferPointer) -> Int {
      if isSocket { return send(descriptor, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL)) }
      // A pipe has no such flag: the signal is kept from this thread, and taken back when this call has caused it.
      var signal = sigset_t()
      var former = sigset_t()
      var pending = sigset_t()
      sigemptyset(&signal)
      sigaddset(&signal, SIGPIPE)
      sigpending(&pending)
      let wasPending = sigismember(&pending, SIGPIPE) == 1
      pthread_sigmask(SIG_BLOCK, &signal, &former)
      #if canImport(Musl)
        let count = Musl.write(descriptor, bytes.baseAddress, bytes.count)
      #else
        let count = Glibc.write(descriptor, bytes.baseAddress, bytes.count)
      #endif
      let error = errno
      if count < 0, error == EPIPE, !wasPending {
        var now = timespec()
        while sigtimedwait(&signal, nil, &now) < 0, errno == EINTR {}
      }
      pthread_sigmask(SIG_SETMASK, &former, nil)
      errno = error
      return count
    }
  #endif

  /// The peer sees an end: a pipe's with its descriptor.
  func endWriting(_ loop: UVEventLoop) {
    if isSocket { shutdown(descriptor, Int32(SHUT_WR)) } else { close(loop) {} }
  }

  /// Closes handle and descriptor; `done` runs once, later.
  func close(_ loop: UVEventLoop, _ done: @escaping () -> Void) {
    guard !isClosed else { return loop.defer(done) }
    onClosed.append(done)
    guard !isClosing else { return }
    isClosing = true
    onEvent = nil
    guard let handle else { return loop.defer { [self] in closed() } }
    uv_close(UnsafeMutableRawPointer(handle).assumingMemoryBound(to: uv_handle_t.self)) { handle in
      guard let context = handle?.pointee.data else { return }
      Unmanaged<PolledDescriptor>.fromOpaque(context).takeRetainedValue().closed()
    }
  }

  private func closed() {
    handle?.deallocate()
    handle = nil
    isClosed = true
    Descriptors.close(descriptor)
    let callbacks = onClosed
    onClosed = []
    for callback in callbacks { callback() }
  }
}
