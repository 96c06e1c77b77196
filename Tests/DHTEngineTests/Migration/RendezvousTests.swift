import HyperCrypto
import HyperEncoding
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine

/// A living stream goes on where the other side does not admit the mover: both punch, and the stream takes the path.
final class RendezvousTests: XCTestCase {
  private enum Mover: CaseIterable {
    case client
    case server
    case both
  }

  private func run(_ seed: UInt64, _ mover: Mover, _ from: Access, _ to: Access, other: Access) throws {
    let what = "seed \(seed), \(mover), \(from) to \(to), other \(other)"
    let isServer = mover == .server
    let world = try XCTUnwrap(
      MovingWorld(seed: seed, client: isServer ? other : from, server: isServer ? from : other, clientListens: true),
      what)
    world.startTransfer()
    world.net.network.advance(by: 700 + seed % 500)
    world.move(isServer ? world.server : world.client, to)
    if mover == .both { world.move(world.server, other) }
    world.net.network.advance(by: 5_000)
    for end in [world.clientEnd, world.serverEnd] {
      XCTAssertLessThan(end.longestGap, 1_500_000, what)
      XCTAssertTrue((1...2).contains(end.pathChanges.count), "\(what): \(end.pathChanges)")
    }
    let nodes = [world.client.node, world.server.node]
    XCTAssertGreaterThan(nodes.reduce(0) { $0 + $1.statistics.migrations.rendezvous }, 0, what)
    world.finishTransfer(what)
    XCTAssertEqual(nodes.map(\.migrations.count), [1, 1], what)
    world.net.network.advance(by: 15_000)
    XCTAssertEqual(nodes.map(\.sockets.count), [0, 0], "\(what): punchers are gone")
    XCTAssertEqual(world.listener.handshakeCount, 0, "\(what): cleared")
    world.destroy()
    XCTAssertEqual(nodes.map(\.migrations.count), [0, 0], what)
    XCTAssertEqual(nodes.map(\.rawStreamCount), [0, 0], what)
  }

  func testTheStreamGoesOnThroughAHole() throws {
    var seed: UInt64 = 0
    for mover in Mover.allCases {
      for from in Access.allCases {
        for to in Access.allCases {
          for other in [Access.addressRestricted, .portRestricted] {
            seed += 1
            if seed % 2 == 0 || mover == .both { try run(seed, mover, from, to, other: other) }
          }
        }
      }
    }
    print("rendezvous: of seeds 1...\(seed) the even ones and those where both move")
  }

  /// The peer understands no other handshake than that of the stream.
  func testTheHandshakeOfARendezvousIsThatOfTheStream() throws {
    for (seed, isServer) in [(1, false), (2, true)] as [(UInt64, Bool)] {
      let secret = GroupHandshake.Secret()
      let world = try XCTUnwrap(
        MovingWorld(
          seed: seed, client: .portRestricted, server: .portRestricted, clientListens: true, handshake: secret.hook))
      let before = secret.count
      XCTAssertGreaterThan(before, 0)
      world.startTransfer()
      world.net.network.advance(by: 700)
      world.move(isServer ? world.server : world.client, .portRestricted)
      world.net.network.advance(by: 5_000)
      world.finishTransfer()
      XCTAssertGreaterThan(secret.count, before, "seed \(seed)")
      world.destroy()
    }
  }

  /// The peer has no way to find the mover, but misses it: its own packets stay unanswered.
  func testTheClientFindsAServerThatHasMoved() throws {
    for seed in 1...12 as ClosedRange<UInt64> {
      let world = try XCTUnwrap(MovingWorld(seed: seed, client: .portRestricted, server: .portRestricted))
      world.startTransfer()
      world.net.network.advance(by: 1_000)
      world.move(world.server, .portRestricted)
      world.net.network.advance(by: 12_000)
      XCTAssertLessThan(world.clientEnd.longestGap, 6_000_000, "seed \(seed)")
      world.finishTransfer("seed \(seed)")
      world.destroy()
    }
  }

  /// A handshake that names a stream finds nothing but a stream of the same two keys.
  func testOnlyThePeerMayResume() throws {
    let world = try XCTUnwrap(MovingWorld(seed: 3))
    let node = world.server.node
    let id = try XCTUnwrap(world.serverEnd.peer.stream.transport?.localID)
    let client = world.client.node.defaultKeyPair.publicKey
    XCTAssertNotNil(node.migrations.resumable(id, by: client, at: world.listener.publicKey))
    XCTAssertNil(node.migrations.resumable(id, by: KeyPair(seed: Bytes32()).publicKey, at: world.listener.publicKey))
    XCTAssertNil(node.migrations.resumable(id, by: client, at: KeyPair(seed: Bytes32()).publicKey))
    XCTAssertNil(node.migrations.resumable(id &+ 1, by: client, at: world.listener.publicKey))
    XCTAssertNil(node.migrations.resumable(id, by: nil, at: nil))
    world.destroy()
  }

  /// A client that names a stream which is none of its own is a stranger like others: refused, it hears nothing.
  func testToNameAStreamIsNoWayAroundTheFirewall() throws {
    let net = Net()
    let address = try XCTUnwrap(net.nodes[1].rpc.remoteAddress)
    var options = ServerOptions()
    var asked = 0
    options.firewall = { _, _, _, verdict in
      asked += 1
      verdict(.reject)
    }
    let (server, _) = net.listen(on: net.nodes[1], options: options)
    let client = RawClient(net)
    let payload = NoisePayload(udx: .init(id: 4711), secretStream: .init(), migration: .init(resumedStream: 1))
    client.send(
      HandshakeMessage(mode: .fromClient, noise: client.noise(server, payload: payload).1), to: address,
      target: server.target ?? Bytes32())
    net.network.advance(by: 5_000)
    XCTAssertEqual(asked, 1)
    XCTAssertTrue(client.replies.isEmpty)
    net.destroy()
  }

  /// The direct way and a hole open at the same moment. The peer takes what it was asked over last, and so does the
  /// mover, which closes the socket of the other way.
  func testBothSidesTakeTheSamePath() throws {
    for seed in 1...10 as ClosedRange<UInt64> {
      let world = try XCTUnwrap(MovingWorld(seed: seed, client: .portRestricted, server: .cone, clientListens: true))
      world.startTransfer()
      world.net.network.advance(by: 700)
      var isClosed = true
      world.net.network.shouldDrop = { isClosed && $0.bytes.first == MigrationMessage.firstByte }
      world.move(world.client, .portRestricted)
      world.net.network.advance(by: 2_000 + seed * 50)
      isClosed = false
      world.net.network.advance(by: 1_200)
      let before = [world.clientEnd.received, world.serverEnd.received]
      world.net.network.advance(by: 500)
      XCTAssertGreaterThan(world.clientEnd.received, before[0] + 20, "seed \(seed)")
      XCTAssertGreaterThan(world.serverEnd.received, before[1] + 20, "seed \(seed)")
      world.finishTransfer("seed \(seed)")
      world.destroy()
    }
  }

  /// The peer has restarted and knows nothing of the stream: the move ends, so that a new connection can be made.
  func testAPeerThatHasForgottenTheStreamSaysSo() throws {
    let world = try XCTUnwrap(MovingWorld(seed: 4, client: .portRestricted, server: .portRestricted))
    let migration = try XCTUnwrap(
      world.client.node.migrations.stream(try XCTUnwrap(world.clientEnd.peer.stream.transport?.localID)))
    // Its DESTROY is lost.
    world.client.host.isDown = true
    world.serverEnd.peer.stream.destroy()
    world.net.network.advance(by: 100)
    world.client.host.isDown = false
    world.move(world.client, .portRestricted)
    world.net.network.advance(by: 200)
    XCTAssertTrue(migration.isMoving)
    world.net.network.advance(by: 600)
    XCTAssertFalse(migration.isMoving)
    world.destroy()
  }

  /// A server that takes no new connections keeps those that it has, and asks no hook about them again.
  func testABusyServerIsFound() throws {
    let world = try XCTUnwrap(MovingWorld(seed: 6, server: .portRestricted))
    world.listener.isBusy = true
    world.startTransfer()
    world.net.network.advance(by: 500)
    world.move(world.client, .cone)
    world.net.network.advance(by: 3_000)
    XCTAssertEqual(world.serverEnd.pathChanges.count, 1)
    world.finishTransfer("a busy server")
    world.destroy()
  }

  func testRendezvousAreBounded() throws {
    let world = try XCTUnwrap(MovingWorld(seed: 5))
    let migrations = world.client.node.migrations
    var started = 0
    for _ in 0..<Limits.Migration.rendezvous + 10 {
      migrations.whenRendezvousIsFree {
        migrations.beginRendezvous()
        started += 1
      }
    }
    XCTAssertEqual(started, Limits.Migration.rendezvous)
    migrations.endRendezvous()
    world.net.network.advance(by: 1)
    XCTAssertEqual(started, Limits.Migration.rendezvous + 1)
    for _ in 0..<9 { migrations.endRendezvous() }
    world.net.network.advance(by: 1)
    XCTAssertEqual(started, Limits.Migration.rendezvous + 10)
    world.destroy()
  }
}
