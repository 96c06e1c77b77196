import HyperEncoding
import HyperEnvironment
import HyperSecretStream
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine

/// What nodes keep of handshakes and streams that have ended, and what they say about a lost relay.
final class RememberedHandshakeTests: XCTestCase {
  /// hyperdht.md 7.6
  func testEndedHandshakesAreForgottenAfterTheirTime() {
    let net = Net(4)
    let (server, _) = net.listen(on: net.nodes[1])
    for _ in 0..<20 {
      let client = net.makeNode()
      let peer = net.connect(client, to: server)
      net.assertEcho(peer)
      net.settle { done in client.destroy { done(()) } }
    }
    XCTAssertEqual(server.table.endedCount, 20)
    net.network.advance(by: Limits.Server.handshakeClearWait + 1000)
    XCTAssertEqual(server.handshakeCount, 0)
    XCTAssertEqual(server.table.endedCount, 0, "nothing holds them any more")
    net.destroy()
  }

  /// Indices are used again, and never two at a time.
  func testIndicesOfForgottenHandshakesAreUsedAgain() {
    let net = Net(4)
    let (server, _) = net.listen(on: net.nodes[1])
    for _ in 0..<3 {
      for _ in 0..<5 {
        let client = net.makeNode()
        net.assertEcho(net.connect(client, to: server))
        net.settle { done in client.destroy { done(()) } }
      }
      XCTAssertLessThanOrEqual(server.table.sessions.count, 5)
      net.network.advance(by: Limits.Server.handshakeClearWait + 1000)
    }
    net.destroy()
  }

  func testATableGivesTheMemoryOfABurstBack() {
    let net = Net(4)
    let (server, _) = net.listen(on: net.nodes[1])
    let client = net.makeNode()
    for _ in 0...Limits.Server.sparePlaces {
      let peer = net.connect(client, to: server)
      net.wait { peer.opened > 0 }
    }
    XCTAssertGreaterThan(server.table.sessions.count, Limits.Server.sparePlaces)
    net.network.advance(by: Limits.Server.handshakeClearWait + 1000)
    XCTAssertTrue(server.table.sessions.isEmpty)
    net.assertEcho(net.connect(client, to: server))
    XCTAssertEqual(server.table.sessions.count, 1)
    net.destroy()
  }

  /// Some of many, the same in every run.
  func testRemoteHostsAreThoseOfTheLowestIDs() throws {
    let net = Net(1)
    let environment = net.nodes[0].environment
    let streams = RawStreams(environment: environment)
    let socket = environment.makeSocket()
    try socket.bind(host: .any, port: 0)
    let kept = try (UInt8(1)...60).map { number -> any TransportStream in
      let stream = try XCTUnwrap(streams.make())
      // Each host twice.
      try stream.connect(socket: socket, remoteID: 1, to: Endpoint(host: IPv4Address(9, 9, 9, number / 2), port: 1))
      return stream
    }
    var expected: [IPv4Address] = []
    for host in kept.sorted(by: { $0.localID < $1.localID }).compactMap(\.remote?.host) where !expected.contains(host) {
      expected.append(host)
    }
    for limit in [0, 1, 7, 30] {
      XCTAssertEqual(streams.remoteHosts(atMost: limit), Array(expected.prefix(limit)), "\(limit)")
    }
    XCTAssertEqual(streams.remoteHosts(atMost: 100), expected)
    for stream in kept { stream.destroy() }
    socket.close()
    net.destroy()
  }

  func testStreamsArePrunedBelowTheBound() {
    let net = Net(1)
    let streams = RawStreams(environment: net.nodes[0].environment)
    var kept: [any TransportStream] = []
    // More than half the bound alive at a prune: twice as many would be above it.
    while kept.count < Limits.rawStreams / 2 + 1 {
      guard let stream = streams.make() else { return XCTFail("below the bound") }
      kept.append(stream)
    }
    XCTAssertLessThanOrEqual(streams.pruneAt, Limits.rawStreams)
    // Dead entries up to the bound, and beyond: they are no streams.
    for _ in 0..<Limits.rawStreams {
      guard let stream = streams.make() else { return XCTFail("dead entries count") }
      stream.destroy()
    }
    XCTAssertLessThanOrEqual(streams.pruneAt, Limits.rawStreams)
    for stream in kept { stream.destroy() }
    net.destroy()
  }

  func testALostRelayIsNamedOnceWithTheCodeOfItsError() {
    let own = RelayControl.reason(EncryptedStreamError(DHTError.relayAborted("the relay does not speak the protocol")))
    XCTAssertEqual(own, "the relay does not speak the protocol")
    XCTAssertEqual(
      DHTError.relayAborted(own).description, "RELAY_ABORTED: the relay does not speak the protocol")
    XCTAssertEqual(
      RelayControl.reason(.transport(.timedOut)),
      "the connection with the relay failed: ETIMEDOUT: connection timed out")
    let dial = DHTError.peerNotFound
    XCTAssertEqual(
      RelayControl.reason(EncryptedStreamError(dial)), "the connection with the relay failed: \(dial.description)")
  }
}
