import Foundation
import Hyperswarm
import Synchronization

/// Lines to people and programs. Whole lines are written at once, so that lines of several tasks do not mix.
enum Console {
  /// Set once, before anything is printed.
  static var isJSON: Bool {
    get { json.load(ordering: .relaxed) }
    set { json.store(newValue, ordering: .relaxed) }
  }
  private static let json = Atomic(false)

  /// One event: the text, or with `--json` one object with the event's name and fields.
  static func event(_ name: String, _ text: String, _ fields: [(String, JSON)] = []) {
    write(line(name, text, fields), to: 1)
  }

  /// As `event`, on standard error: where standard output carries data.
  static func note(_ name: String, _ text: String, _ fields: [(String, JSON)] = []) {
    write(line(name, text, fields), to: 2)
  }

  /// One line on standard error, and with `--json` an object on standard output, too.
  static func fail(_ error: any Error) {
    let code: String
    switch error {
    case let error as Failure: code = error.code
    case let error as DHTError: code = error.code
    case let error as HyperswarmError: code = error.code
    case let error as ConnectionError: code = error.code
    default: code = "ERROR"
    }
    let text = "\(error)".split(whereSeparator: \.isNewline).joined(separator: " ")
    write("hyperswarm: \(text)\n", to: 2)
    if isJSON { event("error", "", [("code", .string(code)), ("message", .string(text))]) }
  }

  private static func line(_ name: String, _ text: String, _ fields: [(String, JSON)]) -> String {
    isJSON ? JSON.object([("event", .string(name))] + fields).description + "\n" : text + "\n"
  }

  static let isTerminal = isatty(2) == 1

  /// Replaces the current line of a terminal; elsewhere a line of its own.
  static func progress(_ text: String) { write(isTerminal ? "\r\u{1b}[K\(text)" : text + "\n", to: 2) }

  static func endProgress() { if isTerminal { write("\r\u{1b}[K", to: 2) } }

  static func write(_ text: String, to descriptor: Int32) { _ = writeAll(Array(text.utf8), to: descriptor) }
}

/// Writes everything; `false` when the reader is gone or the disk is full.
func writeAll(_ bytes: [UInt8], to descriptor: Int32) -> Bool {
  bytes.withUnsafeBytes { buffer in
    var rest = buffer
    while let base = rest.baseAddress, !rest.isEmpty {
      let count = write(descriptor, base, rest.count)
      if count < 0 {
        if errno == EINTR { continue }
        return false
      }
      rest = UnsafeRawBufferPointer(rebasing: rest[count...])
    }
    return true
  }
}

/// Standard input and output off the cooperative threads, one operation at a time each.
enum StandardStreams {
  private static let input = DispatchQueue(label: "hyperswarm.stdin")
  private static let output = DispatchQueue(label: "hyperswarm.stdout")

  /// Up to 64 KiB, `nil` at the end.
  static func read() async -> [UInt8]? {
    await withCheckedContinuation { continuation in
      input.async {
        var bytes = [UInt8](repeating: 0, count: 65_536)
        var count: Int
        repeat {
          count = bytes.withUnsafeMutableBytes { Foundation.read(0, $0.baseAddress, $0.count) }
        } while count < 0 && errno == EINTR
        guard count > 0 else { return continuation.resume(returning: nil) }
        bytes.removeLast(bytes.count - count)
        continuation.resume(returning: bytes)
      }
    }
  }

  /// Lines without their ends.
  static func lines() -> AsyncStream<String> {
    AsyncStream { continuation in
      let reader = Task {
        var rest: [UInt8] = []
        while let chunk = await read() {
          rest += chunk
          while let end = rest.firstIndex(of: 10) {
            continuation.yield(String(decoding: rest[..<end], as: UTF8.self))
            rest.removeSubrange(...end)
          }
        }
        if !rest.isEmpty { continuation.yield(String(decoding: rest, as: UTF8.self)) }
        continuation.finish()
      }
      continuation.onTermination = { _ in reader.cancel() }
    }
  }

  static func write(_ bytes: [UInt8]) async -> Bool {
    await withCheckedContinuation { continuation in
      output.async { continuation.resume(returning: writeAll(bytes, to: 1)) }
    }
  }
}

enum Signals {
  static func ignoreBrokenPipes() { signal(SIGPIPE, SIG_IGN) }
}

/// SIGINT and SIGTERM, from its making on: make it before telling anybody that the command runs. The same signal again
/// ends the process at once. One per process.
final class Interrupt: @unchecked Sendable {
  /// Where the handlers write to. A signal source of Dispatch starts at an unknown later time; this does not.
  nonisolated(unsafe) private static var writeEnd: Int32 = -1

  private let source: (any DispatchSourceRead)?
  private let interrupts: AsyncStream<Void>

  init() {
    let (stream, continuation) = AsyncStream<Void>.makeStream()
    interrupts = stream
    var ends: [Int32] = [-1, -1]
    guard pipe(&ends) == 0 else {
      source = nil
      return
    }
    Interrupt.writeEnd = ends[1]
    let source = DispatchSource.makeReadSource(fileDescriptor: ends[0], queue: .global())
    source.setEventHandler { continuation.yield() }
    source.activate()
    self.source = source
    for number in [SIGINT, SIGTERM] {
      signal(number) { number in
        signal(number, SIG_DFL)
        var byte: UInt8 = 1
        _ = write(Interrupt.writeEnd, &byte, 1)
      }
    }
  }

  /// Returns at the first signal, or when the task is cancelled; signals have their usual effect from then on.
  func wait() async {
    for await _ in interrupts { break }
    source?.cancel()
    for number in [SIGINT, SIGTERM] { signal(number, SIG_DFL) }
  }
}
