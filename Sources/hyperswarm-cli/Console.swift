import Foundation
import HyperFileTransfer
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

  /// Standard output carries data of the peer: errors go to standard error only. Set before anything is printed.
  static var outputIsData: Bool {
    get { data.load(ordering: .relaxed) }
    set { data.store(newValue, ordering: .relaxed) }
  }
  private static let data = Atomic(false)

  /// How much is said beside what was asked for: the number of `-v`.
  static var verbosity: Int {
    get { level.load(ordering: .relaxed) }
    set { level.store(newValue, ordering: .relaxed) }
  }
  private static let level = Atomic(0)

  private static let warnings = Mutex<Set<String>>([])

  /// The first error of standard output.
  private static let outputError = Atomic<Int32>(0)

  /// One event: the text, or with `--json` one object with the event's name and fields.
  static func event(_ name: String, _ text: String, _ fields: [(String, JSON)] = []) {
    let error = put(line(name, text, fields), to: 1)
    guard error != 0 else { return }
    outputError.store(error, ordering: .relaxed)
    losing.yield()
  }

  private static let (losses, losing) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))

  /// Returns when something that was printed has been lost, or the task is cancelled. For one task at a time.
  static func waitForLoss() async {
    for await _ in losses { return }
  }

  /// Throws when something that was printed has been lost.
  static func check() throws {
    let error = outputError.load(ordering: .relaxed)
    if error != 0 { throw OutputFailure(error) }
  }

  /// As `event`, for what was not asked for: text goes to standard error, and so do objects where standard output
  /// carries data.
  static func note(_ name: String, _ text: String, _ fields: [(String, JSON)] = []) {
    if isJSON, !outputIsData { return event(name, text, fields) }
    write(line(name, text, fields), to: 2)
  }

  /// A note for those that have asked for more with so many `-v`.
  static func detail(_ level: Int, _ name: String, _ text: String, _ fields: [(String, JSON)] = []) {
    if verbosity >= level { note(name, text, fields) }
  }

  /// What the user should know although the command goes on; the same text only once.
  static func warn(_ text: String) {
    guard warnings.withLock({ $0.insert(text).inserted }) else { return }
    note("warning", painted("warning:", .yellow) + " " + text, [("message", .string(text))])
  }

  /// One line on standard error; with `--json` an object: on standard output, too, where that is not data.
  static func fail(_ error: any Error) {
    let code: String
    switch error {
    case let error as Failure: code = error.code
    case let error as OutputFailure: code = error.code
    case let error as TransferError: code = error.code
    case let error as FileFailure: code = error.code
    case let error as DHTError: code = error.code
    case let error as HyperswarmError: code = error.code
    case let error as ConnectionError: code = error.code
    default: code = "ERROR"
    }
    var text = "\(error)".split(whereSeparator: \.isNewline).joined(separator: " ")
    // The library's errors begin with their code, of which objects have a field.
    let message = text.hasPrefix(code + ": ") ? String(text.dropFirst(code.count + 2)) : text
    // This one says nothing.
    if code == "ERROR" { text = message }
    let fields: [(String, JSON)] = [("code", .string(code)), ("message", .string(message))]
    if isJSON, outputIsData { return note("error", "", fields) }
    write("\(painted("hyperswarm:", .red)) \(text)\n", to: 2)
    if isJSON { event("error", "", fields) }
  }

  private static func line(_ name: String, _ text: String, _ fields: [(String, JSON)]) -> String {
    isJSON ? JSON.object([("event", .string(name))] + fields).description + "\n" : text + "\n"
  }

  /// Wrong usage: with `--json` an object, too, where `fail` has it.
  static func usage(_ message: String, _ help: String) {
    let fields: [(String, JSON)] = [
      ("code", "USAGE"), ("message", .string(message)), ("usage", .string(help)),
    ]
    if isJSON, outputIsData { return note("error", "", fields) }
    write(help + "\n", to: 2)
    if isJSON { event("error", "", fields) }
  }

  static let isTerminal = isatty(2) == 1

  enum Colour: Int {
    case red = 31
    case green = 32
    case yellow = 33
  }

  /// In colour where the descriptor is a terminal that has colours, and NO_COLOR does not forbid them.
  static func painted(_ text: String, _ colour: Colour, for descriptor: Int32 = 2) -> String {
    isColourful(descriptor) ? "\u{1b}[\(colour.rawValue)m\(text)\u{1b}[0m" : text
  }

  static func isColourful(_ descriptor: Int32) -> Bool { hasColours && isatty(descriptor) == 1 }

  private static let hasColours =
    environment("NO_COLOR") == nil && environment("TERM").map { $0 != "dumb" } ?? false

  /// Replaces the current line of a terminal; elsewhere a line of its own.
  static func progress(_ text: String) { write(isTerminal ? "\r\u{1b}[K\(text)" : text + "\n", to: 2) }

  static func endProgress() { if isTerminal { write("\r\u{1b}[K", to: 2) } }

  static func write(_ text: String, to descriptor: Int32) { _ = put(text, to: descriptor) }

  /// The number of the error, 0 for none.
  private static func put(_ text: String, to descriptor: Int32) -> Int32 {
    let bytes = Array(text.utf8)
    guard isatty(descriptor) == 1 else { return writeAll(bytes, to: descriptor) }
    return LineEditor.aside { writeAll(bytes, to: descriptor) }
  }
}
