import ArgumentParser
import Hyperswarm

@main
struct Tool: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "hyperswarm",
    abstract: "Find peers by key or topic and talk to them, encrypted, without a server.",
    discussion: """
      Keys are 64 hexadecimal digits (or 52 z-base-32 characters), topics are any text (hashed) or 64 hexadecimal
      digits. Without --bootstrap the public network is used.
      """,
    version: Hyperswarm.version,
    subcommands: [
      Demo.self, TestnetCommand.self, NodeCommand.self, Keygen.self, Listen.self, Connect.self, Send.self, Receive.self,
      Expose.self, Forward.self, Join.self, Lookup.self, Announce.self, Ping.self, Relay.self,
    ])

  static func main() async {
    StandardStreams.prepare()
    await main(nil)
  }
}

/// A subcommand that reports what goes wrong in one line on standard error and exit code 1.
protocol Command: AsyncParsableCommand {
  func execute() async throws
}

extension Command {
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
