import Foundation
import Synchronization

/// Standard input and output off the cooperative threads, one operation at a time each. Descriptors that do not block
/// are waited for.
enum StandardStreams {
  private static let output = OutputDescriptor(1)
  /// A broken pipe ends other programs with this parent by SIGPIPE.
  private static let brokenPipeEnds = Atomic(false)

  /// Before anything is opened: descriptors of the tool's own must not become 0, 1 or 2.
  static func prepare() {
    for number in Int32(0)...2 where fcntl(number, F_GETFD) == -1 {
      _ = open("/dev/null", number == 0 ? O_RDONLY : O_WRONLY)
    }
    if signal(SIGPIPE, SIG_IGN) == nil { brokenPipeEnds.store(true, ordering: .relaxed) }
  }

  /// Ends the process as `cat` ends when its reader is gone. Returns when the parent has SIGPIPE ignored.
  static func endByBrokenPipe() {
    guard brokenPipeEnds.load(ordering: .relaxed) else { return }
    signal(SIGPIPE, SIG_DFL)
    raise(SIGPIPE)
  }

  /// Writes everything to standard output. Returns 0 or the error.
  static func write(_ bytes: [UInt8]) async -> Int32 { await output.write(bytes) }
}

/// A descriptor that one writer at a time writes to, off the cooperative threads.
final class OutputDescriptor: Sendable {
  private let descriptor: Int32
  private let queue = DispatchQueue(label: "hyperswarm.output")

  init(_ descriptor: Int32) { self.descriptor = descriptor }

  /// Writes everything. Returns 0 or the error.
  func write(_ bytes: [UInt8]) async -> Int32 {
    await withCheckedContinuation { continuation in
      queue.async { [descriptor] in continuation.resume(returning: writeAll(bytes, to: descriptor)) }
    }
  }

  /// After what is being written. Nothing may be written any more.
  func close() { queue.async { [descriptor] in _ = Foundation.close(descriptor) } }
}

/// Writes everything, also where the descriptor does not block. Returns 0 or the error.
func writeAll(_ bytes: [UInt8], to descriptor: Int32) -> Int32 {
  bytes.withUnsafeBytes { buffer in
    var rest = buffer
    while let base = rest.baseAddress, !rest.isEmpty {
      let count = write(descriptor, base, rest.count)
      guard count >= 0 else {
        let error = errno
        guard error == EINTR || error == EAGAIN else { return error }
        if error == EAGAIN {
          var ready = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
          poll(&ready, 1, -1)
        }
        continue
      }
      rest = UnsafeRawBufferPointer(rebasing: rest[count...])
    }
    return 0
  }
}

/// Something that was to be printed is lost.
struct OutputFailure: Error, CustomStringConvertible {
  let number: Int32

  init(_ number: Int32) { self.number = number }

  var isBrokenPipe: Bool { number == EPIPE }
  var code: String { isBrokenPipe ? "EPIPE" : number == ENOSPC ? "ENOSPC" : "OUTPUT_FAILED" }
  var description: String {
    isBrokenPipe ? "standard output is closed" : "cannot write to standard output: \(String(cString: strerror(number)))"
  }
}

/// Standard input, or another descriptor, of which one reader at a time takes chunks.
final class StandardInput: Sendable {
  enum Chunk {
    case data([UInt8])
    case end
    /// Nothing has come for the time of `limitSilence`.
    case silence
    case failed(Int32)
  }

  private static let chunkSize = 65_536
  private let descriptor: Int32
  private let queue = DispatchQueue(label: "hyperswarm.input")
  /// Ends a wait early, so that it takes notice of a new limit.
  private let wakeUps: (read: Int32, write: Int32)
  /// Milliseconds; -1 for none.
  private let silence = Atomic<Int32>(-1)

  init(_ descriptor: Int32 = 0) {
    self.descriptor = descriptor
    var ends: [Int32] = [-1, -1]
    _ = pipe(&ends)
    wakeUps = (ends[0], ends[1])
  }

  deinit {
    for end in [wakeUps.read, wakeUps.write] where end >= 0 { close(end) }
  }

  static var isTerminal: Bool { isatty(0) == 1 }

  /// From now on a read reports silence of so many milliseconds, one that waits already included.
  func limitSilence(to milliseconds: Int32) {
    silence.store(milliseconds, ordering: .releasing)
    var byte: UInt8 = 1
    _ = Foundation.write(wakeUps.write, &byte, 1)
  }

  func read() async -> Chunk {
    await withCheckedContinuation { continuation in
      queue.async { continuation.resume(returning: self.next()) }
    }
  }

  private func next() -> Chunk {
    var waited = [
      pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0),
      pollfd(fd: wakeUps.read, events: Int16(POLLIN), revents: 0),
    ]
    while true {
      let count = poll(&waited, 2, silence.load(ordering: .acquiring))
      if count < 0 {
        if errno == EINTR { continue }
        return .failed(errno)
      }
      if waited[1].revents != 0 {
        var byte: UInt8 = 0
        _ = Foundation.read(wakeUps.read, &byte, 1)
      }
      if waited[0].revents == 0 {
        if count == 0 { return .silence }
        continue
      }
      if let chunk = take() { return chunk }
    }
  }

  /// `nil` when there was nothing to read after all.
  private func take() -> Chunk? {
    var failure: Int32 = 0
    let bytes = [UInt8](unsafeUninitializedCapacity: StandardInput.chunkSize) { buffer, initialized in
      let count = Foundation.read(descriptor, buffer.baseAddress, StandardInput.chunkSize)
      if count < 0 { failure = errno }
      initialized = max(count, 0)
    }
    if failure == EINTR || failure == EAGAIN { return nil }
    if failure != 0 { return .failed(failure) }
    return bytes.isEmpty ? .end : .data(bytes)
  }
}

/// Lines of standard input without their ends, read only as fast as they are taken. A line above the limit comes in
/// parts.
struct InputLines: AsyncSequence {
  static let limit = 1 << 20
  let input: StandardInput

  func makeAsyncIterator() -> Iterator { Iterator(input: input) }

  struct Iterator: AsyncIteratorProtocol {
    let input: StandardInput
    private var rest: ArraySlice<UInt8> = []
    private var isEnded = false

    init(input: StandardInput) { self.input = input }

    mutating func next() async -> String? {
      var searched = 0
      while true {
        if let end = rest.dropFirst(searched).firstIndex(of: 10) { return line(upTo: end, dropping: 1) }
        if rest.count >= InputLines.limit { return line(upTo: rest.startIndex + InputLines.limit, dropping: 0) }
        searched = rest.count
        if isEnded { return rest.isEmpty ? nil : line(upTo: rest.endIndex, dropping: 0) }
        if case .data(let bytes) = await input.read() { rest += bytes } else { isEnded = true }
      }
    }

    private mutating func line(upTo end: Int, dropping count: Int) -> String {
      let text = String(decoding: rest[..<end], as: UTF8.self)
      rest = rest[(end + count)...]
      return text
    }
  }
}
