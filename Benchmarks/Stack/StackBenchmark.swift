import CHyperCounters
import Dispatch
import HyperDHT
import Hyperswarm

#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// The whole stack through the public interface, on 127.0.0.1, both ends in this process: sockets, DHT, handshake,
/// encryption. Figures are of this process, so of both sides together.
///
///     swift run -c release hyperswarm-benchmark-stack bulk [MiB] [message bytes]
///     swift run -c release hyperswarm-benchmark-stack ping [round trips]
///     swift run -c release hyperswarm-benchmark-stack connect [connects]
@main
struct StackBenchmark {
  /// The main thread waits: valgrind does not survive one that ends before the others.
  static func main() {
    let isDone = DispatchSemaphore(value: 0)
    Task.detached {
      do { try await run() } catch { print("failed: \(error)") }
      isDone.signal()
    }
    isDone.wait()
  }

  private static func run() async throws {
    var arguments = CommandLine.arguments.dropFirst()
    let workload = arguments.popFirst() ?? "all"
    let first = arguments.popFirst().flatMap { Int($0) }
    let second = arguments.popFirst().flatMap { Int($0) }
    let words = Array(CommandLine.arguments.dropFirst(2))
    switch workload {
    case "testnet": try await Idle.testnet()
    case "idle-server" where words.count == 3:
      try await Idle.server(bootstrap: words[0], connections: Int(words[1]) ?? 0, seconds: Int(words[2]) ?? 1)
    case "idle-client" where words.count == 4:
      try await Idle.client(
        bootstrap: words[0], connections: Int(words[1]) ?? 0, seconds: Int(words[2]) ?? 1, key: words[3])
    case "bulk": try await bulk(mebibytes: first ?? 512, messageSize: second ?? 64 << 10)
    case "ping": try await ping(count: first ?? 10_000)
    case "connect": try await connect(count: first ?? 3000)
    default:
      try await bulk(mebibytes: 512, messageSize: 64 << 10)
      try await bulk(mebibytes: 128, messageSize: 1 << 10)
      try await ping(count: 10_000)
      try await connect(count: 3000)
    }
  }

  /// One direction, as fast as it goes.
  static func bulk(mebibytes: Int, messageSize: Int) async throws {
    try await withPair { a, b in
      for _ in 0..<3 {
        let total = mebibytes << 20
        let meter = Meter()
        let writer = Task.detached {
          let message = [UInt8](repeating: 7, count: messageSize)
          for _ in 0..<(total / messageSize) { try await a.write(message) }
        }
        var received = 0
        while received < total / messageSize * messageSize, let message = try await b.read() {
          received += message.count
        }
        try await writer.value
        let (seconds, cpu) = meter.read()
        print(
          "bulk, messages of \(messageSize) bytes: \(Int(Double(received) / seconds / 1e6)) MB/s,",
          "\(round3(cpu / Double(received) * 1e9)) CPU s/GB")
      }
    }
  }

  /// 64 bytes there and back, one at a time: from tasks of the pool, and from tasks on the loops. Each loop's thread
  /// has a processor of its own, as the processes of `udxbench ping` have.
  static func ping(count: Int) async throws {
    try await withPair { a, b in
      await place(a.loop, on: 0)
      await place(b.loop, on: 1)
      var meter = Meter()
      let pooled = try await roundTrips(count, a, b, here: nil, there: nil)
      report("ping from the global pool", pooled, unit: "us", meter)
      meter = Meter()
      let onLoops = try await roundTrips(count, a, b, here: a.loop, there: b.loop)
      report("ping from tasks on the loops", onLoops, unit: "us", meter)
    }
  }

  /// Microseconds each.
  private static func roundTrips(
    _ count: Int, _ a: HyperDHT.Connection, _ b: HyperDHT.Connection, here: (any TaskExecutor)?,
    there: (any TaskExecutor)?
  ) async throws -> [Double] {
    let echo = Task(executorPreference: there) {
      for _ in 0..<count {
        guard let message = try await b.read() else { return }
        try await b.write(message)
      }
    }
    let times = try await Task(executorPreference: here) {
      let message = [UInt8](repeating: 1, count: 64)
      var times: [Double] = []
      for _ in 0..<count {
        let start = ContinuousClock.now
        try await a.write(message)
        _ = try await a.read()
        times.append(seconds(start.duration(to: .now)) * 1e6)
      }
      return times
    }.value
    try await echo.value
    return times
  }

  /// Keeps a loop's thread on one processor, where the system has that.
  private static func place(_ loop: UVEventLoop, on processor: Int32) async {
    let isPlaced = await Task(executorPreference: loop) { hyper_place_thread(processor) }.value
    if !isPlaced { print("the loop's thread is where the system places it") }
  }

  /// Dial by public key through the DHT, say one byte, hang up; one after the other.
  static func connect(count: Int) async throws {
    let testnet = try await HyperDHT.Testnet(size: 5)
    let options = HyperDHT.Options(bootstrap: testnet.bootstrap, port: 0, host: .loopback)
    let a = try await HyperDHT(options)
    let b = try await HyperDHT(options)
    let server = try await a.listen()
    let acceptor = Task {
      for await connection in server.connections {
        Task {
          _ = try? await connection.read()
          connection.destroy()
        }
      }
    }
    var times: [Double] = []
    let meter = Meter()
    for _ in 0..<count {
      let start = ContinuousClock.now
      let connection = try await b.connect(to: server.publicKey)
      times.append(seconds(start.duration(to: .now)) * 1e3)
      try await connection.write([1])
      connection.destroy()
    }
    report("connect", times, unit: "ms", meter)
    acceptor.cancel()
    await a.destroy()
    await b.destroy()
    await testnet.destroy()
  }

  private static func withPair(
    _ body: (HyperDHT.Connection, HyperDHT.Connection) async throws -> Void
  ) async throws {
    let testnet = try await HyperDHT.Testnet(size: 5)
    var options = Hyperswarm.Options(bootstrap: testnet.bootstrap)
    options.dhtOptions.host = .loopback
    let a = try await Hyperswarm(options)
    let b = try await Hyperswarm(options)
    let topic = Hyperswarm.topic("benchmark")
    try await b.join(topic, client: false).flushed()
    try await a.join(topic, server: false)
    var fromA = a.connections.makeAsyncIterator()
    var fromB = b.connections.makeAsyncIterator()
    if let connectionA = await fromA.next(), let connectionB = await fromB.next() {
      try await body(connectionA, connectionB)
    }
    await a.destroy()
    await b.destroy()
    await testnet.destroy()
  }

  private static func report(_ name: String, _ times: [Double], unit: String, _ meter: Meter) {
    let (elapsed, cpu) = meter.read()
    let sorted = times.sorted()
    let count = sorted.count
    print(
      "\(name): p50 \(round3(sorted[count / 2])) \(unit), p99 \(round3(sorted[count * 99 / 100])) \(unit),",
      "\(Int(Double(count) / elapsed))/s, \(round3(cpu / Double(count) * 1e3)) CPU ms each")
  }
}

private struct Meter {
  private let start = ContinuousClock.now
  private let cpuStart = clock()

  /// Seconds on the clock, and of all threads of this process.
  func read() -> (Double, Double) {
    (seconds(start.duration(to: .now)), Double(clock() - cpuStart) / 1_000_000)
  }
}

private func seconds(_ duration: Duration) -> Double {
  Double(duration.components.seconds) + Double(duration.components.attoseconds) * 1e-18
}

private func round3(_ value: Double) -> Double { (value * 1000).rounded() / 1000 }
