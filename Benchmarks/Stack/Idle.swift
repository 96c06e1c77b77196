import CHyperCounters
import HyperDHT
import HyperEncoding

#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// Connections on which nothing happens, each side in a process of its own, so that its memory is told apart:
/// `Benchmarks/run` starts the three of them.
///
///     hyperswarm-benchmark-stack testnet
///     hyperswarm-benchmark-stack idle-server HOST:PORT CONNECTIONS SECONDS
///     hyperswarm-benchmark-stack idle-client HOST:PORT CONNECTIONS SECONDS KEY
///
/// The second and the third wait on their input for a line before they measure; all end with their input.
enum Idle {
  /// Dials at a time.
  private static let parallel = 16
  /// Heap sizes that are read, of which the middle one counts.
  private static let looksPerSecond = 20

  static func testnet() async throws {
    let testnet = try await HyperDHT.Testnet(size: 5)
    say(testnet.bootstrap[0])
    await inputLine()
    await testnet.destroy()
  }

  static func server(bootstrap: String, connections count: Int, seconds: Int) async throws {
    let node = try await HyperDHT(HyperDHT.Options(bootstrap: [bootstrap], port: 0, host: .loopback))
    let server = try await node.listen()
    let before = Sample()
    say(server.publicKey.description)
    var held: [HyperDHT.Connection] = []
    held.reserveCapacity(count)
    while held.count < count, let connection = try await server.accept() { held.append(connection) }
    try await measure("server", held, before, seconds)
    await node.destroy()
  }

  static func client(bootstrap: String, connections count: Int, seconds: Int, key: String) async throws {
    guard let key = Bytes32(hex: key) else { fatalError("no key: \(key)") }
    let node = try await HyperDHT(HyperDHT.Options(bootstrap: [bootstrap], port: 0, host: .loopback))
    let before = Sample()
    var held: [HyperDHT.Connection] = []
    held.reserveCapacity(count)
    while held.count < count {
      let part = min(parallel, count - held.count)
      try await withThrowingTaskGroup(of: HyperDHT.Connection.self) { group in
        for _ in 0..<part { group.addTask { try await node.connect(to: key) } }
        for try await connection in group { held.append(connection) }
      }
    }
    try await measure("client", held, before, seconds)
    await node.destroy()
  }

  private static func measure(
    _ side: String, _ held: [HyperDHT.Connection], _ before: Sample, _ seconds: Int
  ) async throws {
    say("open")
    await inputLine()
    let start = Sample()
    try await Task.sleep(for: .seconds(seconds))
    let end = Sample()
    // Keepalives leave in groups, with a buffer for each until it is acknowledged: one moment says little. A look walks
    // through the whole heap, so that it does not count as work above.
    var heap: [Int64] = []
    for _ in 0..<(seconds * looksPerSecond) {
      try await Task.sleep(for: .milliseconds(1000 / looksPerSecond))
      heap.append(hyper_heap_bytes())
    }
    let middle = heap.sorted()[heap.count / 2]
    let count = Double(held.count)
    let alive = held.filter { !$0.isClosed }.count
    let row: [(String, Double)] = [
      ("connections", count), ("alive", Double(alive)),
      ("heap bytes each", Double(middle - before.heap) / count),
      ("resident bytes each", Double(end.resident - before.resident) / count),
      ("timer wake-ups/s", Double(end.timers - start.timers) / Double(seconds)),
      ("arrival wake-ups/s", Double(end.arrivals - start.arrivals) / Double(seconds)),
      ("heap requests/s", Double(end.requests - start.requests) / Double(seconds)),
      ("CPU ms/s", (end.cpu - start.cpu) * 1e3 / Double(seconds)),
    ]
    let fields = row.map { "\"\($0.0)\": \(($0.1 * 10).rounded() / 10)" }.joined(separator: ", ")
    say("{\"side\": \"\(side)\", \(fields)}")
    await inputLine()
  }

  private struct Sample {
    let heap = hyper_heap_bytes()
    let resident = hyper_resident_bytes()
    let timers = hyper_timer_wakeups()
    let arrivals = hyper_arrival_wakeups()
    let requests = hyper_heap_requests()
    let cpu = Double(clock()) / Double(CLOCKS_PER_SEC)
  }

  private static func say(_ line: String) {
    print(line)
    fflush(nil)
  }

  /// The input is read on a thread that may wait.
  private static func inputLine() async {
    await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
      Task.detached {
        _ = readLine()
        continuation.resume()
      }
    }
  }
}
