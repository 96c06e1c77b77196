import ArgumentParser
import HyperDHT
import Hyperswarm

struct Relay: Command {
  static let configuration = CommandConfiguration(
    abstract: "Run a blind relay until Ctrl-C.",
    discussion: """
      Peers that name the printed key (--relay) and have no direct path meet here. The relay forwards packets that it \
      cannot read. It should have a public address and bandwidth to spare.
      """)

  @OptionGroup var common: CommonOptions
  @OptionGroup var identity: IdentityOptions
  @Option(help: "UDP port; without it 49737, or another one if that is taken.")
  var port: UInt16?
  @OptionGroup var access: AccessOptions
  @Option(help: "Relayed connections at a time.")
  var links: Int?
  @OptionGroup var metrics: MetricsOptions

  func validate() throws {
    if let links, links < 1 { throw ValidationError("--links is 1 or more") }
  }

  func execute() async throws {
    let keyPair = identity.keyPair
    let allowed = try access.keys()
    let metrics = try await metrics.open()
    defer { metrics?.close() }
    var options = HyperDHT.Options(
      bootstrap: common.bootstrap?.nodes, host: bindAddress(for: common.bootstrap), keyPair: keyPair)
    options.anyPort = port.map { $0 == 0 } ?? true
    if let port { options.port = port }
    let dht = try await opening(options.port, on: options.host) { try await HyperDHT(options) }
    try await using(dht) {
      try await requireNetwork(dht, common)
      var limits = HyperDHT.RelayServer.Limits()
      if let links { limits.links = links }
      let relay = try await dht.serveRelay(
        keyPair: keyPair, firewall: allowed.map(AccessOptions.firewall), limits: limits)
      metrics?.serve { [weak dht, weak relay] in
        guard let dht, let relay else { return "" }
        let counts = MetricsText.relay(await relay.statistics())
        return MetricsText.process("relay") + counts + (await MetricsText.node(dht))
      }
      let interrupt = Interrupt()
      Console.event(
        "listening", "relaying as \(relay.publicKey.hex)", [("publicKey", .string(relay.publicKey.hex))])
      try Console.check()
      await interrupt.wait()
      let statistics = await relay.statistics()
      Console.event(
        "relayed", "\(statistics.pairingsMatched) connections, \(statistics.bytesRelayed) bytes",
        [
          ("connections", .integer(Int(clamping: statistics.pairingsMatched))),
          ("bytes", .integer(Int(clamping: statistics.bytesRelayed))),
        ])
      await relay.close()
    }
  }
}

/// For the commands that connect.
struct RelayOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Key of a blind relay to go over while there is no direct path; may be given several times.", valueName: "key"))
  var relay: [KeyArgument] = []

  @Flag(help: "Neither punch holes nor try the local network: what is not reachable by itself goes over the relay.")
  var noPunch = false

  @Flag(help: "Over a relay, which either side may name, or not at all.")
  var relayOnly = false

  var choice: HyperDHT.RelayChoice? { relay.isEmpty ? nil : .oneOf(relay.map(\.key)) }

  var connecting: HyperDHT.ConnectOptions {
    var options = HyperDHT.ConnectOptions()
    options.relayThrough = choice
    options.allowsHolepunching = !noPunch
    options.relayOnly = relayOnly
    return options
  }

  var listening: HyperDHT.ServerOptions {
    var options = HyperDHT.ServerOptions()
    options.relayThrough = choice
    options.allowsHolepunching = !noPunch
    options.shareLocalAddress = !noPunch
    options.relayOnly = relayOnly
    return options
  }
}
