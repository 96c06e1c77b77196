import HyperDHT
import HyperEncoding

/// The workloads of `Benchmarks/run` that its other programs have not: histograms, crowds, several loops, the start.
///
///     hyperswarm-benchmark-workloads testnet                        until its input ends
///     hyperswarm-benchmark-workloads pair ...
///     hyperswarm-benchmark-workloads lookups NODES COUNT
///     hyperswarm-benchmark-workloads flood DIALS
///     hyperswarm-benchmark-workloads streams CONNECTIONS MEBIBYTES
///     hyperswarm-benchmark-workloads cores LOOPS MEBIBYTES
///     hyperswarm-benchmark-workloads swarms HOST:PORT COUNT
///     hyperswarm-benchmark-workloads simulation NODES
///     hyperswarm-benchmark-workloads start HOST:PORT
@main
struct Workloads {
  static func main() async throws {
    let words = CommandLine.arguments.dropFirst()
    let numbers = words.dropFirst().map { Int($0) ?? 0 }
    switch words.first {
    case "testnet": try await testnet()
    case "pair": try await Pair.run(words.dropFirst())
    case "lookups" where numbers.count == 2: try await Crowds.lookups(nodes: numbers[0], count: numbers[1])
    case "flood" where numbers.count == 1: try await Crowds.flood(dials: numbers[0])
    case "streams" where numbers.count == 2: try await Crowds.streams(numbers[0], mebibytes: numbers[1])
    case "cores" where numbers.count == 2: try await Cores.run(loops: numbers[0], mebibytes: numbers[1])
    case "swarms" where numbers.count == 2: try await Swarms.members(numbers[1], bootstrap: Array(words)[1])
    case "simulation" where numbers.count == 1: try Swarms.simulation(nodes: numbers[0])
    case "start" where words.count == 2: try await start(Array(words)[1])
    default: fatalError("what it can do stands at the head of Benchmarks/Workloads/Workloads.swift")
    }
  }

  static func testnet() async throws {
    let testnet = try await HyperDHT.Testnet(size: 5)
    Report.say(testnet.bootstrap[0])
    _ = await hasInputLine()
    await testnet.destroy()
  }

  /// False at the end of the input, which is read on a thread that may wait.
  static func hasInputLine() async -> Bool {
    await withCheckedContinuation { continuation in
      Task.detached { continuation.resume(returning: readLine() != nil) }
    }
  }

  /// Says when the node can be used; the harness knows when the process began.
  static func start(_ bootstrap: String) async throws {
    let meter = Meter()
    let node = try await HyperDHT(HyperDHT.Options(bootstrap: [bootstrap], port: 0, host: .loopback))
    try await node.bootstrapped()
    Report.say("ready")
    Report.figure("start", "CPU", meter.cpuSeconds * 1e3, "ms")
    await node.destroy(force: true)
  }
}
