import HyperEncoding
import HyperEnvironment
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine

/// A stranger that knows the ids of a stream has no say in it; a peer that comes from elsewhere has.
final class SourceTests: XCTestCase {
  /// A host that sends packets for streams of others.
  private final class Forger {
    private let network: VirtualNetwork
    private let socket: any DatagramSocket
    private(set) var heard = 0

    init(_ net: Net) throws {
      network = net.network
      socket = network.makeHost().makeSocket()
      try socket.bind(host: .any, port: 7777)
      socket.onMessage = { [weak self] _, _ in self?.heard += 1 }
    }

    static func packet(
      _ type: UInt8, id: UInt32, seq: UInt32, ack: UInt32, window: UInt32 = 1 << 22, body: [UInt8] = []
    ) -> [UInt8] {
      let numbers = [id, window, seq, ack].flatMap { value in
        (0..<4).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
      }
      return [255, 1, type, 0] + numbers + body
    }

    /// Every kind of packet, wherever the stream may be in its sequence.
    func forgeAll(id: UInt32, at target: Endpoint) {
      for type in [1, 2, 3, 16, 17, 0, 4, 8, 32] as [UInt8] {
        for seq in 0..<48 as Range<UInt32> {
          for ack in [0, 1, seq] {
            let ranges: [UInt8] = [0, 0, 0, 0, 200, 0, 0, 0]
            let body = type & 4 != 0 ? ranges : [UInt8](repeating: 5, count: type & 9 != 0 ? 40 : 0)
            let window: UInt32 = ack == 0 ? 0 : 1 << 22
            send(Forger.packet(type, id: id, seq: seq, ack: ack, window: window, body: body), to: target)
          }
        }
        network.advance(by: 5)
      }
    }

    func send(_ bytes: [UInt8], to target: Endpoint) { socket.send(bytes, to: target) }

    func close() {
      socket.onMessage = nil
      socket.close()
    }
  }

  private func forge(_ world: MovingWorld, _ forger: Forger) throws {
    let ends = [world.clientEnd.peer.stream, world.serverEnd.peer.stream]
    for (stream, other) in [(ends[0], ends[1]), (ends[1], ends[0])] {
      let id = try XCTUnwrap(stream.transport?.localID)
      forger.forgeAll(id: id, at: try XCTUnwrap(other.transport?.remote))
    }
  }

  func testOpenStreams() throws {
    for seed in 1...3 as ClosedRange<UInt64> {
      let world = try XCTUnwrap(MovingWorld(seed: seed))
      let forger = try Forger(world.net)
      world.net.network.advance(by: 200)
      try forge(world, forger)
      world.startTransfer()
      world.net.network.advance(by: 100)
      try forge(world, forger)
      world.finishTransfer("open")
      XCTAssertLessThan(forger.heard, 60, "an acknowledgement in 20 ms at most")
      forger.close()
      world.destroy()
    }
  }

  func testHalfClosedStreams() throws {
    let net = Net(8, seed: 11)
    let (server, accepted) = net.listen(on: net.makeNode(firewalled: false), echoes: false)
    let peer = net.connect(net.makeNode(firewalled: false), to: server)
    net.wait(until: { peer.opened > 0 && !accepted.peers.isEmpty })
    let other = try XCTUnwrap(accepted.peers.first)
    let ends = [(peer.stream, other.stream), (other.stream, peer.stream)]
    let places = try ends.map { try (XCTUnwrap($0.transport?.localID), XCTUnwrap($1.transport?.remote)) }
    peer.stream.write([1])
    peer.stream.end()
    net.network.advance(by: 500)
    XCTAssertEqual(other.ended, 1)
    let forger = try Forger(net)
    for (id, place) in places { forger.forgeAll(id: id, at: place) }
    for number in 0..<20 as Range<UInt8> { other.stream.write([number]) }
    for (id, place) in places { forger.forgeAll(id: id, at: place) }
    net.network.advance(by: 500)
    XCTAssertEqual(peer.received, (0..<20 as Range<UInt8>).map { [$0] })
    XCTAssertEqual(peer.closed + other.closed, 0)
    other.stream.end()
    net.network.advance(by: 500)
    XCTAssertEqual([peer.closed, other.closed], [1, 1])
    XCTAssertNil(peer.closeError)
    XCTAssertNil(other.closeError)
    forger.close()
    net.destroy()
  }

  /// Both streams are made, and their first packets are late.
  func testHandshakingStreams() throws {
    let net = Net(8, seed: 12)
    let serverNode = net.makeNode(firewalled: false)
    let (server, accepted) = net.listen(on: serverNode)
    let clientNode = net.makeNode(firewalled: false)
    net.network.shouldDrop = { $0.bytes.count >= 20 && $0.bytes[0] == 255 }
    let peer = net.connect(clientNode, to: server)
    net.wait(until: {
      serverNode.rawStreams.all.count == 1 && clientNode.rawStreams.all.contains(where: \.isConnected)
    })
    let forger = try Forger(net)
    net.network.shouldDrop = nil
    let places = try [(clientNode, serverNode), (serverNode, clientNode)].map { node, _ in
      let raw = try XCTUnwrap(node.rawStreams.all.first)
      let host = try XCTUnwrap(node.environment.interfaces().first { !$0.isInternal }?.address)
      let port = try XCTUnwrap((raw.socket ?? node.rpc.serverSocket)?.localEndpoint?.port)
      return (raw.localID, Endpoint(host: host, port: port))
    }
    for (id, place) in places { forger.forgeAll(id: id, at: place) }
    net.assertEcho(peer)
    XCTAssertEqual(accepted.peers.count, 1)
    net.network.advance(by: 20_000)
    XCTAssertFalse(peer.isClosed)
    forger.close()
    net.destroy()
  }

  /// On a relay: its streams take packets from the hosts of their sides, whatever the port.
  func testRelayedStreams() throws {
    let world = RelayWorld(seed: 13)
    let peer = world.connectRelayed()
    world.net.assertEcho(peer)
    world.net.network.advance(by: 30_000)
    XCTAssertTrue(world.isRelayed(peer))
    let forger = try Forger(world.net)
    let relay = try XCTUnwrap(peer.stream.transport?.remote)
    let links = world.relayNode.rawStreams.all.filter(\.asksForSources)
    XCTAssertEqual(links.count, 2)
    let before = links.map(\.statistics.packetsReceived)
    for link in links { forger.forgeAll(id: link.localID, at: relay) }
    XCTAssertEqual(world.relay.linkCount, 1)
    XCTAssertEqual(links.map(\.isClosed), [false, false])
    world.net.assertEcho(peer, "unharmed")
    XCTAssertGreaterThan(links[0].statistics.packetsReceived, before[0], "it got there")

    // The client's host, from another port.
    let link = try XCTUnwrap(links.first { $0.remote?.host == world.clientNAT.address })
    let received = { world.serverNode.rawStreams.all.map(\.statistics.packetsReceived).reduce(0, +) }
    let socket = (world.clientNode.environment as? VirtualHost)?.makeSocket()
    try socket?.bind(host: .any, port: 7778)
    let heartbeat = Forger.packet(32, id: link.localID, seq: 0, ack: 0)
    world.net.network.advance(by: 1_000)
    let quiet = received()
    forger.send(heartbeat, to: relay)
    world.net.network.advance(by: 100)
    XCTAssertEqual(received(), quiet, "another host")
    socket?.send(heartbeat, to: relay)
    world.net.network.advance(by: 100)
    XCTAssertEqual(received(), quiet + 1, "the side's host")
    world.net.assertEcho(peer, "still there")
    socket?.close()
    forger.close()
    world.destroy()
  }

  /// A peer that cannot move streams: its NAT has restarted. The next frame shows that it is the same.
  func testADeployedPeerIsFollowed() throws {
    for seed in 1...12 as ClosedRange<UInt64> {
      let serverRestarts = seed % 2 == 0
      let access: Access = [.cone, .addressRestricted, .portRestricted][Int(seed % 3)]
      let what = "seed \(seed), server \(serverRestarts), \(access)"
      let world = try XCTUnwrap(
        MovingWorld(
          seed: seed, client: serverRestarts ? .open : access, server: serverRestarts ? access : .open,
          adjustClient: { $0.migration = false }), what)
      let forger = try Forger(world.net)
      let restarted = serverRestarts ? world.server : world.client
      let follower = serverRestarts ? world.clientEnd : world.serverEnd
      let isQuiet = seed > 6
      if isQuiet {
        world.net.network.advance(by: 10_000 + 700 * seed)
      } else {
        world.startTransfer()
        world.net.network.advance(by: 500 + seed % 1_000)
      }
      restarted.nat?.reset()
      if seed % 4 == 0 { try forge(world, forger) }
      world.net.network.advance(by: isQuiet ? 9_000 : 5_000)
      XCTAssertEqual(follower.pathChanges.count, 1, what)
      if isQuiet { world.startTransfer() }
      for end in [world.clientEnd, world.serverEnd] { XCTAssertLessThan(end.longestGap, 3_000_000, what) }
      world.net.network.advance(by: 500)
      world.finishTransfer(what)
      XCTAssertEqual(follower.pathChanges.count, 1, what)
      forger.close()
      world.destroy()
    }
  }
}
