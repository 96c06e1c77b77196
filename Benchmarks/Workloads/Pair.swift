import HyperDHT
import HyperEncoding

/// Two nodes and one connection, both ends in this process: what the programs in `Benchmarks/Peers` do for other
/// stacks, with the same arguments.
///
///     hyperswarm-benchmark-workloads pair bulk HOST:PORT MESSAGES BYTES
///     hyperswarm-benchmark-workloads pair echo HOST:PORT COUNT
///     hyperswarm-benchmark-workloads pair echo-one-loop HOST:PORT COUNT         both nodes on one loop
///     hyperswarm-benchmark-workloads pair connect HOST:PORT COUNT
enum Pair {
  static func run(_ words: ArraySlice<String>) async throws {
    let words = Array(words)
    guard words.count >= 3, let count = Int(words[2]) else { fatalError("pair WORK HOST:PORT COUNT [BYTES]") }
    var options = HyperDHT.Options(bootstrap: [words[1]], port: 0, host: .loopback)
    let shared = words[0] == "echo-one-loop" ? try UVEventLoop.startThread() : nil
    options.loop = shared
    let a = try await HyperDHT(options)
    let b = try await HyperDHT(options)
    let server = try await a.listen()
    switch words[0] {
    case "bulk": try await bulk(server, b, messages: count, bytes: words.count > 3 ? Int(words[3]) ?? 65_536 : 65_536)
    case "echo", "echo-one-loop": try await echo(server, b, count: count)
    default: try await connect(server, b, count: count)
    }
    await b.destroy(force: true)
    await a.destroy(force: true)
    await shared?.shutdown()
  }

  private static func bulk(_ server: HyperDHT.Server, _ b: HyperDHT, messages: Int, bytes: Int) async throws {
    let own = try await b.connect(to: server.publicKey)
    guard let theirs = try await server.accept() else { return }
    let message = [UInt8](repeating: 7, count: bytes)
    // The first tenth is warm-up.
    for part in [messages / 10, messages] {
      let meter = Meter()
      let writer = Task.detached { for _ in 0..<part { try await own.write(message) } }
      var received = 0
      while received < part * bytes, let next = try await theirs.read() { received += next.count }
      try await writer.value
      guard part == messages else { continue }
      let work = "encrypted bulk, messages of \(bytes) bytes"
      Report.figure(work, "throughput", Double(received) / meter.seconds / 1e6, "MB/s", higher: true)
      Report.figure(work, "CPU", meter.cpuSeconds / Double(received) * 1e9, "s/GB")
    }
  }

  private static func echo(_ server: HyperDHT.Server, _ b: HyperDHT, count: Int) async throws {
    let own = try await b.connect(to: server.publicKey)
    guard let theirs = try await server.accept() else { return }
    let answers = Task(executorPreference: theirs.loop) {
      while let message = try await theirs.read() { try await theirs.write(message) }
    }
    let times = try await Task(executorPreference: own.loop) {
      let message = [UInt8](repeating: 1, count: 64)
      var times: [Double] = []
      for number in 0..<(count + count / 10) {
        let start = ContinuousClock.now
        try await own.write(message)
        _ = try await own.read()
        if number >= count / 10 { times.append(inSeconds(start.duration(to: .now)) * 1e6) }
      }
      return times
    }.value
    answers.cancel()
    Report.times("encrypted echo, 64 bytes", times)
  }

  private static func connect(_ server: HyperDHT.Server, _ b: HyperDHT, count: Int) async throws {
    let acceptor = Task {
      while let connection = try await server.accept() {
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
      times.append(inSeconds(start.duration(to: .now)) * 1e6)
      try await connection.write([1])
      connection.destroy()
    }
    Report.figure("connect by key", "rate", Double(count) / meter.seconds, "/s", higher: true)
    Report.figure("connect by key", "CPU", meter.cpuSeconds / Double(count) * 1e3, "ms each")
    Report.times("connect by key", times)
    acceptor.cancel()
  }
}
