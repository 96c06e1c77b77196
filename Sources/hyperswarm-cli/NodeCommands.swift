import ArgumentParser
import HyperDHT
import HyperEncoding
import Hyperswarm

struct TestnetCommand: Command {
  static let configuration = CommandConfiguration(
    commandName: "testnet", abstract: "Run a private DHT in this process until Ctrl-C.")

  @Option(help: "Number of nodes.")
  var size = 10
  @Option(help: "Port of the first node, 0 for any; the others take any.")
  var port: UInt16 = 49_736
  @Option(help: "Address to bind to.")
  var host = HostArgument(.loopback)
  @OptionGroup var metrics: MetricsOptions
  @Flag(help: "Print one JSON object per line.")
  var json = false

  func validate() throws {
    guard (1...10_000).contains(size) else { throw ValidationError("--size is 1 to 10000") }
  }

  func execute() async throws {
    Console.isJSON = json
    let metrics = try await metrics.open()
    defer { metrics?.close() }
    let testnet = try await opening(port, on: host.host) {
      try await HyperDHT.Testnet(size: size, host: host.host, port: port)
    }
    let addresses = testnet.bootstrap
    let interrupt = Interrupt()
    metrics?.serve { [weak testnet] in
      guard let testnet else { return "" }
      return MetricsText.process("testnet") + (await MetricsText.testnet(testnet))
    }
    Console.event(
      "testnet", "\(size) nodes, bootstrap \(addresses.joined(separator: ","))",
      [("size", .integer(size)), ("bootstrap", .array(addresses.map { .string($0) }))])
    try Console.check()
    await interrupt.wait()
    await testnet.destroy()
  }
}

struct NodeCommand: Command {
  static let configuration = CommandConfiguration(
    commandName: "node", abstract: "Run a DHT node until Ctrl-C.",
    discussion: """
      The node helps the network as soon as it is found to be reachable (--permanent skips the trial). --first makes \
      the first node of a new network; it needs --host, the address under which the others reach it.
      """)

  @OptionGroup var common: CommonOptions
  @Option(help: "UDP port; without it 49737, or another one if that is taken.")
  var port: UInt16?
  @Option(help: "Address to bind to; by default all, or the loopback address if the bootstrap nodes are there.")
  var host: HostArgument?
  @Flag(help: "Be a permanent member at once, without waiting to be found reachable.")
  var permanent = false
  @Flag(help: "Be the first node of a new network.")
  var first = false
  @OptionGroup var metrics: MetricsOptions

  func validate() throws {
    if first, host?.host.isUnicast != true { throw ValidationError("--first needs a concrete --host") }
    if first, port == 0 { throw ValidationError("--first needs a concrete --port: the others enter by it") }
    if first, CommonOptions.isBootstrapGiven { throw ValidationError("--first and --bootstrap exclude each other") }
  }

  func execute() async throws {
    let metrics = try await metrics.open()
    defer { metrics?.close() }
    var options: HyperDHT.Options
    if first, let host = host?.host {
      options = .bootstrapper(host: host, port: port ?? 49_737)
    } else {
      options = HyperDHT.Options(
        bootstrap: common.bootstrap?.nodes, host: host?.host ?? bindAddress(for: common.bootstrap))
      if let port {
        options.port = port
        options.anyPort = port == 0
      }
      if permanent {
        options.isEphemeral = false
        options.isFirewalled = false
      }
    }
    let dht = try await opening(options.port, on: options.host) { try await HyperDHT(options) }
    metrics?.serve { [weak dht] in
      guard let dht else { return "" }
      return MetricsText.process("node") + (await MetricsText.node(dht))
    }
    try await using(dht) {
      if first { try await dht.bootstrapped() } else { try await requireNetwork(dht, common) }
      let local = await dht.localAddress()
      let status = await dht.status()
      let interrupt = Interrupt()
      Console.event(
        "listening", "listening on \(local?.description ?? "?"), \(status.nodeCount) nodes known",
        [
          ("address", local.map { .string($0.description) } ?? .null), ("nodes", .integer(status.nodeCount)),
          ("ephemeral", .bool(status.isEphemeral)), ("firewalled", .bool(status.isFirewalled)),
        ])
      try Console.check()
      await interrupt.wait()
    }
  }
}
