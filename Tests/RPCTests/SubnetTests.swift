import HyperEncoding
import HyperTestVectors
import HyperswarmTesting
import XCTest

@testable import HyperRPC

/// dht-rpc.md B-2, B-3 and C-10: addresses are what an attacker has to pay for.
final class SubnetTests: RPCTestCase {
  private var network = VirtualNetwork(seed: 1, isLogging: true)

  override func setUp() { network = VirtualNetwork(seed: 10, isLogging: true) }

  private func startedNode(_ configure: (inout RPCConfiguration) -> Void = { _ in }) -> RPCNode {
    let node = makeNode(network, bootstrap: [], configure)
    node.start()
    network.run(within: 1000) { node.isBootstrapped }
    return node
  }

  /// `count` ports of the host whose ids are nearest to the target, as an attacker would look for them.
  private func grind(_ hosts: [IPv4Address], nearestTo target: Bytes32, ports: UInt16, count: Int) -> [Endpoint] {
    var all: [(distance: Bytes32, endpoint: Endpoint)] = []
    for host in hosts {
      for port in 1...ports {
        let endpoint = Endpoint(host: host, port: port)
        all.append((NodeAddress.id(of: endpoint).distance(to: target), endpoint))
      }
    }
    return all.sorted { $0.distance < $1.distance }.prefix(count).map(\.endpoint)
  }

  func testRPC_C10_quotaCountsHostsAndSubnets() {
    var quota = SubnetQuota(SubnetQuota.Bounds(perHost: 2, perSubnet: 3))
    let a = IPv4Address(9, 9, 9, 1)
    let b = IPv4Address(9, 9, 9, 2)
    quota.add(a)
    XCTAssertTrue(quota.hasRoom(for: a))
    quota.add(a)
    XCTAssertFalse(quota.hasRoom(for: a))
    XCTAssertTrue(quota.hasRoom(for: b))
    quota.add(b)
    XCTAssertFalse(quota.hasRoom(for: b), "the subnet is full")
    XCTAssertTrue(quota.hasRoom(for: IPv4Address(9, 9, 10, 1)))
    quota.remove(a)
    XCTAssertTrue(quota.hasRoom(for: a))
    quota.remove(IPv4Address(7, 7, 7, 7))
    for local in [IPv4Address.loopback, IPv4Address(10, 1, 1, 1), IPv4Address(192, 168, 1, 1)] {
      for _ in 0..<100 { quota.add(local) }
      XCTAssertTrue(quota.hasRoom(for: local), "\(local)")
    }
  }

  func testRPC_C10_tableLimits() {
    let node = startedNode()
    for port in 1...500 as ClosedRange<UInt16> { node.addNode(Endpoint(host: IPv4Address(9, 9, 9, 9), port: port)) }
    XCTAssertEqual(node.nodeCount, Limits.tableNodesPerHost)
    for last in 1...250 as ClosedRange<UInt8> { node.addNode(Endpoint(host: IPv4Address(9, 9, 9, last), port: 9)) }
    XCTAssertEqual(node.nodeCount, Limits.tableNodesPerSubnet)
    XCTAssertGreaterThan(node.statistics.drops.crowdedSubnets, 700)
    for index in 0..<256 {
      let inBucket = node.table.bucket(at: index)
      XCTAssertLessThanOrEqual(inBucket.count, Limits.bucketNodesPerSubnet)
      let perHost = Dictionary(grouping: inBucket, by: \.endpoint.host).mapValues(\.count)
      XCTAssertLessThanOrEqual(perHost.values.max() ?? 0, Limits.bucketNodesPerHost)
    }
    // A node that leaves makes room.
    if let node0 = node.recency.oldest { node.remove(node0) }
    let before = node.nodeCount
    for last in 1...250 as ClosedRange<UInt8> { node.addNode(Endpoint(host: IPv4Address(9, 9, 9, last), port: 10)) }
    XCTAssertEqual(node.nodeCount, before + 1)
    node.recentre(on: Bytes32(repeating: 3))
    XCTAssertLessThanOrEqual(node.nodeCount, Limits.tableNodesPerSubnet)
    destroy([node], network)
  }

  /// Test networks on one machine or in one private network are not limited; nor is a node that is configured so.
  func testRPC_C10_localAddressesAreExempt() {
    for (host, limits) in [
      (IPv4Address.loopback, true), (IPv4Address(192, 168, 7, 7), true), (IPv4Address(9, 9, 9, 9), false),
    ] {
      let node = startedNode { $0.limitsSubnets = limits }
      for port in 1...200 as ClosedRange<UInt16> { node.addNode(Endpoint(host: host, port: port)) }
      XCTAssertGreaterThan(node.nodeCount, 50, "\(host)")
      destroy([node], network)
    }
  }

  /// A bucket with enough nodes of a subnet exchanges a dead one of these for a newcomer, never one of others.
  func testRPC_C10_deadNodesOfACrowdedSubnetAreReplaced() throws {
    let node = startedNode()
    node.recentre(on: Bytes32())
    func far(_ host: IPv4Address) -> Endpoint {
      var port: UInt16 = 1
      while NodeAddress.id(of: Endpoint(host: host, port: port)).leadingZeroBitCount != 0 { port += 1 }
      return Endpoint(host: host, port: port)
    }
    let stranger = far(IPv4Address(8, 8, 8, 8))
    node.addNode(stranger)
    node.tick += 1
    let crowd = (1...6).map { far(IPv4Address(9, 9, 9, $0)) }
    for endpoint in crowd { node.addNode(endpoint) }
    XCTAssertEqual(node.nodeCount, 6)
    XCTAssertFalse(node.recentNodes().contains(crowd[5]))
    node.tick += 1
    node.addNode(crowd[5])
    XCTAssertEqual(node.repings, 1)
    network.advance(by: 4500)
    XCTAssertTrue(node.recentNodes().contains(crowd[5]), "the silent one has gone")
    XCTAssertTrue(node.recentNodes().contains(stranger), "not asked, though older")
    XCTAssertEqual(node.nodeCount, 6)
    destroy([node], network)
  }

  func testRPC_C10_replacementCache() throws {
    let node = startedNode()
    node.recentre(on: Bytes32())
    var far: [Endpoint] = []
    var index: UInt32 = 0
    while far.count < 40 {
      index += 1
      let endpoint = Endpoint(host: IPv4Address(value: 9 << 24 | index << 8 | 9), port: 9)
      if NodeAddress.id(of: endpoint).leadingZeroBitCount == 0 { far.append(endpoint) }
    }
    for endpoint in far { node.addNode(endpoint) }
    XCTAssertEqual(node.nodeCount, 20)
    XCTAssertEqual(node.replacements.count, Limits.replacementsPerBucket, "bounded")
    // The latest heard takes the place of one that goes.
    node.addNode(far[35])
    node.remove(try XCTUnwrap(node.table.node(NodeAddress.id(of: far[3]))))
    XCTAssertEqual(node.nodeCount, 20)
    XCTAssertTrue(node.recentNodes().contains(far[35]))
    XCTAssertEqual(node.statistics.ping.tx, 0, "heard just now")
    // One that was heard long ago is asked at once.
    node.tick += 100
    node.remove(try XCTUnwrap(node.table.node(NodeAddress.id(of: far[4]))))
    XCTAssertEqual(node.nodeCount, 20)
    XCTAssertTrue(node.recentNodes().contains(far[39]))
    XCTAssertEqual(node.statistics.ping.tx, 1)
    // One per subnet.
    var cache = ReplacementCache()
    for last in 1...9 as ClosedRange<UInt8> {
      let endpoint = Endpoint(host: IPv4Address(9, 9, 9, last), port: 9)
      cache.add(RoutingNode(id: NodeAddress.id(of: endpoint), endpoint: endpoint, tick: 1), bucket: 0)
    }
    XCTAssertEqual(cache.count, 1)
    destroy([node], network)
  }

  func testRPC_C10_closestSet() {
    func reply(_ host: IPv4Address, _ distance: UInt8) -> (Response, Bytes32) {
      var bytes = [UInt8](repeating: 0, count: 32)
      bytes[0] = distance
      let id = Bytes32(bytes) ?? Bytes32()
      let from = NodeAddress(id: id, endpoint: Endpoint(host: host, port: UInt16(distance) + 1))
      let socket = network.makeHost().makeSocket()
      return (
        Response(
          tid: 0, roundTripTime: 0, from: from, to: from.endpoint, token: nil, closerNodes: [], error: 0, value: nil,
          socket: socket), id
      )
    }
    func hosts(_ set: ClosestSet, in subnet: UInt8) -> Int {
      set.replies.filter { $0.from.host.octets[0] == subnet }.count
    }
    var set = ClosestSet(isDiverse: true)
    // Forty attackers in one /24, all nearer than the honest ones, in an order that is none.
    for index in 0..<40 as Range<UInt8> {
      let (response, distance) = reply(IPv4Address(66, 6, 6, index / 2), index &* 7 % 40)
      set.insert(response, distance: distance)
    }
    XCTAssertEqual(set.replies.count, 20, "as long as there is nobody else")
    XCTAssertFalse(set.isFull)
    for index in 0..<30 as Range<UInt8> {
      let (response, distance) = reply(IPv4Address(9, 9, index, 9), 100 + index)
      set.insert(response, distance: distance)
    }
    XCTAssertTrue(set.isFull)
    XCTAssertEqual(set.replies.count, 20)
    XCTAssertEqual(hosts(set, in: 66), Limits.bucketNodesPerSubnet)
    XCTAssertEqual(hosts(set, in: 9), 15)
    let order = set.replies.compactMap(\.from.id)
    XCTAssertEqual(order, order.sorted())
    var distances = [UInt8](repeating: 0, count: 32)
    distances[0] = 114
    XCTAssertFalse(set.isCloser(Bytes32(distances) ?? Bytes32()), "the fifteenth honest one is the last")
    distances[0] = 113
    XCTAssertTrue(set.isCloser(Bytes32(distances) ?? Bytes32()))
  }

  /// Attackers with a whole /24 and thousands of ports sit nearer to the target than anybody else and name only each
  /// other. Without the limits they are the closest set.
  func testRPC_C10_eclipseOfATarget() throws {
    let seed: UInt64 = 1010
    for isLimited in [false, true] {
      let network = VirtualNetwork(seed: seed, isLogging: true)
      network.isLogging = false
      let honest = try makeSwarm(network, size: 40) { $0.limitsSubnets = isLimited }
      let target = Bytes32(repeating: 0x5a)
      let attackers = (1...40).map { IPv4Address(66, 6, 6, $0) }
      let evil = grind(attackers, nearestTo: target, ports: 60, count: 40)
      var environments: [IPv4Address: VirtualHost] = [:]
      var peers: [RawPeer] = []
      for endpoint in evil {
        let host = environments[endpoint.host] ?? network.makeHost(endpoint.host)
        environments[endpoint.host] = host
        let peer = try RawPeer(network, host: host, port: endpoint.port)
        peer.answerAll(closerNodes: Array(evil.prefix(20)))
        peers.append(peer)
      }
      // They make themselves known to every honest node.
      for node in honest {
        let own = try endpoint(of: node)
        for peer in peers { peer.send(RequestDatagram(tid: 1, to: own, id: peer.id, isInternal: true), to: own) }
      }
      network.advance(by: 20_000)
      let client = makeNode(network, bootstrap: [try endpoint(of: honest[0])]) { $0.limitsSubnets = isLimited }
      client.start()
      network.run(within: 20_000) { client.isBootstrapped }
      let query = client.findNode(target: target)
      var isFinished = false
      query.onFinished = { _ in isFinished = true }
      query.start()
      XCTAssertTrue(network.run(within: 30_000) { isFinished })
      let hostile = query.closestNodes.filter { environments[$0.host] != nil }.count
      print("seed \(seed): \(hostile) of \(query.closestNodes.count) nearest nodes are hostile, limits: \(isLimited)")
      if isLimited {
        report(
          attack: "40 nodes of one /24 nearer to a target than all others",
          bound: "\(Limits.bucketNodesPerSubnet) of the 20 that a query ends with", measured: "\(hostile)")
        XCTAssertLessThanOrEqual(hostile, Limits.bucketNodesPerSubnet)
        XCTAssertEqual(query.closestNodes.count, 20)
        // The nearest honest nodes are all there.
        let nearest = honest.compactMap(\.id).sorted { $0.distance(to: target) < $1.distance(to: target) }
        let found = Set(query.closestReplies.compactMap(\.from.id))
        XCTAssertGreaterThanOrEqual(nearest.prefix(15).filter { found.contains($0) }.count, 14)
        for node in honest {
          let evil = node.recentNodes().filter { environments[$0.host] != nil }.count
          XCTAssertLessThanOrEqual(evil, Limits.tableNodesPerSubnet)
        }
      } else {
        XCTAssertEqual(hostile, 20, "the attack works without the limits")
      }
      destroy(honest + [client], network)
    }
  }

  /// The same around a node instead of a target: its nearest neighbours in the table.
  func testRPC_C10_eclipseOfANode() throws {
    for isLimited in [false, true] {
      let network = VirtualNetwork(seed: 1011, isLogging: true)
      network.isLogging = false
      let honest = try makeSwarm(network, size: 30) { $0.limitsSubnets = isLimited }
      let victim = honest[7]
      let own = try endpoint(of: victim)
      let id = try XCTUnwrap(victim.id)
      let host = network.makeHost(IPv4Address(66, 6, 6, 6))
      var peers: [RawPeer] = []
      for endpoint in grind([host.address], nearestTo: id, ports: 4000, count: 60) {
        let peer = try RawPeer(network, host: host, port: endpoint.port)
        peer.answerAll()
        peers.append(peer)
        peer.send(RequestDatagram(tid: 1, to: own, id: peer.id, isInternal: true), to: own)
      }
      network.advance(by: 100)
      let nearest = victim.closestNodes(to: id).filter { $0.host == host.address }.count
      if isLimited {
        report(
          attack: "60 nodes of one host nearest to a node", bound: "\(Limits.tableNodesPerHost) in its table",
          measured: "\(nearest)")
        XCTAssertLessThanOrEqual(nearest, Limits.tableNodesPerHost)
      } else {
        XCTAssertEqual(nearest, 20)
      }
      destroy(honest, network)
    }
  }

  /// A node that names only addresses of one subnet makes a query visit a bounded number of them.
  func testRPC_C10_candidatesOfOneSubnetAreBounded() throws {
    let network = VirtualNetwork(seed: 1012, isLogging: true)
    let node = makeNode(network, bootstrap: [])
    try node.bind()
    var counter: UInt32 = 0
    let peers = try (0..<20).map { _ in try RawPeer(network) }
    for peer in peers {
      peer.onDatagram = { [unowned self, unowned peer] bytes, source in
        guard let incoming = request(bytes) else { return }
        var reply = ResponseDatagram(tid: incoming.tid, to: source)
        reply.closerNodes = (0..<20).map { _ in
          counter += 1
          return Endpoint(host: IPv4Address(66, 6, 6, UInt8(counter % 250)), port: UInt16(counter))
        }
        peer.send(reply, to: source)
      }
    }
    let query = node.findNode(target: Bytes32(), options: QueryOptions(seeds: peers.map(\.endpoint)))
    query.start()
    network.advance(by: 60_000)
    let victims = Set(network.log.map(\.destination).filter { $0.host.octets[0] == 66 })
    XCTAssertEqual(victims.count, Limits.queryCandidatesPerSubnet)
    XCTAssertTrue(query.isFinished)
    destroy([node], network)
  }
}
