import HyperCrypto
import HyperEncoding
import HyperRPC
import HyperSecretStream
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine

/// Whole networks with loss, NAT boxes and connects that are given up. Every failure is replayable by its seed.
final class ChaosTests: XCTestCase {
  private struct Outcome {
    var opened = 0
    var failed = 0
    var codes: [String: Int] = [:]
  }

  /// One world: servers and clients behind all kinds of NAT, many connects, some of them given up at random times, a
  /// restart of relays; in the end everything is destroyed and nothing may be left.
  private func run(seed: UInt64, loss: UInt64, connects: Int) -> Outcome {
    let net = Net(8, seed: seed)
    var random = SeededRandom(seed: seed &* 977)
    net.network.shouldDrop = { [unowned network = net.network] packet in
      !packet.isStream && network.random.next() % 100 < loss
    }
    let sites = makeSites(net)
    let servers = listen(net, on: sites.prefix(3), seed: seed)
    var outcome = Outcome()
    var peers: [Peer] = []
    for index in 0..<connects {
      let client = sites[3 + Int(random.next() % 3)]
      let server = servers[Int(random.next() % 3)]
      let peer = Peer(client.connect(to: server.publicKey ?? Bytes32()))
      peer.stream.write([UInt8(truncatingIfNeeded: index)])
      peers.append(peer)
      let isImpatient = random.next() % 4 == 0
      net.network.advance(by: random.next() % (isImpatient ? 300 : 3000))
      if isImpatient { peer.stream.destroy() }
      if random.next() % 20 == 0 {
        // A node, which may be a relay, goes away for a while.
        let host = net.hosts[Int(random.next() % UInt64(net.hosts.count))]
        host.isDown = true
        _ = host.schedule(after: 20_000) { host.isDown = false }
      }
    }
    net.network.run(within: 120_000) { peers.allSatisfy { $0.isClosed || !$0.received.isEmpty } }
    for (index, peer) in peers.enumerated() {
      XCTAssertTrue(peer.isClosed || !peer.received.isEmpty, "connect \(index) hangs, seed \(seed)")
      if !peer.received.isEmpty {
        XCTAssertEqual(peer.received.first, [UInt8(truncatingIfNeeded: index)])
        outcome.opened += 1
      } else if let error = peer.closeError {
        outcome.failed += 1
        outcome.codes[error.code, default: 0] += 1
      }
    }
    assertNothingIsLeft(net, sites, servers, peers, seed: seed)
    return outcome
  }

  /// Six nodes: with a public address and behind two kinds of NAT, in turns.
  private func makeSites(_ net: Net) -> [DHTNode] {
    var sites: [DHTNode] = []
    for index in 0..<6 {
      let host: VirtualHost
      switch index % 3 {
      case 0: host = net.network.makeHost()
      case 1:
        let nat = VirtualNAT(
          network: net.network, address: IPv4Address(5, 5, 5, UInt8(index)), mapping: .endpointIndependent,
          filter: .addressAndPortDependent)
        host = net.network.makeHost(IPv4Address(192, 168, UInt8(index), 10), behind: nat)
      default:
        let nat = VirtualNAT(
          network: net.network, address: IPv4Address(5, 5, 5, UInt8(index)), mapping: .portPreserving,
          filter: .addressDependent)
        host = net.network.makeHost(IPv4Address(192, 168, UInt8(index), 10), behind: nat)
      }
      sites.append(net.makeNode(on: host))
    }
    return sites
  }

  /// Echo servers.
  private func listen(_ net: Net, on sites: ArraySlice<DHTNode>, seed: UInt64) -> [DHTServer] {
    var servers: [DHTServer] = []
    for site in sites {
      let server = site.makeServer()
      server.onConnection = { stream in
        stream.onMessage = { [unowned stream] in stream.write(Array($0)) }
        stream.onEnd = { [unowned stream] in stream.end() }
      }
      var isListening = false
      server.listen { isListening = isSuccess($0) }
      net.network.run(within: 120_000) { isListening }
      XCTAssertTrue(isListening, "seed \(seed)")
      servers.append(server)
    }
    return servers
  }

  private func assertNothingIsLeft(
    _ net: Net, _ sites: [DHTNode], _ servers: [DHTServer], _ peers: [Peer], seed: UInt64
  ) {
    for peer in peers { peer.stream.destroy() }
    net.network.advance(by: 60_000)
    for site in sites {
      XCTAssertEqual(site.connectors.count, 0, "seed \(seed)")
      XCTAssertEqual(site.sockets.count, 0, "punch sockets, seed \(seed)")
      XCTAssertEqual(site.rawStreamCount, 0, "streams, seed \(seed)")
    }
    for server in servers { XCTAssertEqual(server.handshakeCount, 0, "sessions, seed \(seed)") }
    XCTAssertTrue(peers.allSatisfy { $0.closed == 1 }, "one close each, seed \(seed)")
    net.network.shouldDrop = nil
    net.destroy()
    net.network.runUntilIdle(within: 120_000)
    XCTAssertEqual(net.network.pendingEventCount, 0, "timers left, seed \(seed)")
    for site in sites {
      let host = site.environment as! VirtualHost
      XCTAssertEqual(host.openSocketCount, 0, "seed \(seed)")
      XCTAssertEqual(host.openStreamCount, 0, "seed \(seed)")
    }
  }

  func testManyConnectsWithLossAndNATs() {
    var total = Outcome()
    for seed in 1...12 {
      let outcome = run(seed: UInt64(seed), loss: UInt64(seed % 4) * 4, connects: 25)
      total.opened += outcome.opened
      total.failed += outcome.failed
      for (code, count) in outcome.codes { total.codes[code, default: 0] += count }
    }
    print("chaos: \(total.opened) opened, \(total.failed) failed \(total.codes.sorted { $0.key < $1.key })")
    XCTAssertGreaterThan(total.opened, 10 * max(total.failed, 1), "\(total.codes)")
  }

  /// Nodes, servers and streams are released once no reference is left.
  func testNothingKeepsADestroyedNodeAlive() {
    weak var weakNode: DHTNode?
    weak var weakServer: DHTServer?
    weak var weakStream: EncryptedStream?
    autoreleasing {
      let net = Net(4)
      let node = net.makeNode()
      let (server, accepted) = net.listen(on: node)
      let peer = net.connect(net.makeNode(), to: server)
      net.assertEcho(peer)
      weakNode = node
      weakServer = server
      weakStream = accepted.peers.first?.stream
      net.destroy()
      net.network.runUntilIdle(within: 60_000)
    }
    XCTAssertNil(weakStream)
    XCTAssertNil(weakServer)
    XCTAssertNil(weakNode)
  }

  private func autoreleasing(_ body: () -> Void) { body() }
}
