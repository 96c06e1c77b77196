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
    case "start" where words.count == 2: try await start(Array(words)[1])
    default: fatalError("what it can do stands at the head of Benchmarks/Workloads/Workloads.swift")
    }
  }

  static func testnet() async throws {
    let testnet = try await HyperDHT.Testnet(size: 5)
    Report.say(testnet.bootstrap[0])
    // The input is read on a thread that may wait.
    await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
      Task.detached {
        _ = readLine()
        continuation.resume()
      }
    }
    await testnet.destroy()
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
