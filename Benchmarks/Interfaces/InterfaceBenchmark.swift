import CHyperAllocations
import Dispatch
import HyperDHT
import HyperEncoding
import HyperRuntime

#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// What a message costs through the C interface and through Swift's, one after the other in one process: both peers on
/// one event loop and its thread, over 127.0.0.1. `Benchmarks/Interfaces/run` adds instructions, by callgrind.
///
///     hyperswarm-benchmark-interfaces [all | c | swift | swift-await] [messages] [bytes]
@main
struct InterfaceBenchmark {
  /// Messages under way at a time.
  static let batch = 64

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
    let messages = arguments.popFirst().flatMap { Int($0) } ?? 100_000
    let bytes = arguments.popFirst().flatMap { Int($0) } ?? 1000
    let echoes = workload == "all" ? 20_000 : 0
    if ["all", "c"].contains(workload) { CSide.run(messages, bytes, echoes: echoes) }
    if ["all", "swift"].contains(workload) { try await runSwift(messages, bytes, awaits: false, echoes: echoes) }
    if ["all", "swift-await"].contains(workload) { try await runSwift(messages, bytes, awaits: true, echoes: 0) }
  }

  private static func runSwift(_ messages: Int, _ bytes: Int, awaits: Bool, echoes: Int) async throws {
    let loop = try UVEventLoop.startThread()
    let testnet = try await HyperDHT.Testnet(size: 2)
    var options = HyperDHT.Options(bootstrap: testnet.bootstrap, port: 0, host: .loopback)
    options.loop = loop
    let (a, b) = (try await HyperDHT(options), try await HyperDHT(options))
    let server = try await a.listen()
    let own = try await b.connect(to: server.publicKey)
    for await theirs in server.connections {
      try await Task(executorPreference: loop) {
        try await bulk(own, theirs, messages, bytes, awaits)
        if echoes > 0 { try await echo(own, theirs, echoes) }
      }.value
      break
    }
    await a.destroy()
    await b.destroy()
    await testnet.destroy()
    await loop.shutdown()
  }

  private static func bulk(
    _ own: HyperDHT.Connection, _ theirs: HyperDHT.Connection, _ messages: Int, _ bytes: Int, _ awaits: Bool
  ) async throws {
    let message = [UInt8](repeating: 7, count: bytes)
    var report = Report(awaits ? "Swift, await write" : "Swift, writeWithoutWaiting", messages)
    var sent = 0
    while sent < messages {
      if sent >= batch * 10 { report.begin(sent) }
      for _ in 0..<batch {
        if awaits { try await own.write(message) } else { _ = try own.writeWithoutWaiting(message) }
      }
      for _ in 0..<batch { _ = try await theirs.read() }
      sent += batch
    }
    report.end(sent)
  }

  private static func echo(
    _ own: HyperDHT.Connection, _ theirs: HyperDHT.Connection, _ count: Int
  ) async throws {
    let message = [UInt8](repeating: 1, count: 64)
    var report = Report("Swift, there and back, 64 bytes", count)
    report.begin(0)
    for _ in 0..<count {
      try await own.write(message)
      if let back = try await theirs.read() { try await theirs.write(back) }
      _ = try await own.read()
    }
    report.end(count)
  }
}

/// Allocations, time and processor time of the calling thread, per message. Nothing is counted before `begin`: what the
/// first messages make once.
struct Report {
  private let name: String
  private var start: (sent: Int, allocations: Int64, time: Double, processor: Double)?

  init(_ name: String, _ messages: Int) { self.name = "\(name), \(messages) messages" }

  mutating func begin(_ sent: Int) {
    guard start == nil else { return }
    start = (sent, hyper_allocations(), clock(CLOCK_MONOTONIC), clock(CLOCK_THREAD_CPUTIME_ID))
  }

  func end(_ sent: Int) {
    guard let start, sent > start.sent else { return print("\(name): too few to count") }
    let count = Double(sent - start.sent)
    let allocations = Double(hyper_allocations() - start.allocations) / count
    let time = (clock(CLOCK_MONOTONIC) - start.time) / count
    let processor = (clock(CLOCK_THREAD_CPUTIME_ID) - start.processor) / count
    print(
      "\(name): \(rounded(allocations)) allocations, \(rounded(time * 1e6)) us, \(rounded(processor * 1e6)) us of the",
      "thread's processor time each")
  }

  private func rounded(_ value: Double) -> Double { (value * 100).rounded() / 100 }

  private func clock(_ id: clockid_t) -> Double {
    var time = timespec()
    clock_gettime(id, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
  }
}
