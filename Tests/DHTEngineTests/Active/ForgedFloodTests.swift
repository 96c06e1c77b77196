import HyperCrypto
import HyperEncoding
import HyperEnvironment
import HyperTestVectors
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine
@testable import HyperRPC

/// Floods of handshakes with forged sources at the nodes that a server is found by, which have to decide whose messages
/// they pass on (hyperdht.md B-6).
final class ForgedFloodTests: XCTestCase {
  /// Sends from addresses that do not exist, each used for one message, which comes again after a second like those of
  /// a client if `repeats`.
  private final class Flood {
    let server: DHTServer
    let relays: [(node: DHTNode, address: Endpoint)]
    let repeats: Bool
    var random: SeededRandom
    private var sent: [(socket: any DatagramSocket, bytes: [UInt8], source: Endpoint)] = []
    private var next = 0

    init(_ net: Net, _ server: DHTServer, seed: UInt64, repeats: Bool) {
      self.server = server
      self.repeats = repeats
      random = SeededRandom(seed: seed)
      let addresses = server.announcer?.relays.map(\.relayAddress) ?? []
      relays = zip(net.nodes, net.hosts).compactMap { node, host in
        addresses.first { $0.host == host.address }.map { (node, $0) }
      }
    }

    private func make(to relay: Endpoint) -> ([UInt8], Endpoint) {
      let source = Endpoint(
        host: IPv4Address(value: 0x4400_0000 | UInt32(random.next() % 0xff_0000)),
        port: UInt16(1024 + random.next() % 60_000))
      let request = RequestDatagram(
        tid: UInt16(truncatingIfNeeded: random.next()), to: relay, command: Command.peerHandshake.rawValue,
        target: server.target, value: HandshakeMessage(mode: .fromClient, noise: random.bytes(200)).encoded)
      return (request.encode(), source)
    }

    /// So many messages to each relay in this millisecond.
    func send(_ count: Int, at tick: Int) {
      for relay in relays {
        guard let socket = relay.node.rpc.serverSocket else { continue }
        for number in 0..<count {
          if repeats, number % 2 == 1, tick >= 1000 {
            let (socket, bytes, source) = sent[next]
            next += 1
            socket.receive(bytes, from: source)
          } else {
            let (bytes, source) = make(to: relay.address)
            if repeats { sent.append((socket, bytes, source)) }
            socket.receive(bytes, from: source)
          }
        }
      }
    }
  }

  private func site(_ net: Net, _ number: UInt8, showsTokens: Bool = true) -> DHTNode {
    let nat = VirtualNAT(
      network: net.network, address: IPv4Address(5, 5, number, 1), mapping: .endpointIndependent,
      filter: .addressAndPortDependent)
    return net.makeNode(on: net.network.makeHost(IPv4Address(192, 168, number, 10), behind: nat)) {
      $0.showsTokens = showsTokens
    }
  }

  /// Milliseconds to the connections of so many clients, one each 200 ms, after a lead of 1,100 ms.
  private func connects(
    _ count: Int, seed: UInt64, perRelay: Int, repeats: Bool, showsTokens: Bool = true
  ) -> (times: [UInt64], refused: Int) {
    let net = Net(8, seed: seed)
    let (server, _) = net.listen(on: site(net, 1))
    let clients = (0..<count).map { site(net, 10 + UInt8($0), showsTokens: showsTokens) }
    let flood = Flood(net, server, seed: seed, repeats: repeats)
    XCTAssertEqual(flood.relays.count, 3)
    var peers: [Peer] = []
    var times: [UInt64] = []
    var tick = 0
    while tick < 1100 + 200 * count + 4500, times.count < count {
      flood.send(perRelay, at: tick)
      if tick >= 1100, tick % 200 == 0, peers.count < count {
        let peer = net.connect(clients[peers.count], to: server)
        let start = net.network.now
        peer.stream.onOpen = { times.append((net.network.now - start) / 1000) }
        peers.append(peer)
      }
      net.network.advance(by: 1)
      tick += 1
    }
    let refused = flood.relays.reduce(0) {
      $0 + $1.node.router.statistics.rateLimited + Int($1.node.rpc.statistics.drops.rateLimited)
    }
    for peer in peers { peer.stream.destroy() }
    net.destroy()
    return (times, refused)
  }

  /// Five clients, with each of two seeds, get through three thousand a second, of which the relays pass on a quarter.
  /// Says how long it took them.
  private func timesThroughTheFlood(firstSeed: UInt64, showsTokens: Bool = true) -> String {
    let all = (firstSeed...firstSeed + 1).flatMap { seed in
      let (times, refused) = connects(5, seed: seed, perRelay: 1, repeats: false, showsTokens: showsTokens)
      XCTAssertEqual(times.count, 5, "seed \(seed)")
      XCTAssertLessThanOrEqual(times.max() ?? .max, 4000, "seed \(seed): \(times)")
      XCTAssertGreaterThan(refused, 2000, "seed \(seed)")
      return times
    }
    return "\(all.count) of 10, \(all.max() ?? 0) ms at most"
  }

  func testClientsGetThroughMessagesOfForgedSources() {
    report(
      attack: "3,000 handshakes a second of forged sources over three own relays",
      bound: "10 of 10 connects within 4 s", measured: timesThroughTheFlood(firstSeed: 1))
  }

  /// As deployed ones: they are asked whether they are there.
  func testClientsThatEchoNoTokensGetThrough() {
    report(
      attack: "3,000 handshakes a second of forged sources, clients that echo no tokens",
      bound: "10 of 10 connects within 4 s", measured: timesThroughTheFlood(firstSeed: 11, showsTokens: false))
  }

  /// Twelve thousand a second that come again as those of clients do: only proof of the address tells these apart.
  func testClientsGetThroughForgedMessagesThatComeAgain() {
    let (times, refused) = connects(3, seed: 3, perRelay: 4, repeats: true)
    XCTAssertEqual(times.count, 3)
    XCTAssertLessThanOrEqual(times.max() ?? .max, 4000, "\(times)")
    XCTAssertGreaterThan(refused, 15_000)
    report(
      attack: "12,000 handshakes a second of forged sources that each come again", bound: "3 of 3 connects within 4 s",
      measured: "\(times.count) of 3, \(times.max() ?? 0) ms at most")
  }
}
