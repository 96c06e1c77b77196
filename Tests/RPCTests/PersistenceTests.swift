import HyperEncoding
import HyperEnvironment
import HyperswarmTesting
import XCTest

@testable import HyperRPC

/// Items 57-70 of dht-rpc.md Part A: identity, firewall probe, ephemeral and persistent.
final class PersistenceTests: RPCTestCase {
  private var network = VirtualNetwork(seed: 1, isLogging: true)
  private var servers: [RPCNode] = []

  override func setUp() {
    network = VirtualNetwork(seed: 57, isLogging: true)
    servers = []
  }

  override func tearDown() { destroy(servers, network) }

  private func startServers(_ count: Int) throws -> Endpoint {
    servers = try makeSwarm(network, size: count)
    return try endpoint(of: servers[0])
  }

  private func start(_ node: RPCNode) {
    node.start()
    XCTAssertTrue(network.run(within: 60_000) { node.isBootstrapped })
  }

  /// All datagrams that left the host of `node`, as (port, carries an id).
  private func sentIDs(_ node: RPCNode) -> [(port: UInt16, id: Bytes32?)] {
    let host = (node.environment as? VirtualHost)?.address
    return network.log.filter { $0.source.host == host }.map { packet in
      switch decode(packet.bytes) {
      case .request(let request): return (packet.source.port, request.id)
      case .response(let response): return (packet.source.port, response.id)
      case nil: return (packet.source.port, nil)
      }
    }
  }

  func testRPC_57_58_everyNodeStartsEphemeralAndHidesItsID() throws {
    let bootstrap = try startServers(3)
    for configure: (inout RPCConfiguration) -> Void in [
      { $0.ephemeral = false }, { $0.ephemeral = true }, { _ in }, { $0.adaptive = false },
    ] {
      let node = makeNode(network, bootstrap: [bootstrap], configure)
      XCTAssertTrue(node.isEphemeral)
      XCTAssertTrue(node.isFirewalled)
      XCTAssertNil(node.id)
      start(node)
      if node.configuration.ephemeral != false {
        network.advance(by: 60_000)
        XCTAssertTrue(node.isEphemeral)
        XCTAssertNil(node.id)
        let sent = sentIDs(node)
        XCTAssertGreaterThan(sent.count, 3)
        XCTAssertTrue(sent.allSatisfy { $0.id == nil })
        XCTAssertFalse(servers.contains { $0.recentNodes().contains { $0.host == node.localAddress?.host } })
      }
      destroy([node], network)
    }
  }

  func testRPC_59_60_persistentByReadyWithIDOnTheServerSocketOnly() throws {
    let bootstrap = try startServers(3)
    let node = makeNode(network, bootstrap: [bootstrap]) { $0.ephemeral = false }
    var events: [String] = []
    node.onReady = { events.append("ready") }
    node.onPersistent = { events.append("persistent") }
    node.onListening = { events.append("listening") }
    start(node)
    XCTAssertEqual(events, ["listening", "persistent", "ready"])
    XCTAssertFalse(node.isFirewalled)
    XCTAssertEqual(node.id, NodeAddress.id(of: try endpoint(of: node)))
    let serverPort = node.serverSocket?.localEndpoint?.port
    network.advance(by: 60_000)
    for sent in sentIDs(node) where sent.id != nil {
      XCTAssertEqual(sent.port, serverPort)
      XCTAssertEqual(sent.id, node.id)
    }
    XCTAssertTrue(sentIDs(node).contains { $0.id != nil })
    // Nothing leaves the client socket any more.
    network.log = []
    network.advance(by: 120_000)
    XCTAssertTrue(sentIDs(node).allSatisfy { $0.port == serverPort })
    destroy([node], network)
  }

  func testRPC_61_natUpdatesClientPortThenServerPort() throws {
    let bootstrap = try startServers(1)
    let node = makeNode(network, bootstrap: [bootstrap]) { $0.ephemeral = false }
    var updates: [UInt16] = []
    node.onNATUpdate = { host, port in
      XCTAssertEqual(host, (node.environment as? VirtualHost)?.address)
      updates.append(port)
    }
    start(node)
    XCTAssertEqual(updates, [node.clientSocket?.localEndpoint?.port, node.serverSocket?.localEndpoint?.port])
    destroy([node], network)
  }

  /// Requests that a bare bootstrap node sees in the four modes of dht-rpc.md 16.
  func testRPC_60_75_requestsDuringBootstrapByMode() throws {
    typealias Mode = (name: String, configure: (inout RPCConfiguration) -> Void, expected: [String])
    let modes: [Mode] = [
      ("adaptive", { _ in }, ["find client", "nat client"]),
      (
        "forced persistent", { $0.ephemeral = false },
        // The reference probes the bootstrap node twice (dht-rpc.md E-14).
        ["find client", "nat client", "find server id"]
      ),
      (
        "forced persistent, open",
        {
          $0.ephemeral = false
          $0.firewalled = false
        }, ["find server", "find server id"]
      ),
      ("fixed ephemeral", { $0.ephemeral = true }, ["find client", "nat client"]),
      (
        "fixed ephemeral, no quick check",
        {
          $0.ephemeral = true
          $0.quickFirewall = false
        }, ["find client"]
      ),
    ]
    for mode in modes {
      let network = VirtualNetwork(seed: 75, isLogging: true)
      let server = try makeBootstrapper(network)
      let node = makeNode(network, bootstrap: [try endpoint(of: server)], mode.configure)
      node.start()
      XCTAssertTrue(network.run(within: 60_000) { node.isBootstrapped })
      network.advance(by: 100)
      let host = try XCTUnwrap(node.environment as? VirtualHost).address
      let seen = network.log.filter { $0.source.host == host }.compactMap { packet -> String? in
        guard let request = request(packet.bytes) else { return nil }
        let command = request.command == 2 ? "find" : request.command == 1 ? "nat" : "\(request.command)"
        let socket = packet.source.port == node.serverSocket?.localEndpoint?.port ? "server" : "client"
        return "\(command) \(socket)" + (request.id == nil ? "" : " id")
      }
      XCTAssertEqual(seen, mode.expected, mode.name)
      destroy([node, server], network)
    }
  }

  func testRPC_62_64_natsThatDoNotKeepThePortStayFirewalled() throws {
    let bootstrap = try startServers(8)
    typealias Setup = (mapping: VirtualNAT.Mapping, filter: VirtualNAT.Filter, forwards: Bool, isOpen: Bool)
    let setups: [Setup] = [
      // Nothing reaches the silent server socket.
      (.portPreserving, .addressAndPortDependent, false, false),
      (.endpointIndependent, .addressDependent, false, false),
      // Every peer sees another port: port 0 in the sampler.
      (.addressAndPortDependent, .addressAndPortDependent, false, false),
      // A forward of the server port: reachable, port kept.
      (.portPreserving, .addressAndPortDependent, true, true),
    ]
    for (index, setup) in setups.enumerated() {
      let nat = VirtualNAT(
        network: network, address: IPv4Address(5, 5, 5, UInt8(index + 1)), mapping: setup.mapping,
        filter: setup.filter)
      let host = network.makeHost(IPv4Address(192, 168, UInt8(index), 2), behind: nat)
      let node = makeNode(network, bootstrap: [bootstrap], host: host) {
        $0.ephemeral = false
        $0.port = 40_000
      }
      if setup.forwards { nat.forwards[40_000] = Endpoint(host: host.address, port: 40_000) }
      start(node)
      XCTAssertEqual(node.isFirewalled, !setup.isOpen, "\(setup)")
      XCTAssertEqual(node.isEphemeral, !setup.isOpen, "\(setup)")
      if setup.mapping == .addressAndPortDependent { XCTAssertTrue(node.isRandomized) }
      if setup.isOpen {
        XCTAssertEqual(node.remoteAddress, Endpoint(host: nat.address, port: 40_000))
      } else {
        XCTAssertNil(node.remoteAddress)
      }
      destroy([node], network)
    }
  }

  /// The forward leads to another port than the one probed for, so the mapped port differs from the local one.
  func testRPC_64_changedPortStaysFirewalled() throws {
    let bootstrap = try startServers(8)
    let nat = VirtualNAT(
      network: network, address: IPv4Address(5, 5, 5, 5), mapping: .portPreserving, filter: .endpointIndependent)
    let host = network.makeHost(IPv4Address(192, 168, 0, 2), behind: nat)
    let node = makeNode(network, bootstrap: [bootstrap], host: host) {
      $0.ephemeral = false
      $0.port = 40_000
    }
    nat.forwards[41_000] = Endpoint(host: host.address, port: 40_000)
    start(node)
    XCTAssertTrue(node.isFirewalled)
    destroy([node], network)
  }

  /// An answer counts only if its host was seen on the server socket: answers that arrive on the client socket do not.
  func testRPC_62_answersOnTheWrongSocketDoNotCount() throws {
    let liar = try RawPeer(network)
    liar.onDatagram = { [unowned self] bytes, source in
      guard let incoming = request(bytes) else { return }
      // Answers PING_NAT to the port it came from instead of the one asked for.
      liar.send(ResponseDatagram(tid: incoming.tid, to: source, id: liar.id), to: source)
    }
    let node = makeNode(network, bootstrap: [liar.endpoint]) { $0.ephemeral = false }
    start(node)
    XCTAssertTrue(liar.requests.contains { $0.command == 1 })
    XCTAssertTrue(node.isFirewalled)
    XCTAssertTrue(node.isEphemeral)
    destroy([node], network)
  }

  func testRPC_63_numberOfAnswersNeeded() throws {
    // One bootstrap node and no other: one good answer suffices (fewer than five were probed).
    let bootstrap = try startServers(1)
    let alone = makeNode(network, bootstrap: [bootstrap]) { $0.ephemeral = false }
    start(alone)
    XCTAssertFalse(alone.isEphemeral)
    destroy([alone], network)

    // Five nodes, of which two answer to the server socket: three are needed.
    for good in [2, 3] {
      var peers: [RawPeer] = []
      for index in 0..<5 {
        let peer = try RawPeer(network)
        peers.append(peer)
        peer.onDatagram = { [unowned self, unowned peer] bytes, source in
          guard let incoming = request(bytes) else { return }
          var destination = source
          if incoming.command == 1, index < good, let value = incoming.value {
            destination.port = UInt16(value[0]) | UInt16(value[1]) << 8
          }
          peer.send(ResponseDatagram(tid: incoming.tid, to: destination, id: peer.id), to: destination)
        }
      }
      let node = makeNode(network, bootstrap: peers.map(\.endpoint)) { $0.ephemeral = false }
      start(node)
      XCTAssertEqual(peers.flatMap(\.requests).filter { $0.command == 1 }.count, 5)
      XCTAssertEqual(node.isEphemeral, good < 3, "\(good) good answers")
      destroy([node], network)
    }
  }

  func testRPC_65_adaptiveNodeWaits240TicksAndTriesAHostOnce() throws {
    let bootstrap = try startServers(6)
    let nat = VirtualNAT(
      network: network, address: IPv4Address(5, 5, 5, 5), mapping: .portPreserving, filter: .addressAndPortDependent)
    let host = network.makeHost(IPv4Address(192, 168, 0, 2), behind: nat)
    let node = makeNode(network, bootstrap: [bootstrap], host: host) { $0.quickFirewall = false }
    network.isLogging = false
    start(node)
    XCTAssertEqual(node.statistics.pingNAT.tx, 0)
    network.advance(by: 238 * 5000)
    XCTAssertEqual(node.statistics.pingNAT.tx, 0)
    network.advance(by: 3 * 5000)
    XCTAssertEqual(node.statistics.pingNAT.tx, 5)
    network.advance(by: 20_000)
    XCTAssertTrue(node.isEphemeral)
    // The same host is not probed again ...
    network.advance(by: 1500 * 5000)
    XCTAssertEqual(node.statistics.pingNAT.tx, 5)
    // ... until a wakeup forgets it: after 720 more ticks.
    host.wallClockOffset += 60_000
    network.advance(by: 730 * 5000)
    XCTAssertEqual(node.statistics.pingNAT.tx, 10)
    XCTAssertTrue(node.isEphemeral)
    destroy([node], network)
  }

  func testRPC_65_adaptiveNodeOnAnOpenHostBecomesPersistent() throws {
    let bootstrap = try startServers(6)
    network.isLogging = false
    let node = makeNode(network, bootstrap: [bootstrap])
    start(node)
    XCTAssertTrue(node.isEphemeral)
    network.advance(by: 241 * 5000)
    network.advance(by: 10_000)
    XCTAssertFalse(node.isEphemeral)
    XCTAssertEqual(node.id, NodeAddress.id(of: try endpoint(of: node)))
    destroy([node], network)
  }

  /// The reference never tries again (dht-rpc.md E-7): a port forward that comes later goes unnoticed.
  func testRPC_C13_forcedNodesRetryWithGrowingPauses() throws {
    let bootstrap = try startServers(6)
    network.isLogging = false
    let nat = VirtualNAT(
      network: network, address: IPv4Address(5, 5, 5, 5), mapping: .portPreserving, filter: .addressAndPortDependent)
    let host = network.makeHost(IPv4Address(192, 168, 0, 2), behind: nat)
    let node = makeNode(network, bootstrap: [bootstrap], host: host) {
      $0.ephemeral = false
      $0.port = 40_000
    }
    start(node)
    XCTAssertTrue(node.isEphemeral)
    var attempts: [UInt64] = []
    var probes = node.statistics.pingNAT.tx
    let begin = network.now
    while network.now - begin < 3_600_000_000 {
      network.advance(by: 5000)
      if node.statistics.pingNAT.tx != probes { attempts.append((network.now - begin) / 60_000_000) }
      probes = node.statistics.pingNAT.tx
    }
    // After about 1, 2, 4, 8, 16 and 32 minutes.
    XCTAssertEqual(attempts.count, 6)
    XCTAssertTrue(zip(attempts, [1, 2, 4, 8, 16, 32]).allSatisfy { abs(Int($0) - $1) <= 1 }, "\(attempts)")
    nat.forwards[40_000] = Endpoint(host: host.address, port: 40_000)
    network.advance(by: 3_700_000)
    XCTAssertFalse(node.isEphemeral)
    XCTAssertEqual(node.remoteAddress, Endpoint(host: nat.address, port: 40_000))
    destroy([node], network)
  }

  func testRPC_66_recentringMovesNodesAndKeepsFullBucketHandling() throws {
    let node = makeNode(network, bootstrap: [])
    start(node)
    let newID = Bytes32(repeating: 0)
    // 25 nodes whose ids begin with a one bit: they share one bucket of the new table.
    var far: [Endpoint] = []
    var index: UInt16 = 0
    while far.count < 25 {
      index += 1
      let endpoint = Endpoint(host: IPv4Address(9, UInt8(index >> 8), UInt8(index & 255), 9), port: 9)
      if NodeAddress.id(of: endpoint).leadingZeroBitCount == 0 { far.append(endpoint) }
    }
    for endpoint in far.prefix(18) { node.addNode(endpoint) }
    let before = node.nodeCount
    node.recentre(on: newID)
    XCTAssertEqual(node.tableID, newID)
    XCTAssertEqual(node.nodeCount, before)
    XCTAssertEqual(node.recentNodes().count, before)
    for endpoint in far[18..<20] { node.addNode(endpoint) }
    XCTAssertEqual(node.nodeCount, 20)
    // The bucket is full; a newcomer makes the node check the oldest one, which is dead.
    node.tick += 13
    let newcomer = far[24]
    node.addNode(newcomer)
    XCTAssertEqual(node.repings, 1)
    network.advance(by: 4100)
    XCTAssertTrue(node.recentNodes().contains(newcomer))
    destroy([node], network)
  }

  func testRPC_67_wakeupTurnsAnAdaptiveNodeEphemeral() throws {
    let bootstrap = try startServers(6)
    network.isLogging = false
    let adaptive = makeNode(network, bootstrap: [bootstrap])
    start(adaptive)
    network.advance(by: 245 * 5000)
    XCTAssertFalse(adaptive.isEphemeral)
    var events: [String] = []
    adaptive.onEphemeral = { events.append("ephemeral") }
    adaptive.onWakeup = { events.append("wakeup") }
    (adaptive.environment as? VirtualHost)?.wallClockOffset += 20_000
    let forced = servers[3]
    (forced.environment as? VirtualHost)?.wallClockOffset += 20_000
    var forcedWakeups = 0
    forced.onWakeup = { forcedWakeups += 1 }
    let id = adaptive.tableID
    network.advance(by: 5000)
    XCTAssertEqual(events, ["ephemeral", "wakeup"])
    XCTAssertTrue(adaptive.isEphemeral)
    XCTAssertFalse(adaptive.isFirewalled, "the flag stays")
    XCTAssertEqual(adaptive.tableID, id)
    XCTAssertEqual(forcedWakeups, 1)
    XCTAssertFalse(forced.isEphemeral)
    destroy([adaptive], network)
  }

  /// A clock that is set is no sleep: the node stays what it is.
  func testASetClockDoesNotDemote() throws {
    for seed in 0..<10 as Range<UInt64> {
      network = VirtualNetwork(seed: 6700 + seed)
      servers = []
      let bootstrap = try startServers(6)
      let node = makeNode(network, bootstrap: [bootstrap])
      start(node)
      network.advance(by: 245 * 5000)
      XCTAssertFalse(node.isEphemeral)
      var events = 0
      node.onEphemeral = { events += 1 }
      node.onWakeup = { events += 1 }
      let host = try XCTUnwrap(node.environment as? VirtualHost)
      for step in [15_000, 16_000, 3_600_000, 0] as [UInt64] {
        host.clockStep = step + seed
        network.advance(by: 11_000)
      }
      XCTAssertEqual(events, 0, "seed \(seed)")
      XCTAssertFalse(node.isEphemeral)
      destroy([node], network)
      if seed < 9 { destroy(servers, network) }
    }
  }

  func testRPC_68_bootstrapperIsPersistentWithoutPeers() throws {
    let server = try makeBootstrapper(network, port: 4000)
    XCTAssertEqual(server.id, NodeAddress.id(of: try endpoint(of: server)))
    XCTAssertEqual(server.statistics.requestsTotal, 0)
    destroy([server], network)
  }

  func testRPC_69_badBootstrappers() {
    for (port, host) in [
      (0, "1.2.3.4"), (1, ""), (1, "0.0.0.0"), (1, "224.0.0.1"), (1, "::"), (1, "localhost"), (1, "1.2.3"),
    ] {
      XCTAssertThrowsError(try RPCConfiguration.bootstrapper(port: UInt16(port), publicHost: host)) {
        XCTAssertEqual($0 as? RPCError, .invalidAddress)
      }
    }
    XCTAssertNoThrow(try RPCConfiguration.bootstrapper(port: 1, publicHost: "1.2.3.4"))
  }

  /// The threshold row and every sequence of dht-rpc.md 14.
  func testRPC_70_natSamplerSequences() {
    let a = IPv4Address(1, 1, 1, 1)
    let b = IPv4Address(2, 2, 2, 2)
    func run(_ input: [(IPv4Address, UInt16)]) -> [String] {
      let sampler = NATSampler()
      return input.map { host, port in
        sampler.add(Endpoint(host: host, port: port))
        return (sampler.host.map { $0 == a ? "A" : "B" } ?? "-") + ":\(sampler.port)"
      }
    }
    func times(_ count: Int, _ value: String) -> [String] { Array(repeating: value, count: count) }
    XCTAssertEqual(run(Array(repeating: (a, 1), count: 5)), times(5, "A:1"))
    XCTAssertEqual(run((1...5).map { (a, $0) }), ["A:1"] + times(4, "A:0"))
    XCTAssertEqual(run([(a, 1), (a, 1), (a, 2)]), ["A:1", "A:1", "A:0"])
    XCTAssertEqual(run([(a, 1), (a, 1), (a, 1), (a, 2)]), times(4, "A:1"))
    XCTAssertEqual(run([(a, 1), (a, 1), (a, 1), (b, 2)]), times(4, "A:1"))
    XCTAssertEqual(run([(a, 1), (b, 1)]), ["A:1", "-:0"])
    XCTAssertEqual(run((0..<8).map { (a, UInt16($0 % 2 + 1)) }), ["A:1"] + times(7, "A:0"))
    XCTAssertEqual(run([(a, 1), (a, 2), (a, 3), (a, 4), (a, 5), (a, 1)]).last, "A:0")
    XCTAssertEqual(
      run(Array(repeating: (a, 1), count: 20) + Array(repeating: (b, 2), count: 20)),
      times(23, "A:1") + times(9, "-:0") + times(8, "B:2"))
    let sampler = NATSampler()
    XCTAssertNil(sampler.host)
    let thresholds = (1...18).map { _ in
      sampler.add(Endpoint(host: a, port: 1))
      return sampler.threshold
    }
    XCTAssertEqual(thresholds, [1, 2, 3, 3, 4, 5, 6, 6, 7, 8, 9, 9, 10, 11, 12, 13, 13, 13])
    // An address that is five back starts a new counter, one that is four back merges.
    for (between, hits) in [(4, 1), (3, 2)] {
      let sampler = NATSampler()
      sampler.add(Endpoint(host: a, port: 1))
      for port in 0..<between { sampler.add(Endpoint(host: a, port: UInt16(10 + port))) }
      XCTAssertEqual(sampler.add(Endpoint(host: a, port: 1)), hits)
    }
  }

  /// A process that was stopped (SIGSTOP, a debugger, a busy machine) finds itself as it was: persistent, and asking
  /// around.
  func testAStoppedProcessStaysPersistent() throws {
    for seconds in [16, 60, 600] as [UInt64] {
      network = VirtualNetwork(seed: 6800 + seconds)
      let bootstrap = try startServers(6)
      let node = makeNode(network, bootstrap: [bootstrap])
      start(node)
      network.advance(by: 245 * 5000)
      XCTAssertFalse(node.isEphemeral)
      var events: [String] = []
      node.onEphemeral = { events.append("ephemeral") }
      node.onWakeup = { events.append("wakeup") }
      let tick = node.tick
      let queries = node.statistics.queriesTotal
      // What a timer sees that comes so much too late.
      node.lastTickTime -= seconds * 1000
      node.lastTickUptime -= seconds * 1000
      network.advance(by: 5000)
      XCTAssertEqual(events, [], "\(seconds) s")
      XCTAssertFalse(node.isEphemeral)
      XCTAssertTrue(node.isOnline)
      XCTAssertGreaterThanOrEqual(node.tick, tick + seconds / 5, "what the node knows has aged")
      network.advance(by: 10_000)
      XCTAssertGreaterThan(node.statistics.queriesTotal, queries, "asks around")
      destroy([node], network)
    }
  }
}
