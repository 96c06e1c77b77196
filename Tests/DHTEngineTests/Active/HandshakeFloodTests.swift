import HyperCrypto
import HyperEncoding
import HyperEnvironment
import HyperSecretStream
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine

/// Floods of first messages in the name of clients that do not exist: real clients get through, and the server has
/// neither a socket nor a packet for the others (hyperdht.md B-1).
final class HandshakeFloodTests: XCTestCase {
  /// First messages of invented clients, as an attacker makes them that knows the server's key.
  private struct Attacker {
    let server: DHTServer
    var random: SeededRandom
    /// One key pair and one ephemeral key do; the messages differ.
    private var ephemeral: KeyPair
    private let key: KeyPair
    var answers = 0

    init(_ server: DHTServer, seed: UInt64) {
      self.server = server
      random = SeededRandom(seed: seed)
      key = KeyPair(seed: Bytes32(random.bytes(32))!)
      ephemeral = KeyPair(seed: Bytes32(random.bytes(32))!)
    }

    mutating func noise(firewall: Firewall = .unknown) -> [UInt8] {
      var handshake = try! NoiseHandshake(
        pattern: .ik, isInitiator: true, keyPair: key, remotePublicKey: server.publicKey,
        prologue: Namespaces.peerHandshake.bytes, ephemeral: ephemeral)
      let payload = NoisePayload(
        firewall: firewall, addresses4: [], udx: .init(id: UInt32(truncatingIfNeeded: random.next()) | 1),
        secretStream: .init())
      return try! handshake.send(payload: payload.encoded)
    }

    mutating func client() -> Endpoint {
      Endpoint(host: IPv4Address(value: 0x4400_0000 | UInt32(random.next() % 0xff_0000)), port: 4000)
    }

    /// Over `sender`; directly without one.
    @discardableResult
    mutating func send(
      over sender: Endpoint?, noise: [UInt8]? = nil, client: Endpoint? = nil, firewall: Firewall = .unknown
    ) -> Bool {
      let node = server.node
      let noise = noise ?? self.noise(firewall: firewall)
      let client = client ?? self.client()
      guard let socket = node.rpc.socket, let to = node.rpc.localAddress else { return false }
      var isAnswered = false
      server.handleHandshake(
        HandshakeRequest(
          noise: noise, isDirect: sender == nil, clientAddress: client, from: sender ?? client, to: to, socket: socket)
      ) { if $0 != nil { isAnswered = true } }
      if isAnswered { answers += 1 }
      return isAnswered
    }
  }

  private func host(_ server: DHTServer) -> VirtualHost { server.node.environment as! VirtualHost }

  private func site(_ net: Net, _ number: UInt8, _ mapping: VirtualNAT.Mapping = .endpointIndependent) -> DHTNode {
    let nat = VirtualNAT(
      network: net.network, address: IPv4Address(5, 5, number, 1), mapping: mapping,
      filter: .addressAndPortDependent)
    return net.makeNode(on: net.network.makeHost(IPv4Address(192, 168, number, 10), behind: nat))
  }

  // MARK: The figures, in virtual time

  /// A thousand messages a second over the server's own relays, each of another client that does not exist.
  func testRealClientsGetThroughAFloodOverOwnRelays() {
    for seed in 1...2 as ClosedRange<UInt64> {
      let net = Net(8, seed: seed)
      let (server, accepted) = net.listen(on: site(net, 1))
      let clients = (0..<5).map { site(net, 10 + UInt8($0)) }
      let relays = server.announcer?.relays.map(\.relayAddress) ?? []
      XCTAssertEqual(relays.count, 3)
      var attacker = Attacker(server, seed: seed)
      let before = host(server).openSocketCount
      var peers: [Peer] = []
      var opened: [UInt64] = []
      for tick in 0..<3200 {
        attacker.send(over: relays[tick % 3])
        if tick >= 1600, tick % 300 == 0, peers.count < 5 {
          let peer = net.connect(clients[peers.count], to: server)
          let start = net.network.now
          peer.stream.onOpen = { opened.append((net.network.now - start) / 1000) }
          peers.append(peer)
        }
        net.network.advance(by: 1)
        XCTAssertEqual(server.node.sockets.count, 0, "no socket for one handshake")
        XCTAssertLessThanOrEqual(host(server).openSocketCount, before + 1)
        XCTAssertLessThanOrEqual(server.table.activeCount - server.table.provenCount, Limits.Server.waitingHandshakes)
      }
      net.wait(4000, "seed \(seed)") { opened.count == 5 }
      XCTAssertLessThanOrEqual(opened.max() ?? .max, 4000, "seed \(seed): \(opened)")
      for peer in peers { net.assertEcho(peer, "seed \(seed)") }
      XCTAssertEqual(accepted.peers.count, 5)
      XCTAssertGreaterThan(server.node.statistics.handshakes.evicted, 0)
      XCTAssertLessThanOrEqual(
        attacker.answers, Int(Limits.Server.relayedBurst + 4 * Limits.Server.relayedPerSecond))
      XCTAssertGreaterThan(attacker.answers, 3 * Int(Limits.Server.relayedPerSecond), "relays have their own share")
      net.network.advance(by: 60_000)
      XCTAssertEqual(server.handshakeCount, 0)
      XCTAssertEqual(host(server).openSocketCount, before + 1, "that of the streams")
      net.destroy()
    }
  }

  /// The same from four nodes that the server knows nothing of, and garbage from sixteen: they use up their share, and
  /// clients on other ways do not notice.
  func testFloodsOfStrangersTakeNothingFromOthers() {
    let net = Net(8)
    let (server, _) = net.listen(on: net.nodes[1])
    var attacker = Attacker(server, seed: 5)
    let before = host(server).openSocketCount
    for tick in 0..<3000 {
      let sender = Endpoint(host: IPv4Address(68, 1, 1, UInt8(tick % 4)), port: 4000)
      attacker.send(over: sender, firewall: tick % 2 == 0 ? .unknown : .open)
      for number in 0..<3 {
        let sender = Endpoint(host: IPv4Address(69, 1, 1, UInt8((tick * 3 + number) % 16)), port: 4000)
        attacker.send(over: sender, noise: attacker.random.bytes(200))
      }
      net.network.advance(by: 1)
    }
    XCTAssertLessThanOrEqual(
      server.node.statistics.handshakes.received,
      Limits.Server.strangerBurst + 3 * Limits.Server.strangersPerSecond + 1)
    XCTAssertLessThanOrEqual(host(server).openSocketCount, before + 1)
    let started = net.network.now
    net.assertEcho(net.connect(net.makeNode(), to: server))
    XCTAssertLessThan(net.network.now - started, 1_000_000)
    net.destroy()
  }

  /// A machine on which every handshake takes 20 ms: new messages get their share of the time, and a client that asks
  /// again gets in.
  func testASlowServerHasTimeForClientsThatAskAgain() {
    for seed in 1...3 as ClosedRange<UInt64> {
      let net = Net(8, seed: seed)
      let (server, _) = net.listen(on: site(net, 1))
      let clients = (0..<3).map { site(net, 10 + UInt8($0)) }
      let relays = server.announcer?.relays.map(\.relayAddress) ?? []
      let handshakes = { server.node.statistics.handshakes.received }
      let before = handshakes()
      let started = net.network.now
      server.clock = { net.network.now + 20_000 * (handshakes() - before) }
      var attacker = Attacker(server, seed: 100 + seed)
      var peers: [Peer] = []
      var opened: [UInt64] = []
      var tick = 0
      while tick < 8000, opened.count < 3 {
        attacker.send(over: relays[tick % 3], noise: attacker.random.bytes(200))
        if tick >= 1500, tick % 200 == 0, peers.count < 3 {
          let peer = net.connect(clients[peers.count], to: server)
          let start = net.network.now
          peer.stream.onOpen = { opened.append((net.network.now - start) / 1000) }
          peers.append(peer)
        }
        net.network.advance(by: 1)
        tick += 1
      }
      XCTAssertEqual(opened.count, 3, "seed \(seed)")
      XCTAssertLessThanOrEqual(opened.max() ?? .max, 4000, "seed \(seed): \(opened)")
      // Time goes on while a handshake is worked on.
      let worked = 20_000 * (handshakes() - before)
      let elapsed = net.network.now - started + worked
      XCTAssertLessThanOrEqual(
        worked, Limits.Server.workBurst + elapsed * Limits.Server.workPerSecond / 1_000_000 + 20_000, "seed \(seed)")
      server.clock = { net.network.now }
      net.destroy()
    }
  }

  // MARK: What a first message costs

  func testNothingIsMadeForAMessageThatCannotBeRead() {
    let net = Net(4)
    let (server, _) = net.listen(on: net.makeNode())
    var attacker = Attacker(server, seed: 6)
    let relay = server.announcer?.relays.first?.relayAddress
    var before = host(server).random
    var noise = attacker.noise()
    noise[noise.count - 1] ^= 1
    XCTAssertFalse(attacker.send(over: relay, noise: noise))
    var after = host(server).random
    XCTAssertEqual(before.next(), after.next(), "no key was drawn")
    XCTAssertEqual(server.handshakeCount, 0)
    XCTAssertEqual(server.node.rawStreamCount, 0)
    XCTAssertEqual(server.node.statistics.handshakes.refused, 1)
    net.destroy()
  }

  /// Ten clients share one port, and it goes when no more come.
  func testHandshakesShareAPortUntilItIsIdle() {
    let net = Net(8)
    let (server, _) = net.listen(on: site(net, 1))
    var attacker = Attacker(server, seed: 7)
    let relay = server.announcer?.relays.first?.relayAddress
    let before = host(server).openSocketCount
    net.network.isLogging = true
    net.network.log = []
    for _ in 0..<10 { XCTAssertTrue(attacker.send(over: relay)) }
    XCTAssertEqual(host(server).openSocketCount, before + 1)
    net.network.advance(by: 1000)
    let own = host(server).address
    let packets = net.network.log.filter { $0.source.host == own && Datagrams.request($0.bytes) != nil }
    XCTAssertLessThanOrEqual(
      packets.count, Limits.Punch.wantedSamples + 6, "one classification, and the announcer's pings")
    XCTAssertFalse(net.network.log.contains { $0.destination.host.value >> 24 == 0x44 }, "no packet for a stranger")
    net.network.isLogging = false
    net.network.advance(by: 2 * Limits.Punch.portIdle)
    XCTAssertEqual(host(server).openSocketCount, before)
    net.destroy()
  }

  /// What is known of a mapping grows old, also while clients come.
  func testAPortIsReplacedWhenItIsOld() {
    let net = Net(8)
    let (server, _) = net.listen(on: site(net, 1))
    let ports = server.node.punchPorts
    func use() -> PunchPort? {
      let port = ports.acquire()
      port?.release()
      return port
    }
    let first = use()
    net.network.advance(by: Limits.Punch.portIdle - 1)
    XCTAssertTrue(use() === first)
    net.network.advance(by: Limits.Punch.portIdle)
    let second = use()
    XCTAssertFalse(second === first, "nothing has left through it")
    for _ in 0..<59 {
      net.network.advance(by: Limits.Punch.portLifetime / 60)
      XCTAssertTrue(use() === second)
    }
    net.network.advance(by: Limits.Punch.portLifetime / 60)
    XCTAssertFalse(use() === second)
    net.destroy()
  }

  func testAPortThatNoNodeHasSeenIsTriedAgain() {
    let net = Net(4)
    let node = net.makeNode()
    net.network.shouldDrop = { _ in true }
    let first = node.punchPorts.acquire()
    net.network.advance(by: Limits.Punch.portRetry - 1)
    XCTAssertTrue(first?.isSampled ?? false)
    XCTAssertTrue(node.punchPorts.acquire() === first)
    net.network.advance(by: 1)
    XCTAssertFalse(node.punchPorts.acquire() === first)
    net.destroy()
  }

  // MARK: Places

  /// What only message 2 tells makes a place safe from newcomers that do not know it.
  func testAProvenSessionIsNotEvicted() {
    let net = Net(4)
    let (server, _) = net.listen(on: net.nodes[1])
    var attacker = Attacker(server, seed: 8)
    XCTAssertTrue(attacker.send(over: nil))
    guard let first = server.table.session(at: 0) else { return XCTFail("no session") }
    server.proved(first)
    XCTAssertEqual(server.table.provenCount, 1)
    server.proved(first)
    XCTAssertEqual(server.table.provenCount, 1)
    // At the rate of all direct clients, so that each is admitted.
    for _ in 0..<Limits.Server.waitingHandshakes + 200 {
      net.network.advance(by: 2)
      XCTAssertTrue(attacker.send(over: nil))
    }
    // Direct clients have a stream each, and strangers' streams have fewer places than the table.
    let evicted = server.node.statistics.handshakes.evicted + server.node.strangers.counters.idleEvicted
    XCTAssertGreaterThan(evicted, 200)
    XCTAssertLessThan(server.table.waitingCount(of: .direct), Limits.Server.waitingHandshakes)
    XCTAssertTrue(server.table.session(at: 0) === first)
    XCTAssertLessThanOrEqual(server.node.rawStreamCount, server.table.activeCount)
    net.network.advance(by: 60_000)
    XCTAssertEqual(server.handshakeCount, 0)
    XCTAssertEqual(server.node.rawStreamCount, 0)
    net.destroy()
  }

  /// The client with most proven sessions gives way to another one.
  func testTooManyProvenSessionsOfOneClientMakeRoom() {
    let net = Net(4)
    let (server, _) = net.listen(on: net.nodes[1])
    var attacker = Attacker(server, seed: 9)
    var sessions: [ServerSession] = []
    for index in 0...Limits.Server.provenHandshakes {
      net.network.advance(by: 5)
      let client = Endpoint(host: IPv4Address(68, 1, 1, index % 8 == 3 ? 1 : 2), port: 4000)
      XCTAssertTrue(attacker.send(over: nil, client: client), "\(index)")
      guard let session = server.table.session(at: UInt64(index)) else { return XCTFail("no session \(index)") }
      sessions.append(session)
      server.proved(session)
      XCTAssertEqual(server.table.provenCount, min(index + 1, Limits.Server.provenHandshakes))
      XCTAssertEqual(server.node.statistics.handshakes.evicted, index < Limits.Server.provenHandshakes ? 0 : 1)
    }
    XCTAssertNil(server.table.session(at: 0), "the oldest of the heaviest")
    XCTAssertTrue(server.table.session(at: 3) === sessions[3])
    net.destroy()
  }

  /// Requests at relays are places, too: a client that has not proved itself loses its own to the next one.
  func testRequestsAtRelaysMakeRoom() {
    let net = Net(6)
    var options = ServerOptions()
    options.shareLocalAddress = false
    options.relayThrough = .keys([KeyPair(seed: Bytes32(repeating: 9)).publicKey])
    let (server, _) = net.listen(on: site(net, 1), options: options)
    let relay = server.announcer?.relays.first?.relayAddress
    var attacker = Attacker(server, seed: 10)
    let bound = Limits.Relay.unpairedOwnRelays
    for _ in 0..<bound { XCTAssertTrue(attacker.send(over: relay)) }
    XCTAssertEqual(server.node.statistics.handshakes.evicted, 0)
    guard let first = server.table.session(at: 0) else { return XCTFail("no session") }
    server.proved(first)
    for _ in 0..<10 { XCTAssertTrue(attacker.send(over: relay)) }
    XCTAssertEqual(server.node.statistics.relaying.attempts, UInt64(bound + 10))
    XCTAssertEqual(server.table.activeCount, bound)
    XCTAssertTrue(server.table.session(at: 0) === first)
    // All have proved themselves: the next handshake goes without a relay.
    for session in server.table.sessions { session.map { server.proved($0) } }
    XCTAssertTrue(attacker.send(over: relay))
    XCTAssertEqual(server.node.statistics.relaying.attempts, UInt64(bound + 10))
    net.destroy()
  }

  /// Two hundred clients behind one address that change their mind at once leave room for the next.
  func testClientsOfOneAddressThatLeaveAtOnce() {
    let net = Net(6)
    let (server, accepted) = net.listen(on: net.nodes[1])
    let nat = net.network.makeNAT(mapping: .endpointIndependent, filter: .addressAndPortDependent)
    let clients = (1...8).map {
      net.makeNode(on: net.network.makeHost(IPv4Address(192, 168, 1, UInt8($0)), behind: nat))
    }
    for round in 0..<25 {
      let peers = clients.map { net.connect($0, to: server) }
      net.network.advance(by: 5 + UInt64(round))
      for peer in peers { peer.stream.destroy() }
    }
    let started = net.network.now
    net.assertEcho(net.connect(clients[0], to: server))
    XCTAssertLessThan(net.network.now - started, 1_000_000)
    XCTAssertLessThanOrEqual(accepted.peers.count, 201)
    net.destroy()
  }

  // MARK: Random punches

  /// The first one that punches into random ports does not keep others from it.
  func testRandomClientsOfDifferentNetworksPunchAtOnce() {
    let net = Net(10)
    let (server, accepted) = net.listen(on: site(net, 1))
    let clients = (2...4).map { site(net, $0, .addressAndPortDependent) }
    // No probe of the first arrives: it goes on punching to the end.
    let silent = IPv4Address(5, 5, 2, 1)
    net.network.shouldDrop = { $0.bytes == [0] && ($0.source.host == silent || $0.destination.host == silent) }
    let first = net.connect(clients[0], to: server)
    net.network.advance(by: 3000)
    XCTAssertEqual(server.node.statistics.punches.random, 1)
    for client in clients[1...] { net.assertEcho(net.connect(client, to: server), within: 60_000) }
    XCTAssertEqual(accepted.peers.count, 2)
    XCTAssertFalse(first.isClosed)
    net.destroy()
  }

  /// Two clients punch through one port at the same time, and each gets its own connection.
  func testTwoClientsPunchThroughOnePort() {
    for seed in 1...5 as ClosedRange<UInt64> {
      let net = Net(8, seed: 40 + seed)
      let (server, accepted) = net.listen(on: site(net, 1))
      let clients = [site(net, 2), site(net, 3)]
      let peers = clients.map { net.connect($0, to: server) }
      for (index, peer) in peers.enumerated() { net.assertEcho(peer, "seed \(seed), client \(index)") }
      let ports = accepted.peers.map { $0.stream.transport?.socket?.localEndpoint?.port }
      XCTAssertEqual(ports.count, 2)
      XCTAssertEqual(ports.first, ports.last)
      XCTAssertNotEqual(ports.first, server.node.rpc.serverSocket?.localEndpoint?.port, "not the main one")
      net.destroy()
    }
  }
}
