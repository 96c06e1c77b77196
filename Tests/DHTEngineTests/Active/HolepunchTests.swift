import HyperCrypto
import HyperEncoding
import HyperRPC
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine

/// Part A-6 of hyperdht.md: punching holes, through NAT boxes of the virtual network.
final class HolepunchTests: XCTestCase {
  private struct Site {
    var node: DHTNode
    var nat: VirtualNAT
  }

  /// A node with a private address behind its own NAT box.
  private func site(
    _ net: Net, _ number: UInt8, _ mapping: VirtualNAT.Mapping, _ filter: VirtualNAT.Filter,
    adjust: (inout DHTOptions) -> Void = { _ in }
  ) -> Site {
    let nat = VirtualNAT(network: net.network, address: IPv4Address(5, 5, 5, number), mapping: mapping, filter: filter)
    let host = net.network.makeHost(IPv4Address(192, 168, number, 10), behind: nat)
    return Site(node: net.makeNode(on: host, adjust: adjust), nat: nat)
  }

  /// The server forgets its handshakes when the first such request leaves. What is returned tells how many those were.
  private func forgets(
    _ net: Net, _ server: DHTServer, when isDue: @escaping (VirtualNetwork.Packet, Datagrams.Request) -> Bool
  ) -> () -> Int {
    var count = 0
    net.network.shouldDrop = { packet in
      guard count == 0, let request = Datagrams.request(packet.bytes), isDue(packet, request) else { return false }
      count = server.handshakeCount
      for session in server.table.sessions { session.map(server.clear) }
      return false
    }
    return { count }
  }

  private func code(_ peer: Peer) -> String? { peer.closeError?.code }

  func testDHT_58_ephemeralPairPunches() {
    let net = Net()
    var serverOptions = ServerOptions()
    serverOptions.shareLocalAddress = false
    let (server, accepted) = net.listen(on: net.makeNode(), options: serverOptions)
    let client = net.makeNode()
    var options = ConnectOptions()
    options.localConnection = false
    let peer = net.connect(client, to: server, options: options)
    net.assertEcho(peer)
    XCTAssertEqual(client.statistics.punches.consistent, 1)
    XCTAssertEqual(server.node.statistics.punches.consistent, 1)
    XCTAssertEqual(client.statistics.punches.open, 0)
    XCTAssertEqual(accepted.peers.count, 1)
    net.network.advance(by: 15_000)
    XCTAssertEqual(server.handshakeCount, 0, "cleared")
    XCTAssertEqual(client.sockets.count, 0, "the stream keeps its socket, nobody else holds one")
    net.assertEcho(peer, "still there")
    peer.stream.destroy()
    net.wait { accepted.peers.first?.isClosed == true }
    net.network.advance(by: 1000)
    net.destroy()
  }

  func testDHT_58_throughRealNATs() {
    for (index, filter) in [VirtualNAT.Filter.endpointIndependent, .addressDependent, .addressAndPortDependent]
      .enumerated()
    {
      for (offset, mapping) in [VirtualNAT.Mapping.endpointIndependent, .portPreserving].enumerated() {
        let net = Net(8, seed: UInt64(10 + index * 2 + offset))
        let serverSite = site(net, 1, mapping, filter)
        let clientSite = site(net, 2, .endpointIndependent, .addressAndPortDependent)
        let (server, _) = net.listen(on: serverSite.node)
        let started = net.network.now
        let peer = net.connect(clientSite.node, to: server)
        net.assertEcho(peer, "\(mapping) \(filter)")
        XCTAssertEqual(clientSite.node.statistics.punches.consistent, 1)
        XCTAssertLessThan(net.network.now - started, 3_000_000, "\(mapping) \(filter)")
        XCTAssertEqual(peer.stream.transport?.remote?.host, serverSite.nat.address)
        net.destroy()
      }
    }
  }

  func testDHT_59_traceOfTheRounds() {
    let net = Net()
    let serverSite = site(net, 1, .endpointIndependent, .addressAndPortDependent)
    let clientSite = site(net, 2, .endpointIndependent, .addressAndPortDependent)
    let (server, _) = net.listen(on: serverSite.node)
    net.network.isLogging = true
    net.network.log = []
    net.assertEcho(net.connect(clientSite.node, to: server))
    net.network.isLogging = false
    let log = net.network.log.filter { !$0.wasDropped }
    let toServer = log.filter { Datagrams.handshake($0.bytes)?.mode == .fromRelay }
    let fromServer = log.filter { Datagrams.handshake($0.bytes)?.mode == .fromServer }
    XCTAssertFalse(toServer.isEmpty)
    XCTAssertFalse(fromServer.isEmpty)
    let announcing = Set(server.announcer?.relays.map(\.peerAddress) ?? [])
    XCTAssertTrue(toServer.allSatisfy { announcing.contains($0.destination) }, "to the socket it announced from")
    XCTAssertTrue(fromServer.allSatisfy { !announcing.contains($0.source) }, "answered from a fresh socket (7.4)")
    let punchSocket = fromServer.first?.source
    let rounds = log.filter { Datagrams.holepunch($0.bytes)?.mode == .fromRelay }
    XCTAssertGreaterThanOrEqual(rounds.count, 2)
    XCTAssertTrue(rounds.first.map { announcing.contains($0.destination) } ?? false, "round 0 to the announcing socket")
    XCTAssertEqual(rounds.last?.destination, punchSocket, "round 1 to the punch socket")
    let answers = log.filter { Datagrams.holepunch($0.bytes)?.mode == .fromServer }
    XCTAssertTrue(answers.allSatisfy { $0.source == punchSocket })
    XCTAssertTrue(answers.allSatisfy { Datagrams.holepunch($0.bytes)?.id == 0 })
    let probes = log.filter { $0.bytes == [0] }
    XCTAssertGreaterThanOrEqual(probes.count, 2)
    net.destroy()
  }

  func testDHT_60_vetoOfTheServer() {
    let net = Net()
    var options = ServerOptions()
    options.shareLocalAddress = false
    var asked = 0
    options.holepunch = { _, _, remote, own in
      asked += 1
      XCTAssertFalse(remote.isEmpty)
      XCTAssertFalse(own.isEmpty)
      return false
    }
    let (server, accepted) = net.listen(on: net.makeNode(), options: options)
    var connect = ConnectOptions()
    connect.localConnection = false
    let peer = net.connect(net.makeNode(), to: server, options: connect)
    net.wait { peer.isClosed }
    XCTAssertEqual(code(peer), "REMOTE_ABORTED")
    XCTAssertEqual(asked, 1)
    XCTAssertTrue(accepted.peers.isEmpty)
    net.network.advance(by: 20_000)
    XCTAssertEqual(server.handshakeCount, 0)
    XCTAssertEqual(server.node.sockets.count, 0)
    net.destroy()
  }

  func testDHT_60_vetoOfTheClient() {
    let net = Net()
    var options = ServerOptions()
    options.shareLocalAddress = false
    let (server, accepted) = net.listen(on: net.makeNode(), options: options)
    var connect = ConnectOptions()
    connect.localConnection = false
    connect.holepunch = { _, _, _, _ in false }
    let peer = net.connect(net.makeNode(), to: server, options: connect)
    net.wait { peer.isClosed }
    XCTAssertEqual(code(peer), "HOLEPUNCH_ABORTED")
    net.network.advance(by: 1000)
    XCTAssertEqual(server.node.sockets.count, 0, "the server was told")
    XCTAssertTrue(accepted.peers.isEmpty)
    net.destroy()
  }

  func testDHT_61_failedLocalPingFallsBackToPunching() {
    let net = Net()
    let nat = VirtualNAT(
      network: net.network, address: IPv4Address(5, 5, 5, 1), mapping: .endpointIndependent,
      filter: .addressAndPortDependent)
    let a = net.network.makeHost(IPv4Address(192, 168, 1, 10), behind: nat)
    let b = net.network.makeHost(IPv4Address(192, 168, 1, 11), behind: nat)
    let (server, _) = net.listen(on: net.makeNode(on: a))
    let client = net.makeNode(on: b)
    // The local network separates its stations; the NAT box turns packets to its own outside around.
    net.network.shouldDrop = { $0.destination.host.isPrivate && $0.source.host.isPrivate }
    net.assertEcho(net.connect(client, to: server), within: 30_000)
    XCTAssertEqual(client.statistics.punches.consistent, 1)
    net.destroy()
  }

  func testDHT_62_sameLocalNetworkOpensOnBothSides() {
    let net = Net()
    let nat = VirtualNAT(
      network: net.network, address: IPv4Address(5, 5, 5, 1), mapping: .endpointIndependent,
      filter: .addressAndPortDependent)
    let a = net.network.makeHost(IPv4Address(192, 168, 1, 10), behind: nat)
    let b = net.network.makeHost(IPv4Address(192, 168, 1, 11), behind: nat)
    let (server, accepted) = net.listen(on: net.makeNode(on: a), keyPair: KeyPair(seed: Bytes32(repeating: 4)))
    let client = net.makeNode(on: b)
    var options = ConnectOptions()
    options.keyPair = KeyPair(seed: Bytes32(repeating: 5))
    let started = net.network.now
    let peer = net.connect(client, to: server, options: options)
    net.assertEcho(peer)
    XCTAssertLessThan(net.network.now - started, 1_000_000)
    XCTAssertEqual(accepted.peers.count, 1)
    XCTAssertEqual(peer.stream.transport?.remote?.host, a.address, "the local path")
    net.destroy()
  }

  /// Two homes behind one public address may use the same private ones: the pong may be another host's.
  func testDHT_C1_pongOfAStrangerOnTheLocalNetworkDoesNotWin() {
    let net = Net()
    let nat = VirtualNAT(
      network: net.network, address: IPv4Address(5, 5, 5, 1), mapping: .endpointIndependent,
      filter: .addressAndPortDependent)
    let a = net.network.makeHost(IPv4Address(192, 168, 1, 10), behind: nat)
    let b = net.network.makeHost(IPv4Address(192, 168, 1, 11), behind: nat)
    let (server, accepted) = net.listen(on: net.makeNode(on: a))
    let client = net.makeNode(on: b)
    // The local address answers pings and knows nothing of the server.
    net.network.shouldDrop = { packet in
      guard packet.destination.host.isPrivate, packet.source.host.isPrivate else { return false }
      if let request = Datagrams.request(packet.bytes) { return !request.isInternal }
      return Datagrams.response(packet.bytes) == nil
    }
    let peer = net.connect(client, to: server)
    net.assertEcho(peer, within: 10_000)
    XCTAssertEqual(client.statistics.punches.consistent, 1)
    XCTAssertEqual(peer.stream.transport?.remote?.host, nat.address)
    XCTAssertEqual(accepted.peers.count, 1)
    net.destroy()
  }

  /// A server has made room for other clients between its message 2 and the proof that its local address is right: the
  /// message that asks for the proof is a new one to it, and its answer another. That answer counts.
  func testALocalServerThatHasForgottenTheHandshakeMakesAnotherOne() {
    let net = Net()
    let nat = VirtualNAT(
      network: net.network, address: IPv4Address(5, 5, 5, 1), mapping: .endpointIndependent,
      filter: .addressAndPortDependent)
    let a = net.network.makeHost(IPv4Address(192, 168, 1, 10), behind: nat)
    let b = net.network.makeHost(IPv4Address(192, 168, 1, 11), behind: nat)
    let (server, accepted) = net.listen(on: net.makeNode(on: a))
    let client = net.makeNode(on: b)
    let forgotten = forgets(net, server) { packet, request in
      packet.source.host == b.address && packet.destination.host == a.address && request.isInternal
    }
    let peer = net.connect(client, to: server)
    net.assertEcho(peer, within: 3000)
    XCTAssertEqual(forgotten(), 1)
    XCTAssertEqual(peer.stream.transport?.remote?.host, a.address, "the local path")
    XCTAssertEqual(accepted.peers.count, 1)
    net.destroy()
  }

  /// The same on another network: what asks the server for a hole is not answered, and another handshake is made.
  func testAServerThatHasForgottenTheHandshakeIsAskedAgain() {
    let net = Net(10)
    let serverSite = site(net, 1, .endpointIndependent, .addressAndPortDependent)
    let clientSite = site(net, 2, .endpointIndependent, .addressAndPortDependent)
    let (server, accepted) = net.listen(on: serverSite.node)
    let punch = UInt64(Command.peerHolepunch.rawValue)
    let forgotten = forgets(net, server) { packet, request in
      packet.source.host == clientSite.nat.address && !request.isInternal && request.command == punch
    }
    let peer = net.connect(clientSite.node, to: server)
    net.assertEcho(peer, within: 30_000)
    XCTAssertEqual(forgotten(), 1)
    XCTAssertEqual(accepted.peers.count, 1)
    net.destroy()
  }

  func testDHT_66_consistentServerRandomClient() {
    let net = Net(10)
    let serverSite = site(net, 1, .endpointIndependent, .addressAndPortDependent)
    let clientSite = site(net, 2, .addressAndPortDependent, .addressAndPortDependent)
    let (server, _) = net.listen(on: serverSite.node)
    let peer = net.connect(clientSite.node, to: server)
    net.assertEcho(peer, within: 60_000)
    XCTAssertEqual(clientSite.node.statistics.punches.random, 1)
    XCTAssertEqual(serverSite.node.statistics.punches.random, 1)
    net.network.advance(by: 20_000)
    XCTAssertEqual(clientSite.node.sockets.count, 0, "all birthday sockets are given back")
    net.destroy()
  }

  func testDHT_66_randomServerConsistentClient() {
    let net = Net(10)
    let serverSite = site(net, 1, .addressAndPortDependent, .addressAndPortDependent)
    let clientSite = site(net, 2, .endpointIndependent, .addressAndPortDependent)
    let (server, _) = net.listen(on: serverSite.node)
    let peer = net.connect(clientSite.node, to: server)
    net.assertEcho(peer, within: 60_000)
    XCTAssertEqual(clientSite.node.statistics.punches.random, 1)
    net.network.advance(by: 20_000)
    XCTAssertEqual(serverSite.node.sockets.count, 0)
    net.destroy()
  }

  func testDHT_67_secondRandomPunchHasToWait() {
    let net = Net(10)
    let serverSite = site(net, 1, .endpointIndependent, .addressAndPortDependent)
    let clientSite = site(net, 2, .addressAndPortDependent, .addressAndPortDependent)
    let (server, _) = net.listen(on: serverSite.node)
    net.assertEcho(net.connect(clientSite.node, to: server), within: 60_000)
    let second = net.connect(clientSite.node, to: server)
    net.wait { second.isClosed }
    XCTAssertEqual(code(second), "HOLEPUNCH_ABORTED")
    net.network.advance(by: 25_000)
    net.assertEcho(net.connect(clientSite.node, to: server), within: 60_000)
    net.destroy()
  }

  func testBothRandomIsRefusedWithAReason() {
    let net = Net(10)
    let serverSite = site(net, 1, .addressAndPortDependent, .addressAndPortDependent)
    let clientSite = site(net, 2, .addressAndPortDependent, .addressAndPortDependent)
    let (server, accepted) = net.listen(on: serverSite.node)
    let peer = net.connect(clientSite.node, to: server)
    net.wait(60_000) { peer.isClosed }
    XCTAssertTrue(
      ["HOLEPUNCH_DOUBLE_RANDOMIZED_NATS", "REMOTE_ABORTED"].contains(code(peer)), "\(code(peer) ?? "nil")")
    XCTAssertTrue(accepted.peers.isEmpty)
    net.network.advance(by: 20_000)
    XCTAssertEqual(serverSite.node.sockets.count, 0)
    XCTAssertEqual(clientSite.node.sockets.count, 0)
    net.destroy()
  }

  func testDHT_68_repeatedRequestIsAnsweredAgainAndPunchesOnce() {
    let net = Net()
    var options = ServerOptions()
    options.shareLocalAddress = false
    let (server, _) = net.listen(on: net.makeNode(), options: options)
    let client = net.makeNode()
    // The first answer of every kind is lost.
    var lost: Set<UInt16> = []
    net.network.shouldDrop = { packet in
      guard Datagrams.holepunch(packet.bytes)?.mode == .fromServer,
        let tid = Datagrams.request(packet.bytes)?.tid
      else { return false }
      return lost.insert(tid).inserted
    }
    var connect = ConnectOptions()
    connect.localConnection = false
    net.assertEcho(net.connect(client, to: server, options: connect))
    XCTAssertGreaterThanOrEqual(lost.count, 1)
    XCTAssertEqual(server.node.statistics.punches.consistent, 1)
    net.destroy()
  }

  func testDHT_C12_anotherRelayWhenTheFirstFallsSilent() {
    let net = Net()
    var options = ServerOptions()
    options.shareLocalAddress = false
    let (server, accepted) = net.listen(on: net.makeNode(), options: options)
    var connect = ConnectOptions()
    connect.localConnection = false
    // The node that carried the handshake is gone afterwards.
    var used: Endpoint?
    net.network.shouldDrop = { packet in
      guard Datagrams.holepunch(packet.bytes)?.mode == .fromClient else { return false }
      if used == nil { used = packet.destination }
      return packet.destination == used
    }
    let started = net.network.now
    net.assertEcho(net.connect(net.makeNode(), to: server, options: connect))
    XCTAssertEqual(accepted.peers.count, 1)
    XCTAssertGreaterThan(net.network.now - started, 4_000_000, "four transmissions to the first")
    XCTAssertLessThan(net.network.now - started, 7_000_000)
    net.destroy()
  }

  func testDHT_65_unverifiedAddressesGetTwoProbes() {
    let net = Net()
    let node = net.makeNode()
    let puncher = Puncher(node: node, isInitiator: true, remoteFirewall: .consistent)
    let stranger = Endpoint(host: IPv4Address(77, 7, 7, 7), port: 777)
    for index in 1...4 {
      puncher.addSample(
        Endpoint(host: IPv4Address(8, 8, 8, 8), port: 8),
        from: Endpoint(host: IPv4Address(8, 8, 8, UInt8(index)), port: 1))
    }
    puncher.updateRemote(
      HolepunchPayload(firewall: .consistent, punching: true, addresses: [stranger]), verifiedHost: nil,
      observedHost: stranger.host)
    var aborted = 0
    puncher.onAbort = { aborted += 1 }
    net.network.isLogging = true
    net.network.log = []
    XCTAssertTrue(puncher.punch())
    let start = net.network.now
    net.network.advance(by: 12_000)
    let probes = net.network.log.filter { $0.bytes == [0] && $0.destination == stranger }
    XCTAssertEqual(probes.map { ($0.sentAt - start) / 1_000_000 }, [3, 7], "rounds 4 and 8 of 10")
    XCTAssertEqual(aborted, 1)
    XCTAssertTrue(puncher.isDestroyed)
    // Random strategies refuse an unverified address altogether.
    let other = Puncher(node: node, isInitiator: true, remoteFirewall: .random)
    for index in 1...4 {
      other.addSample(
        Endpoint(host: IPv4Address(8, 8, 8, 8), port: 8),
        from: Endpoint(host: IPv4Address(8, 8, 8, UInt8(index)), port: 1))
    }
    other.updateRemote(
      HolepunchPayload(firewall: .random, punching: true, addresses: [stranger]), verifiedHost: nil,
      observedHost: stranger.host)
    XCTAssertFalse(other.punch())
    other.destroy()
    net.destroy()
  }

  func testE8_serverWithoutPunchingRefusesAtOnce() {
    let net = Net()
    var options = ServerOptions()
    options.allowsHolepunching = false
    options.shareLocalAddress = false
    let (server, _) = net.listen(on: net.makeNode(), options: options)
    var connect = ConnectOptions()
    connect.localConnection = false
    let started = net.network.now
    let peer = net.connect(net.makeNode(), to: server, options: connect)
    net.wait { peer.isClosed }
    XCTAssertEqual(code(peer), "REMOTE_ABORTED")
    XCTAssertLessThan(net.network.now - started, 1_000_000, "not after four seconds of retries")
    net.destroy()
  }

  /// hyperdht.md C-1: whatever the timing between peers of one network, either both sides have the connection or none.
  func testDHT_C1_noHalfOpenConnections() {
    var connected = 0
    for seed in 0..<25 {
      let net = Net(5, seed: UInt64(100 + seed))
      let host = net.network.makeHost()
      let (server, accepted) = net.listen(on: net.makeNode(on: host))
      let client = net.makeNode(on: seed % 2 == 0 ? host : net.network.makeHost())
      let peer = net.connect(client, to: server)
      net.wait(10_000, "seed \(seed)") { peer.opened > 0 || peer.isClosed }
      net.wait(2000, "server side, seed \(seed)") { !accepted.peers.isEmpty }
      if accepted.peers.count == 1, !peer.isClosed { connected += 1 }
      net.destroy()
    }
    XCTAssertEqual(connected, 25)
  }
}
