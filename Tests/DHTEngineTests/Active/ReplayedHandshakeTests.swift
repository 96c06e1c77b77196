import HyperCrypto
import HyperEncoding
import HyperEnvironment
import HyperSecretStream
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine

/// A node that forwards handshakes sees message 1 in clear view, and replays it (hyperdht.md B-21). From the server's
/// answer it can compute the hash of the handshake and with it the header that the stream begins with; what it does not
/// get is the server's stream id, which is sealed in the answer.
final class ReplayedHandshakeTests: XCTestCase {
  private final class Scene {
    let net = Net(3)
    let server: DHTServer
    let accepted: Accepted
    let seen: HandshakeMessage
    let replayer: RawClient
    private var heard: [[UInt8]] = []
    var place: Endpoint {
      Endpoint(host: net.hosts[1].address, port: net.nodes[1].rpc.serverSocket?.localEndpoint?.port ?? 0)
    }

    init() throws {
      var options = ServerOptions()
      options.handshakeClearWait = 200
      (server, accepted) = net.listen(on: net.nodes[1], options: options)
      net.network.isLogging = true
      net.network.log = []
      net.assertEcho(net.connect(net.makeNode(), to: server))
      net.network.isLogging = false
      seen = try XCTUnwrap(
        net.network.log.compactMap { Datagrams.handshake($0.bytes) }.first { $0.mode == .fromClient })
      replayer = RawClient(net)
      replayer.socket.onMessage = { [unowned self] bytes, _ in heard.append(Array(bytes)) }
      net.network.advance(by: 1_000)
    }

    /// Sends message 1, as a client or as the forwarding node, and returns what the stream's header begins with.
    func replay(forwarded: Bool) -> Bytes32? {
      heard = []
      let message =
        forwarded
        ? HandshakeMessage(
          mode: .fromRelay, noise: seen.noise, peerAddress: Endpoint(host: replayer.host.address, port: 5_000)) : seen
      replayer.send(message, to: place, target: server.target ?? Bytes32())
      net.network.advance(by: 50)
      return heard.compactMap { Datagrams.handshake($0) }.last.map { streamID(answer: $0.noise) }
    }

    /// Noise's running hash over what everyone can see (secret-stream.md 3).
    private func streamID(answer: [UInt8]) -> Bytes32 {
      let name = Array("Noise_IK_Ed25519_ChaChaPoly_BLAKE2b".utf8)
      var hash = name + [UInt8](repeating: 0, count: 64 - name.count)
      let pieces: [[UInt8]] = [
        Namespaces.peerHandshake.bytes, server.publicKey?.bytes ?? [], Array(seen.noise[..<32]),
        Array(seen.noise[32..<80]), Array(seen.noise[80...]), Array(answer[..<32]), Array(answer[32...]),
      ]
      for piece in pieces { hash = Blake2b.hash64(hash, piece).bytes }
      return Blake2b.hash32(StreamNamespace.initiator.bytes, key: hash)
    }

    /// DATA with the stream's header for the stream with this id.
    func sendHeader(_ id: Bytes32, to stream: UInt32) {
      var packet: [UInt8] = [0xff, 1, 1, 0]
      for word in [stream, 4 << 20, 0, 0] {
        packet += (0..<4).map { UInt8(truncatingIfNeeded: word >> (8 * $0)) }
      }
      replayer.socket.send(packet + [56, 0, 0] + id.bytes + [UInt8](repeating: 1, count: 24), to: place)
    }
  }

  func testAThousandReplaysReachNoApplication() throws {
    let scene = try Scene()
    let net = scene.net
    var random = SeededRandom(seed: 21)
    var answers = 0
    var guesses = 0
    for round in 0..<1_000 {
      if let id = scene.replay(forwarded: round % 2 == 1) {
        answers += 1
        for _ in 0..<8 {
          scene.sendHeader(id, to: UInt32(truncatingIfNeeded: random.next()))
          guesses += 1
        }
      }
      net.network.advance(by: 16_000)
    }
    net.network.advance(by: 30_000)
    XCTAssertEqual(answers, 1_000)
    XCTAssertGreaterThanOrEqual(net.nodes[1].statistics.handshakes.phantoms, 500)
    XCTAssertEqual(scene.accepted.peers.count, 1, "no connection in the victim's name")
    XCTAssertEqual(scene.server.handshakeCount, 0)
    XCTAssertEqual(net.nodes[1].strangers.used, 0)
    print(
      "attack: message 1 replayed 1,000 times by a forwarding node, \(guesses) headers to guessed streams | bound: 0"
        + " connections | measured: \(scene.accepted.peers.count - 1)")
    net.assertEcho(net.connect(net.makeNode(), to: scene.server))
    net.destroy()
  }

  /// The stream id is what the replay lacks: with it, there is a connection, whose peer never proves its key.
  func testWithTheSealedIdThereIsAnUnprovenConnection() throws {
    let scene = try Scene()
    let before = Set(scene.net.nodes[1].rawStreams.all.map(\.localID))
    let id = try XCTUnwrap(scene.replay(forwarded: false))
    let made = scene.net.nodes[1].rawStreams.all.map(\.localID).filter { !before.contains($0) }
    XCTAssertEqual(made.count, 1)
    for stream in made { scene.sendHeader(id, to: stream) }
    scene.net.network.advance(by: 10_000)
    XCTAssertEqual(scene.accepted.peers.count, 2)
    let replayed = try XCTUnwrap(scene.accepted.peers.last)
    XCTAssertEqual(replayed.stream.remotePublicKey, scene.accepted.peers[0].stream.remotePublicKey)
    XCTAssertFalse(replayed.stream.isAuthenticated)
    XCTAssertTrue(scene.accepted.peers[0].stream.isAuthenticated)
    XCTAssertEqual(scene.net.nodes[1].strangers.count, 1)
    scene.net.destroy()
  }
}
