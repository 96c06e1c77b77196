import HyperRuntime

/// What a secret stream runs over: ordered, reliable bytes in both directions. A program brings its own (a channel of
/// swift-nio, a serial line), or takes what is here: ``MemoryTransport``, descriptors of pipes and sockets, UDX.
///
/// `read` is called by one task at a time, `write` and `end` by another one, on the stream's loop unless the transport
/// is isolated elsewhere: none of them may block the thread. They are not called from within a cancelled task:
/// `destroy` ends them. Bytes may be split and joined anywhere on their way.
public protocol SecretStreamTransport: Sendable {
  /// The next bytes, as many as there are; `nil` after the peer has ended its half. What it throws ends the stream with
  /// `transport` and its description, `SecretStreamError.reset` with that.
  func read() async throws -> [UInt8]?
  /// Sends bytes behind those before them, and returns when there is room for more: the stream's writers wait so long.
  /// What it throws ends the stream, as that of `read` does.
  func write(_ bytes: [UInt8]) async throws
  /// Ends the writing half: the peer's `read` returns `nil` after what was written. Nothing is written after it.
  func end() async throws
  /// Releases what the transport holds, at once. Called once: when both halves have ended, or to abort. A `read` or
  /// `write` that waits returns or throws.
  func destroy()
}

/// One end of a pair of transports inside the process: for tests, and for two parts of one program.
///
/// Each direction takes 64 KiB before its writer waits.
public final class MemoryTransport: SecretStreamTransport {
  private let reading: MemoryPipe
  private let writing: MemoryPipe

  private init(reading: MemoryPipe, writing: MemoryPipe) {
    self.reading = reading
    self.writing = writing
  }

  /// Two ends; what is written to one is read from the other.
  public static func pair() -> (MemoryTransport, MemoryTransport) {
    let (there, back) = (MemoryPipe(), MemoryPipe())
    return (MemoryTransport(reading: back, writing: there), MemoryTransport(reading: there, writing: back))
  }

  /// What the other end has written, one of its pieces at a time; `nil` after it has ended its half, and in a task that
  /// is cancelled. Throws `SecretStreamError.reset` after `destroy` of either end.
  public func read() async throws -> [UInt8]? { try await reading.read() }
  /// Hands bytes to the other end, and waits while it has 64 KiB or more that it has not read. Throws
  /// `SecretStreamError.reset` after `end`, and after `destroy` of either end.
  public func write(_ bytes: [UInt8]) async throws { try await writing.write(bytes) }
  /// Ends this end's half: the other end reads what was written, then `nil`.
  public func end() { writing.finish(.success(())) }

  /// Aborts: the other end's `read` fails with `reset`, unless this half has ended.
  public func destroy() {
    // A half that has ended keeps its end.
    writing.finish(.failure(.reset))
    reading.finish(.failure(.reset))
  }
}

/// One direction.
private final class MemoryPipe: Sendable {
  private let chunks = EventQueue<[UInt8], SecretStreamError>(capacity: .max)
  private let room = EventQueue<Void, Never>(capacity: 1)
  private let state = Locked((bytes: 0, isEnded: false))

  func read() async throws -> [UInt8]? {
    guard let bytes = try await chunks.next() else { return nil }
    let hasRoom = state.withLock { state in
      state.bytes -= bytes.count
      return state.bytes < Limits.memoryPipe
    }
    if hasRoom { room.push(()) }
    return bytes
  }

  func write(_ bytes: [UInt8]) async throws {
    let isEnded = state.withLock { state in
      if !state.isEnded { state.bytes += bytes.count }
      return state.isEnded
    }
    guard !isEnded, chunks.push(bytes) else { throw SecretStreamError.reset }
    while state.withLock({ $0.bytes >= Limits.memoryPipe && !$0.isEnded }) {
      guard await room.next() != nil else { return }
    }
  }

  func finish(_ result: Result<Void, SecretStreamError>) {
    state.withLock { $0.isEnded = true }
    chunks.finish(result)
    room.finish()
  }
}
