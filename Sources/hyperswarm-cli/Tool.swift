import ArgumentParser
import Foundation
import HyperFileTransfer
import Hyperswarm

#if !CommandLineTool
  #error("the command-line tool needs the trait CommandLineTool, which is on by default: name it among --traits")
#endif

@main
struct Tool: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "hyperswarm",
    abstract: "Find peers by key or topic and talk to them, encrypted, without a server.",
    discussion: """
      Keys are 64 hexadecimal digits (or 52 z-base-32 characters), topics are any text (hashed) or 64 hexadecimal \
      digits. Without --bootstrap the public network is used.
      """,
    version: Hyperswarm.version,
    subcommands: [
      Demo.self, TestnetCommand.self, NodeCommand.self, Keygen.self, Listen.self, Connect.self, Beam.self, Send.self,
      Receive.self, Expose.self, Forward.self, Join.self, Lookup.self, Announce.self, Put.self, Get.self, Ping.self,
      Bench.self,
      Doctor.self, StatusCommand.self, Relay.self,
    ])

  static func main() async {
    StandardStreams.prepare()
    Departure.prepare()
    let arguments = CommandLine.arguments.dropFirst().prefix { $0 != "--" }
    Console.isJSON = arguments.contains("--json")
    let subcommand = configuration.subcommands.first { $0._commandName == arguments.first } as? any Command.Type
    Console.outputIsData = subcommand?.outputIsData ?? false
    do {
      try checkName(Array(arguments))
      var command = try parse(Array(CommandLine.arguments.dropFirst()))
      if var command = command as? any AsyncParsableCommand {
        try await command.run()
      } else {
        try command.run()
      }
    } catch {
      end(error)
    }
  }

  /// Names a command that there is not, also behind `help`, and the one that may be meant.
  private static func checkName(_ words: [String]) throws {
    let names = configuration.subcommands.map { $0._commandName }
    guard let word = words.first == "help" ? words.dropFirst().first : words.first, !word.hasPrefix("-"),
      word != "help", !names.contains(word)
    else { return }
    let letters = Array(word.utf8.prefix(32))
    func distance(_ name: String) -> Int { TransferCode.distance(letters, Array(name.utf8)) }
    let closest = names.min { distance($0) < distance($1) }.flatMap { distance($0) < 3 ? $0 : nil }
    throw ValidationError("there is no command '\(word)'" + (closest.map { "; did you mean '\($0)'?" } ?? ""))
  }

  /// The arguments, with what the configuration file adds to them.
  private static func parse(_ words: [String]) throws -> any ParsableCommand {
    let options = Array(words.prefix { $0 != "--" })
    let isCommand = configuration.subcommands.contains { $0._commandName == options.first }
    guard isCommand, !options.contains("--help"), !options.contains("-h"),
      let file = try Configuration.load(options)
    else { return try parseAsRoot(words) }
    Configuration.current = file
    let additions = file.additions(to: options)
    func parse(with added: [String]) throws -> any ParsableCommand {
      try parseAsRoot(words.prefix(1) + added + words.dropFirst())
    }
    do {
      return try parse(with: additions.flatMap(\.words))
    } catch {
      // What is wrong without the file is not the file's.
      _ = try parse(with: [])
      for addition in additions {
        do { _ = try parse(with: addition.words) } catch {
          throw Configuration.Flaw(file.path, addition.item.line, message(for: error))
        }
      }
      throw error
    }
  }

  private static func end(_ error: any Error) -> Never {
    if let flaw = error as? Configuration.Flaw {
      Console.usage("\(flaw)", "Error: \(flaw)")
      Foundation.exit(ExitCode.validationFailure.rawValue)
    }
    let code = exitCode(for: error)
    let text = fullMessage(for: error)
    switch code {
    case _ where text.isEmpty: break
    case .success:
      let lost = writeAll(Array((text + "\n").utf8), to: 1)
      if lost == 0 { break }
      if lost == EPIPE { StandardStreams.endByBrokenPipe() }
      Console.fail(OutputFailure(lost))
      Foundation.exit(ExitCode.failure.rawValue)
    case .validationFailure: Console.usage(message(for: error), text)
    default: Console.fail(Failure(message(for: error), code: "FAILED"))
    }
    Foundation.exit(code.rawValue)
  }
}

/// A subcommand that reports what goes wrong in one line on standard error and exit code 1.
protocol Command: AsyncParsableCommand {
  /// Standard output carries bytes of the user or the peer: notes and errors go to standard error only.
  static var outputIsData: Bool { get }
  func execute() async throws
}

extension Command {
  static var outputIsData: Bool { false }

  mutating func run() async throws {
    do {
      try await execute()
      try Console.check()
    } catch let code as ExitCode {
      throw code
    } catch {
      if let error = error as? OutputFailure, error.isBrokenPipe { StandardStreams.endByBrokenPipe() }
      Console.fail(error)
      throw ExitCode.failure
    }
  }
}

/// A failure with a sentence for people.
struct Failure: Error, CustomStringConvertible {
  var code = "ERROR"
  var description: String

  init(_ description: String, code: String = "ERROR") {
    self.description = description
    self.code = code
  }
}
