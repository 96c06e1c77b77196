import CHyperCryptoCalls
import HyperCrypto
import HyperEncoding
import HyperSecretStream
import XCTest

@testable import HyperDHTEngine

/// What a connect costs in cryptography: counted, on both sides together.
final class ConnectCostTests: XCTestCase {
  private struct Calls: Equatable {
    var multiplications: Int64 = 0
    var keyPairs: Int64 = 0
    var signatures: Int64 = 0
    var verifications: Int64 = 0
    var guarded: Int64 = 0
    var sha512: Int64 = 0
    var blake2b: Int64 = 0

    static func count(_ body: () throws -> Void) rethrows -> Calls {
      let before = Calls.all
      try body()
      let after = Calls.all
      return Calls(
        multiplications: after.multiplications - before.multiplications, keyPairs: after.keyPairs - before.keyPairs,
        signatures: after.signatures - before.signatures, verifications: after.verifications - before.verifications,
        guarded: after.guarded - before.guarded, sha512: after.sha512 - before.sha512,
        blake2b: after.blake2b - before.blake2b)
    }

    private static var all: Calls {
      Calls(
        multiplications: hyper_crypto_calls(HYPER_CRYPTO_POINT_MULTIPLICATION),
        keyPairs: hyper_crypto_calls(HYPER_CRYPTO_KEY_PAIR), signatures: hyper_crypto_calls(HYPER_CRYPTO_SIGNATURE),
        verifications: hyper_crypto_calls(HYPER_CRYPTO_VERIFICATION),
        guarded: hyper_crypto_calls(HYPER_CRYPTO_GUARDED_MEMORY), sha512: hyper_crypto_calls(HYPER_CRYPTO_SHA512),
        blake2b: hyper_crypto_calls(HYPER_CRYPTO_BLAKE2B))
    }
  }

  override func setUpWithError() throws {
    try XCTSkipIf(hyper_crypto_calls(HYPER_CRYPTO_KEY_PAIR) < 0, "not counted here")
  }

  /// Noise IK has the tokens es, ss, ee and se, each a multiplication on each side, and one ephemeral key a side. The
  /// static scalar comes out of the guarded seed anew for each handshake, with one SHA-512; so does the ephemeral one.
  private func assertOnlyTheHandshake(_ calls: Calls, _ what: String, line: UInt = #line) {
    let ofKeyPair = Calls.count { _ = KeyPair(seed: Bytes32(repeating: 3)) }.sha512
    XCTAssertEqual(calls.multiplications, 8, what, line: line)
    XCTAssertEqual(calls.keyPairs, 2, what, line: line)
    XCTAssertEqual(calls.sha512, 2 * (2 + ofKeyPair), what, line: line)
    XCTAssertEqual(calls.signatures, 0, what, line: line)
    XCTAssertEqual(calls.verifications, 0, what, line: line)
    XCTAssertEqual(calls.guarded, 0, "\(what): keys of one handshake need no guarded pages", line: line)
  }

  /// From the first packet to the open streams of both sides.
  private func connect(_ net: Net, _ client: DHTNode, _ server: DHTServer, _ accepted: Accepted) -> Calls {
    let before = accepted.peers.count
    return Calls.count {
      let peer = net.connect(client, to: server)
      net.wait { peer.opened > 0 && accepted.peers.count > before }
    }
  }

  func testAConnectTakesTheOperationsOfItsHandshake() {
    let net = Net()
    let (server, accepted) = net.listen(on: net.nodes[2])
    let client = net.makeNode()
    assertOnlyTheHandshake(connect(net, client, server, accepted), "to a node that is reachable")
    assertOnlyTheHandshake(connect(net, client, server, accepted), "once more")
    net.destroy()
  }

  func testAConnectThroughAHoleTakesNoMore() {
    let net = Net()
    let (server, accepted) = net.listen(on: net.makeNode())
    assertOnlyTheHandshake(connect(net, net.makeNode(), server, accepted), "between two firewalled nodes")
    net.destroy()
  }

  /// HKDF is six hashes for each of the four multiplications and for the split; the handshake hash takes in seven
  /// items: prologue, responder's key, ephemeral keys, static key, and two payloads.
  func testAHandshakeTakesItsHashes() throws {
    let initiatorKey = NoiseKey(KeyPair(seed: Bytes32(repeating: 1)))
    let responderKey = NoiseKey(KeyPair(seed: Bytes32(repeating: 2)))
    let calls = try Calls.count {
      var initiator = try NoiseHandshake(
        pattern: .ik, isInitiator: true, staticKey: initiatorKey, remotePublicKey: responderKey.publicKey,
        ephemeral: NoiseKey(seed: Bytes32(repeating: 3)))
      var responder = try NoiseHandshake(
        pattern: .ik, isInitiator: false, staticKey: responderKey, ephemeral: NoiseKey(seed: Bytes32(repeating: 4)))
      _ = try responder.receive(initiator.send())
      _ = try initiator.receive(responder.send())
      XCTAssertEqual(initiator.sessionKeys()?.handshakeHash, responder.sessionKeys()?.handshakeHash)
    }
    XCTAssertEqual(calls.blake2b, 2 * (6 * 5 + 7))
    XCTAssertEqual(calls.multiplications, 8)
    XCTAssertEqual(calls.keyPairs, 2)
  }
}
