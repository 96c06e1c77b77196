import ArgumentParser
import HyperDHT
import HyperEncoding
import Hyperswarm

struct Doctor: Command {
  static let configuration = CommandConfiguration(
    abstract: "Look at this machine's way into the network, and say what would help.",
    discussion: """
      Looks at the interfaces, the kernel's limits, the names and answers of the bootstrap nodes and of a sample of \
      the DHT, and at the NAT between. Works when nothing works, and says what. Exit code 1 when no node answers.
      """)

  @OptionGroup var common: CommonOptions
  @Option(help: ArgumentHelp("Key of a relay to connect to, too; may be given several times.", valueName: "key"))
  var relay: [KeyArgument] = []

  func execute() async throws {
    let examination = Examination(common, relays: relay.map(\.key))
    for try await check in examination.checks { check.show() }
    let diagnosis = examination.diagnosis
    for advice in diagnosis.advice { Console.note("advice", "  \(advice)", [("message", .string(advice))]) }
    if !diagnosis.isOnline { throw Failure("no node of the network answers", code: "NO_BOOTSTRAP") }
  }
}

/// One line of the screen.
struct Check: Sendable {
  enum Verdict: String {
    case ok
    case warning
    case failed
    case info
  }

  var name: String
  var verdict: Verdict
  var text: String
  var fields: [(String, JSON)] = []

  func show() {
    let colour: Console.Colour? =
      switch verdict {
      case .ok: .green
      case .warning: .yellow
      case .failed: .red
      case .info: nil
      }
    let word = Check.padded(verdict == .info ? "" : verdict.rawValue, to: 9)
    Console.event(
      "check",
      Check.padded(name, to: 16) + (colour.map { Console.painted(word, $0, for: 1) } ?? word) + text,
      [("name", .string(name)), ("verdict", .string(verdict.rawValue)), ("text", .string(text))] + fields)
  }

  private static func padded(_ text: String, to width: Int) -> String {
    text + String(repeating: " ", count: max(1, width - text.count))
  }
}
