import HyperDHT
import HyperEncoding

/// Many of something at once, on 127.0.0.1, everything in this process.
enum Crowds {
  /// Look-ups and look-ups of one key in a network of many nodes.
  static func lookups(nodes: Int, count: Int) async throws {
    let testnet = try await HyperDHT.Testnet(size: nodes)
    let options = HyperDHT.Options(bootstrap: Array(testnet.bootstrap.prefix(3)), port: 0, host: .loopback)
    let a = try await HyperDHT(options)
    let b = try await HyperDHT(options)
    try await a.bootstrapped()
    try await b.bootstrapped()
    let keyPair = HyperDHT.keyPair()
    var topics: [Bytes32] = []
    for number in 0..<16 {
      let topic = HyperDHT.hash(Array("topic \(number)".utf8))
      topics.append(topic)
      _ = try await a.announce(topic, keyPair: keyPair)
    }
    var whole: [Double] = []
    var first: [Double] = []
    for number in 0..<count {
      let start = ContinuousClock.now
      var isFound = false
      for try await reply in b.lookup(topics[number % topics.count]) where !isFound && !reply.peers.isEmpty {
        isFound = true
        first.append(inSeconds(start.duration(to: .now)) * 1e6)
      }
      whole.append(inSeconds(start.duration(to: .now)) * 1e6)
    }
    Report.times("look-up among \(nodes) nodes, first peer", first)
    Report.times("look-up among \(nodes) nodes, to its end", whole)
    await a.destroy(force: true)
    await b.destroy(force: true)
    await testnet.destroy()
  }

  /// Dials of one server, all at once: how many get through in a second, and how long they wait.
  static func flood(dials: Int) async throws {
    try await withNodes { a, b in
      let server = try await a.listen()
      let acceptor = Task { while let connection = try await server.accept() { connection.destroy() } }
      let meter = Meter()
      let key = server.publicKey
      let (times, failures) = await withTaskGroup(of: Result<Double, DHTError>.self) { group in
        for _ in 0..<dials {
          group.addTask {
            let start = ContinuousClock.now
            do throws(DHTError) {
              let connection = try await b.connect(to: key)
              defer { connection.destroy() }
              return .success(inSeconds(start.duration(to: .now)) * 1e6)
            } catch {
              return .failure(error)
            }
          }
        }
        var times: [Double] = []
        var failures: [String: Int] = [:]
        for await result in group {
          switch result {
          case .success(let time): times.append(time)
          case .failure(let error): failures[error.code, default: 0] += 1
          }
        }
        return (times, failures)
      }
      let work = "\(dials) dials at once"
      Report.figure(work, "opened", Double(times.count) / Double(dials) * 100, "%", higher: true)
      for (code, count) in failures { Report.figure(work, "failed, \(code)", Double(count), "") }
      Report.figure(work, "rate", Double(times.count) / meter.seconds, "/s", higher: true)
      Report.times(work, times)
      acceptor.cancel()
    }
  }

  /// One direction on many connections between two nodes at once.
  static func streams(_ count: Int, mebibytes: Int) async throws {
    try await withNodes { a, b in
      let server = try await a.listen()
      let accepted = Task {
        var accepted: [HyperDHT.Connection] = []
        while accepted.count < count, let next = try await server.accept() { accepted.append(next) }
        return accepted
      }
      var dialled: [HyperDHT.Connection] = []
      for _ in 0..<count { dialled.append(try await b.connect(to: server.publicKey)) }
      let readers = try await accepted.value
      let bytes = 16 << 10
      let share = max(1, mebibytes << 20 / bytes / count)
      let meter = Meter()
      var finished: [Double] = []
      try await withThrowingTaskGroup(of: Double.self) { group in
        for connection in dialled {
          group.addTask {
            let message = [UInt8](repeating: 7, count: bytes)
            for _ in 0..<share { try await connection.write(message) }
            return 0
          }
        }
        for connection in readers {
          group.addTask {
            var received = 0
            while received < share * bytes, let next = try await connection.read() { received += next.count }
            return meter.seconds
          }
        }
        for try await time in group where time > 0 { finished.append(time) }
      }
      let total = Double(share * bytes * count)
      let work = "\(count) connections at once"
      Report.figure(work, "throughput", total / meter.seconds / 1e6, "MB/s", higher: true)
      Report.figure(work, "CPU", meter.cpuSeconds / total * 1e9, "s/GB")
      Report.figure(work, "first to end / last", (finished.min() ?? 0) / (finished.max() ?? 1), "", higher: true)
    }
  }

  static func withNodes(_ body: (HyperDHT, HyperDHT) async throws -> Void) async throws {
    let testnet = try await HyperDHT.Testnet(size: 5)
    let options = HyperDHT.Options(bootstrap: testnet.bootstrap, port: 0, host: .loopback)
    let a = try await HyperDHT(options)
    let b = try await HyperDHT(options)
    try await body(a, b)
    await b.destroy(force: true)
    await a.destroy(force: true)
    await testnet.destroy()
  }
}
