import ArgumentParser
import Foundation

struct StatusCommand: Command {
  static let configuration = CommandConfiguration(
    commandName: "status", abstract: "Look at a running node, relay or testnet.",
    discussion: """
      Reads the counters that --metrics serves, every two seconds until Ctrl-C. On a terminal the screen is drawn \
      anew, elsewhere one block follows the other. Counters of any program in the format of Prometheus are read; \
      those without a line of their own are shown with --all.
      """)

  @Option(name: .shortAndLong, help: ArgumentHelp("Time between two looks.", valueName: "seconds"))
  var interval = 2.0
  @Option(name: .shortAndLong, help: "End after so many looks.")
  var count: Int?
  @Flag(help: "Look once.")
  var once = false
  @Flag(help: "Every counter that the node tells.")
  var all = false
  @Flag(help: "Print one JSON object per line.")
  var json = false
  @Argument(
    help: ArgumentHelp("Where --metrics serves: host:port, a port of 127.0.0.1, or a path.", valueName: "host:port"))
  var target: String

  func validate() throws {
    Console.isJSON = json
    guard interval >= 0.1, interval <= 3600 else { throw ValidationError("--interval is 0.1 to 3600 seconds") }
    if let count, count < 1 { throw ValidationError("--count is 1 or more") }
    if once, count != nil { throw ValidationError("--once and --count exclude each other") }
    if place == nil { throw ValidationError("'\(target)' is neither host:port nor a path") }
  }

  /// Also of a URL as the node prints it.
  private var place: LocalAddress? {
    var text = target[...]
    if text.hasPrefix("http://") {
      text = text.dropFirst(7).prefix { $0 != "/" }
      guard !text.contains("/") else { return nil }
    }
    return LocalAddress(String(text))
  }

  func execute() async throws {
    guard let place else { return }
    let rounds = once ? 1 : count
    let interrupt = Interrupt()
    let work = Task { try await look(at: place, rounds: rounds) }
    let watching = Task {
      let signal = await interrupt.wait()
      work.cancel()
      return signal
    }
    let result = await work.result
    guard work.isCancelled, let signal = await watching.value else {
      watching.cancel()
      return try result.get()
    }
    // Without an end of its own a signal is the regular one.
    if rounds != nil { throw ExitCode(128 + signal) }
  }

  private func look(at place: LocalAddress, rounds: Int?) async throws {
    var screen = StatusScreen(target: place.description, showsAll: all, isDrawn: rounds != 1 && !json && isTerminal)
    var round = 0
    while true {
      do {
        let scrape = try await Scrape.get(place)
        try Task.checkCancellation()
        screen.show(scrape)
      } catch let error as Failure where round > 0 {
        // The node may come back.
        screen.show(error)
      }
      try Console.check()
      round += 1
      if round == rounds { return }
      try await Task.sleep(for: .seconds(interval))
    }
  }

  private var isTerminal: Bool { isatty(1) == 1 && environment("TERM").map { $0 != "dumb" } ?? false }
}
