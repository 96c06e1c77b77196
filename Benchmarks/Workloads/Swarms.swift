import HyperDHT
import HyperEncoding
import Hyperswarm
import HyperswarmTesting

/// Many swarms on one topic, some in each of several processes, which `Benchmarks/harness/swarms.py` starts and asks.
enum Swarms {
  /// Flushes that have returned, in seconds since the swarms joined.
  private actor Flushes {
    private(set) var times: [Double] = []

    func add(_ seconds: Double) { times.append(seconds) }
  }

  /// Swarms with default options on one loop. Says "ready", joins after a line of its input, and answers each further
  /// line with what there is; ends with its input.
  static func members(_ count: Int, bootstrap: String) async throws {
    let flushes = Flushes()
    let topic = Hyperswarm.topic("benchmark of many swarms")
    let loop = try UVEventLoop.startThread()
    var swarms: [Hyperswarm] = []
    for _ in 0..<count {
      var options = Hyperswarm.Options(bootstrap: [bootstrap], loop: loop)
      options.dhtOptions.host = .loopback
      let swarm = try await Hyperswarm(options)
      swarms.append(swarm)
      Task {
        var held: [HyperDHT.Connection] = []
        for await connection in swarm.connections { held.append(connection) }
        withExtendedLifetime(held) {}
      }
    }
    Report.say("ready")
    guard await Workloads.hasInputLine() else { return }
    let meter = Meter()
    for swarm in swarms {
      Task {
        _ = try await swarm.join(topic)
        _ = try await swarm.flush()
        await flushes.add(meter.seconds)
      }
    }
    while await Workloads.hasInputLine() {
      let degrees = swarms.map(\.openConnections.count)
      let connecting = swarms.reduce(0) { $0 + $1.connecting }
      let times = await flushes.times.map { "\(($0 * 1000).rounded() / 1000)" }.joined(separator: ", ")
      let counts = "\"degrees\": \(degrees), \"connecting\": \(connecting)"
      Report.say("{\(counts), \"flushes\": [\(times)], \"cpu\": \(meter.cpuSeconds)}")
    }
    for swarm in swarms { await swarm.destroy(force: true) }
  }

  /// A DHT in virtual time, on one thread: each node is a whole one, over the transport's engine and the virtual
  /// network of HyperswarmTesting instead of sockets.
  static func simulation(nodes: Int) throws {
    let before = Meter.residentBytes
    let meter = Meter()
    let network = VirtualNetwork(seed: 1)
    let testnet = try VirtualTestnet(network: network, size: nodes)
    let work = "\(nodes) nodes in the simulator, over the engine of the transport"
    Report.figure(work, "up after", meter.seconds, "s")
    Report.figure(work, "CPU", meter.cpuSeconds, "s")
    Report.figure(work, "virtual time", inSeconds(network.elapsed), "s")
    if let before, let after = Meter.residentBytes {
      Report.figure(work, "resident, each", Double(after - before) / Double(nodes), "bytes")
    }
    testnet.destroy()
    network.advance(by: .seconds(1))
  }
}
