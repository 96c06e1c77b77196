import HyperCrypto
import HyperEncoding
import HyperEnvironment
import HyperTestVectors
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine

/// A stream cannot be moved by a stranger, whatever it knows besides the keys.
final class StrangerTests: XCTestCase {
  /// A world whose client has kept its place, and a host of a stranger.
  private final class Scene {
    let world: MovingWorld
    let stranger: VirtualHost
    let socket: any DatagramSocket
    var heard: [(bytes: [UInt8], source: Endpoint)] = []

    init(_ seed: UInt64) throws {
      world = try XCTUnwrap(MovingWorld(seed: seed))
      stranger = world.net.network.makeHost()
      socket = stranger.makeSocket()
      try socket.bind(host: .any, port: 7777)
      socket.onMessage = { [weak self] in self?.heard.append((Array($0), $1)) }
    }

    /// The end under attack: the server's.
    var victim: StreamMigration {
      get throws { try XCTUnwrap(world.server.node.migrations.stream(try raw.localID)) }
    }
    var raw: any TransportStream { get throws { try XCTUnwrap(world.serverEnd.peer.stream.transport) } }
    /// Where the victim's stream is reached.
    var target: Endpoint { get throws { try XCTUnwrap(world.clientEnd.peer.stream.transport?.remote) } }
    var path: Endpoint? { get throws { try raw.remote } }

    /// What the true peer could send.
    func message(
      _ kind: MigrationMessage.Kind, _ counter: UInt64, nonce: UInt64 = 1, challenge: UInt64 = 0
    ) throws -> MigrationMessage {
      MigrationMessage(
        kind: kind, streamID: try raw.localID, counter: counter, moveNonce: nonce, challengeNonce: challenge)
    }

    func send(_ bytes: [UInt8]) throws {
      socket.send(bytes, to: try target)
      world.net.network.advance(by: 100)
    }

    func answers(_ kind: MigrationMessage.Kind? = nil) throws -> [MigrationMessage] {
      let key = try victim.keys.sendKey
      let all = heard.compactMap { entry in entry.bytes.withUnsafeBytes { MigrationMessage($0, key: key) } }
      return all.filter { kind == nil || $0.kind == kind }
    }

    func finish() {
      world.startTransfer()
      world.net.network.advance(by: 500)
      world.finishTransfer("unharmed")
      socket.onMessage = nil
      socket.close()
      world.destroy()
    }
  }

  private func refused(_ scene: Scene, _ bytes: [UInt8], _ what: String) throws {
    let before = try scene.path
    let refusals = scene.world.server.node.statistics.migrations.refused
    scene.heard = []
    try scene.send(bytes)
    XCTAssertEqual(scene.heard.count, 0, what)
    XCTAssertEqual(try scene.path, before, what)
    XCTAssertGreaterThan(scene.world.server.node.statistics.migrations.refused, refusals, what)
  }

  func testKnowingTheStreamIsNotEnough() throws {
    let scene = try Scene(1)
    let key = try scene.victim.keys.receiveKey
    try refused(scene, try scene.message(.move, 1).sealed(Bytes32(repeating: 9)), "another key")
    let other = try scene.victim.keys.sendKey
    try refused(scene, try scene.message(.move, 1).sealed(other), "the key of the other direction")
    var wrong = try scene.message(.move, 1)
    wrong.streamID &+= 1
    try refused(scene, wrong.sealed(key), "another stream")
    var version = try scene.message(.move, 1).sealed(key)
    version[1] = 2
    try refused(scene, version, "another version")
    for kind in [MigrationMessage.Kind.challenge, .response] {
      try refused(scene, try scene.message(kind, 1, challenge: 5).sealed(key), "\(kind) without a MOVE")
    }
    XCTAssertEqual(scene.world.serverEnd.pathChanges, [])
    scene.finish()
  }

  /// Messages of the true peer, sent again from elsewhere.
  func testReplaysAreRefused() throws {
    let scene = try Scene(2)
    let key = try scene.victim.keys.receiveKey
    try scene.send(try scene.message(.move, 7).sealed(key))
    XCTAssertEqual(try scene.answers(.challenge).count, 1, "an address that is asked to show itself")
    for counter in [7, 6, 0] as [UInt64] {
      try refused(scene, try scene.message(.move, counter, nonce: 2).sealed(key), "counter \(counter)")
    }
    XCTAssertEqual(scene.world.serverEnd.pathChanges, [])
    scene.finish()
  }

  /// A MOVE that was caught on its way and sent from another address: that address has to answer the challenge, for
  /// which it lacks the key.
  func testAddressesAreValidated() throws {
    let scene = try Scene(3)
    let key = try scene.victim.keys.receiveKey
    let before = try scene.path
    try scene.send(try scene.message(.move, 1, nonce: 40).sealed(key))
    let challenge = try XCTUnwrap(try scene.answers(.challenge).first)
    XCTAssertEqual(challenge.counter, 1)
    XCTAssertEqual(challenge.moveNonce, 40)
    XCTAssertNotEqual(challenge.challengeNonce, 0)
    XCTAssertEqual(try scene.path, before, "not yet")
    let nonce = challenge.challengeNonce
    let bad: [(MigrationMessage, String)] = [
      (try scene.message(.response, 1, nonce: 40, challenge: nonce ^ 1), "another challenge"),
      (try scene.message(.response, 2, nonce: 40, challenge: nonce), "another MOVE"),
      (try scene.message(.response, 1, nonce: 41, challenge: nonce), "another nonce"),
      (try scene.message(.response, 1, nonce: 40), "no challenge"),
    ]
    for (message, what) in bad { try refused(scene, message.sealed(key), what) }
    let response = try scene.message(.response, 1, nonce: 40, challenge: nonce)
    try refused(scene, response.sealed(Bytes32(repeating: 1)), "another key")

    // Even the right answer, from another port of the same host.
    let other = scene.stranger.makeSocket()
    try other.bind(host: .any, port: 7778)
    other.send(response.sealed(key), to: try scene.target)
    scene.world.net.network.advance(by: 100)
    XCTAssertEqual(try scene.path, before, "not from there")
    other.close()

    // From the address that was asked it is the peer.
    try scene.send(response.sealed(key))
    XCTAssertEqual(try scene.path, Endpoint(host: scene.stranger.address, port: 7777))
    XCTAssertEqual(try scene.answers(.moved).count, 1)
    // The true peer says where it is, and has its stream back.
    scene.world.client.node.migrations.networkChanged()
    scene.world.net.network.advance(by: 1_000)
    XCTAssertEqual(try scene.path, before)
    scene.finish()
  }

  func testAChallengeExpires() throws {
    let scene = try Scene(4)
    let key = try scene.victim.keys.receiveKey
    try scene.send(try scene.message(.move, 1).sealed(key))
    let challenge = try XCTUnwrap(try scene.answers(.challenge).first)
    scene.world.net.network.advance(by: Limits.Migration.challengeLifetime)
    let late = try scene.message(.response, 1, nonce: 1, challenge: challenge.challengeNonce)
    try refused(scene, late.sealed(key), "too late")
    scene.finish()
  }

  /// RFC 9000, section 8: an address that has not been validated gets no more than three times what came from it. Here
  /// it is no more than once, and bounded by rates.
  func testAmplification() throws {
    let scene = try Scene(5)
    let key = try scene.victim.keys.receiveKey
    var sent = 0
    for round in 0..<300 as Range<UInt64> {
      let bytes = try scene.message(.move, 1 + round).sealed(key)
      sent += bytes.count
      scene.socket.send(bytes, to: try scene.target)
      scene.world.net.network.advance(by: 10)
      XCTAssertLessThanOrEqual(scene.heard.reduce(0) { $0 + $1.bytes.count }, sent)
    }
    // 3 s of 100 MOVEs a second.
    let bound = Limits.Migration.answerBurst + 4 * Limits.Migration.answersPerSecond
    XCTAssertLessThanOrEqual(UInt64(scene.heard.count), bound)
    XCTAssertGreaterThanOrEqual(UInt64(scene.heard.count), Limits.Migration.answerBurst)
    scene.world.net.network.advance(by: 10_000)
    scene.finish()
  }

  /// Forgeries of one host do not keep another one from being heard, nor cost a hash each.
  func testASourceIsBounded() throws {
    let scene = try Scene(6)
    let forged = try scene.message(.move, 1).sealed(Bytes32())
    for _ in 0..<2_000 { scene.socket.send(forged, to: try scene.target) }
    scene.world.net.network.conditions.jitter = .zero
    try refused(scene, try scene.message(.move, 1).sealed(scene.victim.keys.receiveKey), "over the rate of its source")
    scene.world.move(scene.world.client, .open)
    scene.world.net.network.advance(by: 1_000)
    XCTAssertEqual(scene.world.serverEnd.pathChanges.count, 1, "the true peer is heard")
    scene.finish()
  }

  /// Whatever arrives, signed or not: nothing breaks, nothing moves, nothing is answered but fresh MOVEs.
  func testFuzz() throws {
    let scene = try Scene(7)
    let victim = try scene.victim
    let key = try victim.keys.receiveKey
    let socket = try XCTUnwrap(try scene.raw.socket)
    let before = try scene.path
    var random = SeededRandom(seed: 99)
    let source = Endpoint(host: scene.stranger.address, port: 7777)
    for round in 0..<20_000 {
      var message = try scene.message(
        MigrationMessage.Kind.allCases[Int(random.next() % 4)], random.next() % 64, nonce: random.next() % 4,
        challenge: random.next() % 4)
      if random.next() % 8 == 0 { message.counter = random.next() }
      var bytes = message.sealed(random.next() % 4 == 0 ? Bytes32() : key)
      if random.next() % 2 == 0 { bytes[Int(random.next() % 64)] ^= UInt8(random.next() % 256) }
      if random.next() % 4 == 0 { bytes.removeLast(Int(random.next() % 65)) }
      bytes.withUnsafeBytes { victim.receive($0, from: source, on: socket) }
      bytes.withUnsafeBytes { _ = scene.world.server.node.migrations.receive($0, from: source, on: socket) }
      if round % 100 == 0 { scene.world.net.network.advance(by: 10) }
    }
    XCTAssertEqual(try scene.path, before)
    XCTAssertEqual(scene.world.serverEnd.pathChanges, [])
    report(
      attack: "20,000 forged, replayed and damaged MOVEs of a stranger", bound: "the stream stays where it is",
      measured: "\(scene.world.serverEnd.pathChanges.count) changes of its path")
    XCTAssertTrue(try scene.answers().allSatisfy { $0.kind == .challenge })
    scene.world.net.network.advance(by: 10_000)
    scene.finish()
  }
}

extension StreamMigration {
  fileprivate var keys: Dealings { get throws { try XCTUnwrap(dealings) } }
}
