import HyperDHT
import HyperEncoding

/// Several loops in one process, each with a pair of nodes of its own on it: what is shared between them would show.
enum Cores {
  static func run(loops: Int, mebibytes: Int) async throws {
    let testnet = try await HyperDHT.Testnet(size: 3)
    var pairs: [(own: HyperDHT.Connection, theirs: HyperDHT.Connection)] = []
    var nodes: [HyperDHT] = []
    for _ in 0..<loops {
      let loop = try UVEventLoop.startThread()
      var options = HyperDHT.Options(bootstrap: testnet.bootstrap, port: 0, host: .loopback)
      options.loop = loop
      let (a, b) = (try await HyperDHT(options), try await HyperDHT(options))
      nodes += [a, b]
      let server = try await a.listen()
      let own = try await b.connect(to: server.publicKey)
      if let theirs = try await server.accept() { pairs.append((own, theirs)) }
    }
    let bytes = 64 << 10
    let count = mebibytes << 20 / bytes
    for isMeasured in [false, true] {
      let meter = Meter()
      try await withThrowingTaskGroup(of: Void.self) { group in
        for (own, theirs) in pairs {
          group.addTask(executorPreference: own.loop) {
            let message = [UInt8](repeating: 7, count: bytes)
            for _ in 0..<count { try await own.write(message) }
          }
          group.addTask(executorPreference: theirs.loop) {
            var received = 0
            while received < count * bytes, let next = try await theirs.read() { received += next.count }
          }
        }
        try await group.waitForAll()
      }
      let total = Double(count * bytes * loops)
      guard isMeasured else { continue }
      let work = "\(loops) loop\(loops == 1 ? "" : "s") in one process"
      Report.figure(work, "encrypted bulk of all", total / meter.seconds / 1e6, "MB/s", higher: true)
      Report.figure(work, "CPU", meter.cpuSeconds / total * 1e9, "s/GB")
    }
    for node in nodes { await node.destroy(force: true) }
    await testnet.destroy()
  }
}
