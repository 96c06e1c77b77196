import HyperCrypto
import HyperEncoding
import HyperEnvironment
import HyperRPC
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine

/// Entering networks: small ones, late ones, and again after a resume.
final class EnteringTests: XCTestCase {
  /// A network of one, two or three nodes is entered, stores announcements and connects.
  func testNetworksOfOneTwoAndThreeNodes() {
    for size in 1...3 {
      for seed in 0..<10 as Range<UInt64> {
        let net = Net(size, seed: 3000 + seed)
        XCTAssertTrue(net.nodes.allSatisfy { $0.rpc.id != nil }, "\(size) nodes, seed \(seed): all store")
        let server = net.makeNode()
        XCTAssertTrue(server.rpc.isOnline)
        XCTAssertGreaterThan(server.rpc.nodeCount, 0, "\(size) nodes, seed \(seed)")
        let (listener, _) = net.listen(on: server)
        XCTAssertFalse(listener.relayAddresses.isEmpty, "\(size) nodes, seed \(seed): announced")
        let client = net.makeNode()
        let peer = net.connect(client, to: listener)
        net.wait { peer.opened > 0 || peer.isClosed }
        XCTAssertEqual(peer.opened, 1, "\(size) nodes, seed \(seed): \(String(describing: peer.closeError))")
        net.destroy()
      }
    }
  }

  /// Two peers behind NATs in a network that is too small to tell what kind of NAT they are behind: connected, or an
  /// error that says what is missing.
  func testPunchingInSmallNetworks() {
    for size in 1...4 {
      for seed in 0..<5 as Range<UInt64> {
        let net = Net(size, seed: 3100 + seed)
        func hidden(_ number: UInt8) -> DHTNode {
          let nat = net.network.makeNAT(mapping: .endpointIndependent, filter: .addressAndPortDependent)
          return net.makeNode(on: net.network.makeHost(IPv4Address(192, 168, number, 2), behind: nat))
        }
        let (listener, _) = net.listen(on: hidden(1))
        let peer = net.connect(hidden(2), to: listener)
        net.wait(60_000) { peer.opened > 0 || peer.isClosed }
        if peer.opened == 0 {
          print("punching with \(size) nodes, seed \(seed): \(String(describing: peer.closeError))")
        }
        XCTAssertEqual(peer.opened, 1, "\(size) nodes, seed \(seed): \(String(describing: peer.closeError))")
        net.destroy()
      }
    }
  }

  /// A server that listens before the network is there is announced soon after it is.
  func testAServerIsAnnouncedSoonAfterTheNetworkIsThere() throws {
    print("seeds 3200..<3300")
    for seed in 3200..<3300 as Range<UInt64> {
      let network = VirtualNetwork(seed: seed)
      let place = network.makeHost()
      let options = DHTOptions(bootstrap: [.endpoint(Endpoint(host: place.address, port: 49_737))], port: 0)
      let node = DHTNode(environment: network.makeHost(), options: options)
      let server = node.makeServer()
      var states: [NetworkState] = []
      node.onNetworkState.add { states.append($0) }
      server.listen(keyPair: KeyPair(seed: Bytes32(repeating: 9)))
      network.advance(by: 5_000 + seed % 10 * 25_000)
      XCTAssertEqual(states, [.offline], "seed \(seed)")
      XCTAssertEqual(server.relayAddresses, [])
      let first = try DHTNode.bootstrapper(environment: place, port: 49_737, host: place.address)
      first.start()
      let begun = network.now
      XCTAssertTrue(network.run(within: 60_000) { !server.relayAddresses.isEmpty }, "seed \(seed)")
      XCTAssertLessThan(network.now - begun, 10_000_000, "seed \(seed): the first probe brings it about")
      XCTAssertEqual(states, [.offline, .online], "seed \(seed)")
      for one in [node, first] { one.destroy(force: true) }
      network.advance(by: 1000)
    }
  }

  /// A silent but not dead network: cycles that find no node come less and less often, and never rarer than once in
  /// 45 s.
  func testCyclesWithoutANodeBackOff() throws {
    let network = VirtualNetwork(seed: 3300, isLogging: true)
    // It answers pings, so the node is online, and refuses everything else.
    let peer = network.makeHost()
    let socket = peer.makeSocket()
    try socket.bind(host: .any, port: 49_737)
    let own = Endpoint(host: peer.address, port: 49_737)
    var searches: [UInt64] = []
    socket.onMessage = { bytes, source in
      guard let request = Datagrams.request(Array(bytes)) else { return }
      if !request.isInternal { searches.append(network.now) }
      socket.send(Datagrams.encodeResponse(tid: request.tid, to: source, value: nil), to: source)
    }
    let node = DHTNode(environment: network.makeHost(), options: DHTOptions(bootstrap: [.endpoint(own)], port: 0))
    let server = node.makeServer()
    server.listen(keyPair: KeyPair(seed: Bytes32(repeating: 9)))
    network.advance(by: 600_000)
    XCTAssertTrue(node.rpc.isOnline)
    let gaps = zip(searches, searches.dropFirst()).map { ($1 - $0) / 1000 }
    XCTAssertLessThan(searches.count, 25)
    XCTAssertGreaterThanOrEqual(gaps.last ?? 0, Limits.Announce.longestPause)
    XCTAssertLessThan(gaps.max() ?? .max, 60_000)
    node.destroy(force: true)
    socket.close()
    network.advance(by: 1000)
  }

  /// The address that the sockets are bound to is gone: resume says so, and the node comes back with it.
  func testAFailedResumeIsReportedAndRecovers() throws {
    let net = Net(seed: 3400)
    let host = net.network.makeHost()
    let home = host.address
    let node = net.makeNode(on: host) { $0.host = home }
    let (server, _) = net.listen(on: node)
    net.settle { done in node.suspend { done(()) } }
    host.move(to: IPv4Address(77, 7, 7, 7))
    let result: Result<Void, DHTError>? = net.settle { node.resume($0) }
    guard case .failure(.bindFailed(let code, _)) = result else { return XCTFail("\(String(describing: result))") }
    XCTAssertLessThan(code, 0)
    XCTAssertTrue(node.isSuspended)
    net.network.advance(by: 30_000)
    XCTAssertTrue(node.isSuspended)
    XCTAssertEqual(server.relayAddresses, [])
    host.move(to: home)
    net.wait(10_000) { !node.isSuspended && !server.relayAddresses.isEmpty }
    let client = net.makeNode()
    let peer = net.connect(client, to: server)
    net.wait { peer.opened == 1 }
    net.destroy()
  }

  /// `suspend` after a failed resume is the last word.
  func testSuspendEndsTheRecovery() throws {
    let net = Net(seed: 3500)
    let host = net.network.makeHost()
    let home = host.address
    let node = net.makeNode(on: host) { $0.host = home }
    net.settle { done in node.suspend { done(()) } }
    host.move(to: IPv4Address(77, 7, 7, 8))
    let result: Result<Void, DHTError>? = net.settle { node.resume($0) }
    XCTAssertEqual(result.map(isSuccess), false)
    net.settle { done in node.suspend { done(()) } }
    host.move(to: home)
    net.network.advance(by: 60_000)
    XCTAssertTrue(node.isSuspended)
    XCTAssertEqual(host.openSocketCount, 0)
    // A resume that is overtaken by a suspend says so.
    var overtaken: Result<Void, DHTError>?
    node.resume { overtaken = $0 }
    node.suspend()
    net.network.advance(by: 1000)
    XCTAssertEqual(overtaken.map(isSuccess), false)
    XCTAssertTrue(node.isSuspended)
    XCTAssertTrue(node.rpc.isSuspended)
    let again: Result<Void, DHTError>? = net.settle { node.resume($0) }
    XCTAssertEqual(again.map(isSuccess), true)
    XCTAssertFalse(node.isSuspended)
    net.destroy()
  }
}
