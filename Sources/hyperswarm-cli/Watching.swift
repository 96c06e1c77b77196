import ArgumentParser
import HyperDHT

/// For commands that can go on looking until Ctrl-C.
struct WatchOptions: ParsableArguments {
  @Flag(help: "Go on until Ctrl-C.")
  var watch = false
  @Option(help: ArgumentHelp("Time between two rounds of --watch.", valueName: "seconds"))
  var interval: Double?

  func validate() throws {
    guard let interval else { return }
    guard watch else { throw ValidationError("--interval is for --watch") }
    guard interval >= 1, interval <= 86_400 else { throw ValidationError("--interval is 1 to 86400 seconds") }
  }

  /// Runs `body` once or, with --watch, again and again. What one round fails with is said and the next one tried; a
  /// reader of standard output that is gone ends it.
  func repeating(every usual: Duration, _ body: () async throws -> Void) async throws {
    guard watch else { return try await body() }
    while !Task.isCancelled {
      do {
        try await body()
      } catch let error as DHTError where !Task.isCancelled {
        Console.note("failed", "\(error)", [("code", .string(error.code)), ("message", .string("\(error)"))])
      }
      try Console.check()
      try await Task.sleep(for: interval.map { .seconds($0) } ?? usual)
    }
  }

  /// As `using`; with --watch a signal is the regular end.
  func run(_ dht: HyperDHT, _ body: @escaping @Sendable () async throws -> Void) async throws {
    do {
      try await using(dht, until: Interrupt(), body)
    } catch let code as ExitCode {
      if !watch { throw code }
    }
  }
}
