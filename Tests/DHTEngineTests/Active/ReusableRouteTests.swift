import HyperCrypto
import HyperEncoding
import HyperEnvironment
import HyperSecretStream
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine

/// hyperdht.md 14.3: connections that use the path of one before, through the hole that was punched for it.
final class ReusableRouteTests: XCTestCase {
  private struct World {
    let net = Net()
    let server: DHTServer
    let accepted: Accepted
    let client: DHTNode
    var options = ConnectOptions()

    /// Both believe to be behind a NAT and hide their local addresses, so that holes are punched.
    init(server serverWants: Bool, client clientWants: Bool) {
      var options = ServerOptions()
      options.shareLocalAddress = false
      options.reusableSocket = serverWants
      (server, accepted) = net.listen(on: net.makeNode(), options: options)
      client = net.makeNode()
      self.options.localConnection = false
      self.options.reusableSocket = clientWants
    }

    /// One connection with one echo.
    /// - Returns: the socket that it ran on, with its address.
    func visit(file: StaticString = #filePath, line: UInt = #line) -> (ObjectIdentifier, Endpoint?)? {
      let peer = net.connect(client, to: server, options: options)
      net.assertEcho(peer, file: file, line: line)
      let socket = peer.stream.transport?.socket
      let place = socket.map { (ObjectIdentifier($0), $0.localEndpoint) }
      peer.stream.end()
      net.wait(file: file, line: line) { peer.isClosed && accepted.peers.allSatisfy(\.isClosed) }
      XCTAssertNil(peer.closeError, file: file, line: line)
      return place
    }

    var punches: UInt64 { UInt64(client.statistics.punches.consistent) }

    /// After the time for which routes stay.
    func letRoutesGo() { net.network.advance(by: Limits.Connect.routeLinger + 1) }
  }

  func testDHT_69_hundredConnectsUseOneSocket() {
    let world = World(server: true, client: true)
    let places = (0..<100).compactMap { _ in world.visit()?.1?.port }
    XCTAssertEqual(places.count, 100)
    XCTAssertEqual(Set(places).count, 1)
    XCTAssertEqual(world.punches, 1)
    XCTAssertEqual(world.accepted.peers.count, 100)
    XCTAssertEqual(world.client.routes.count, 1)
    world.letRoutesGo()
    XCTAssertEqual(world.client.routes.count, 0)
    XCTAssertEqual(world.server.node.routes.count, 0)
    world.net.network.advance(by: 60_000)
    XCTAssertEqual(world.client.sockets.count, 0, "the socket is closed")
    XCTAssertEqual(world.client.rawStreamCount, 0)
    world.net.destroy()
  }

  func testDHT_69_withoutItTheyDoNot() {
    for (server, client) in [(false, false), (true, false), (false, true)] {
      let world = World(server: server, client: client)
      let places = (0..<3).compactMap { _ in world.visit()?.1?.port }
      XCTAssertEqual(Set(places).count, 3, "server \(server), client \(client)")
      XCTAssertEqual(world.punches, 3)
      XCTAssertEqual(world.client.routes.count + world.server.node.routes.count, 0)
      world.net.destroy()
    }
  }

  /// Connections at the same time share the path, and it stays until the last of them has gone.
  func testTheLastConnectionTakesTheRouteWithIt() {
    let world = World(server: true, client: true)
    let first = world.net.connect(world.client, to: world.server, options: world.options)
    world.net.assertEcho(first)
    let second = world.net.connect(world.client, to: world.server, options: world.options)
    world.net.assertEcho(second)
    XCTAssertTrue(first.stream.transport?.socket === second.stream.transport?.socket)
    first.stream.destroy()
    world.letRoutesGo()
    XCTAssertEqual(world.client.routes.count, 1)
    world.net.assertEcho(second, "still there")
    second.stream.destroy()
    world.net.wait { second.isClosed }
    world.letRoutesGo()
    XCTAssertEqual(world.client.routes.count, 0)
    XCTAssertEqual(world.punches, 1)
    XCTAssertNotNil(world.visit())
    XCTAssertEqual(world.punches, 2, "a new hole")
    world.net.destroy()
  }

  /// The hole has closed: the search of a first connection follows, with a message 1 of its own.
  func testASilentRouteIsGivenUp() {
    let world = World(server: true, client: true)
    guard let place = world.visit()?.1 else { return XCTFail("no socket") }
    world.net.network.shouldDrop = { $0.source.port == place.port }
    let before = world.net.network.now
    XCTAssertNotEqual(world.visit()?.1?.port, place.port)
    XCTAssertLessThan(world.net.network.now - before, 5_000_000, "two seconds of silence, and a hole")
    XCTAssertEqual(world.punches, 2)
    world.net.destroy()
  }

  /// The server has begun with the message that came over the route, but no answer gets back.
  func testAnAnswerThatIsLostDoesNotSpoilTheSearch() {
    let world = World(server: true, client: true)
    guard let place = world.visit()?.1 else { return XCTFail("no socket") }
    var lost = 0
    world.net.network.shouldDrop = { packet in
      let value = packet.destination.port == place.port ? Datagrams.response(packet.bytes)?.value : nil
      let isAnswer = (value.flatMap { try? CompactReader.decode(HandshakeMessage.self, from: $0) })?.mode == .reply
      if isAnswer { lost += 1 }
      return isAnswer
    }
    XCTAssertNotEqual(world.visit()?.1?.port, place.port)
    XCTAssertGreaterThan(lost, 0, "the server was reached")
    world.net.destroy()
  }

  /// A connection that began over a relay leaves the direct path that it has moved to.
  func testARelayedConnectionLeavesItsDirectPath() {
    for (seed, isDeployed, wants) in [(1, false, true), (2, true, true), (3, false, false), (4, true, false)]
      as [(UInt64, Bool, Bool)]
    {
      let what = "seed \(seed), deployed \(isDeployed), both want it: \(wants)"
      // The server's node is the first that is made.
      var nodes = 0
      let world = RelayWorld(
        seed: 6900 + seed, serverMapping: .endpointIndependent, clientMapping: .endpointIndependent,
        node: {
          nodes += 1
          if nodes == 2, isDeployed { $0.migration = false }
        },
        server: { options, _ in
          options.shareLocalAddress = false
          options.reusableSocket = true
        })
      let net = world.net
      net.network.shouldDrop = { !$0.isStream && $0.bytes.count == 1 }
      let first = world.connectRelayed { $0.reusableSocket = wants }
      net.assertEcho(first, what)
      XCTAssertTrue(world.isRelayed(first), what)
      let routes = { [world.clientNode.routes, world.serverNode.routes].map(\.count) }
      XCTAssertEqual(routes(), [0, 0], "\(what): a relay is no path to keep")
      net.network.shouldDrop = nil
      net.wait(30_000, what) { world.relay.sessionCount == 0 }
      XCTAssertEqual(routes(), wants ? [1, 1] : [0, 0], what)
      net.assertEcho(first, what)
      let socket = first.stream.transport?.socket
      first.stream.end()
      net.wait { first.isClosed && world.accepted.peers.allSatisfy(\.isClosed) }
      let punches = world.clientNode.statistics.punches.consistent
      let second = world.connectRelayed { $0.reusableSocket = wants }
      net.assertEcho(second, what)
      if wants {
        XCTAssertFalse(world.isRelayed(second), what)
        XCTAssertTrue(second.stream.transport?.socket === socket, "\(what): the same socket")
        XCTAssertEqual(world.clientNode.statistics.punches.consistent, punches, "\(what): no other hole")
      }
      second.stream.end()
      net.wait { second.isClosed && world.accepted.peers.allSatisfy(\.isClosed) }
      net.network.advance(by: Limits.Connect.routeLinger + 1)
      XCTAssertEqual(routes(), [0, 0], what)
      world.assertQuiet()
      world.destroy()
    }
  }

  func testABrokenConnectionTakesTheRouteWithIt() {
    let world = World(server: true, client: true)
    let peer = world.net.connect(world.client, to: world.server, options: world.options)
    world.net.assertEcho(peer)
    XCTAssertEqual(world.client.routes.count, 1)
    world.net.network.shouldDrop = { _ in true }
    world.net.wait(120_000) { peer.isClosed }
    XCTAssertEqual(peer.closeError?.code, "ETIMEDOUT")
    XCTAssertEqual(world.client.routes.count, 0)
    world.net.destroy()
  }

  func testRoutesGoWithTheSockets() {
    let world = World(server: true, client: true)
    XCTAssertNotNil(world.visit())
    XCTAssertEqual(world.client.routes.count, 1)
    world.net.settle { done in world.client.suspend { done(()) } }
    XCTAssertEqual(world.client.routes.count, 0)
    XCTAssertEqual(world.client.sockets.count, 0)
    world.net.settle { world.client.resume($0) }
    XCTAssertNotNil(world.visit())
    world.net.destroy()
  }
}
