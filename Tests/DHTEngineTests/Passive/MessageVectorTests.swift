import HyperCrypto
import HyperEncoding
import HyperSecretStream
import HyperTestVectors
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine

/// Every case of `hyperdht-messages.json`, both directions (conformance A-1).
final class MessageVectorTests: XCTestCase {
  private func cases(_ group: String) throws -> [JSON] {
    try Vectors.cases("hyperdht-messages").filter { $0["group"] as? String == group }
  }

  private func report(_ name: String, _ count: Int, expected: Int) {
    print("hyperdht-messages \(name): \(count) cases")
    XCTAssertEqual(count, expected, name)
  }

  /// The groups that the tests below cover are all the groups there are.
  func testNoGroupIsLeftOut() throws {
    let groups = Set(try Vectors.cases("hyperdht-messages").compactMap { $0["group"] as? String })
    XCTAssertEqual(
      groups,
      [
        "namespaces", "key-pair", "target", "message", "message-decode", "mutable-get-request", "signature",
        "secure-payload", "secure-payload-decrypt", "peer-handshake", "refresh-chain", "id-encoding",
        "id-encoding-invalid", "z32", "address", "address-decode",
      ])
  }

  private func check<Message: CompactCodable & Equatable>(
    _ test: JSON, _ build: (Fields) throws -> Message, _ counts: inout [String: Int]
  ) throws {
    let fields = Fields(test)
    let bytes = try fields.bytes("hex")
    if test["group"] as? String == "message" {
      let message = try build(try fields.object("fields"))
      XCTAssertEqual(Vectors.hex(message.encoded), try fields.string("hex"), fields.id)
      XCTAssertEqual(try CompactReader.decode(Message.self, from: bytes), message, fields.id)
      counts["message", default: 0] += 1
      try bytes.withUnsafeBytes { raw in
        var reader = CompactReader(raw)
        _ = try Message(from: &reader)
        XCTAssertEqual(reader.remaining, 0, fields.id)
      }
    } else if fields.has("decoded") {
      let expected = try build(try fields.object("decoded"))
      XCTAssertEqual(try CompactReader.decode(Message.self, from: bytes), expected, fields.id)
      counts["decoded", default: 0] += 1
    } else {
      XCTAssertEqual(try fields.string("error"), "out-of-bounds", fields.id)
      XCTAssertThrowsError(try CompactReader.decode(Message.self, from: bytes), fields.id) {
        XCTAssertEqual($0 as? CompactError, .outOfBounds, fields.id)
      }
      counts["error", default: 0] += 1
    }
  }

  func testDHT_A1_messages() throws {
    var counts: [String: Int] = [:]
    for test in try cases("message") + cases("message-decode") {
      switch test["message"] as? String {
      case "handshake": try check(test, { try $0.handshake() }, &counts)
      case "noisePayload": try check(test, { try $0.noisePayload() }, &counts)
      case "holepunch": try check(test, { try $0.holepunch() }, &counts)
      case "holepunchPayload": try check(test, { try $0.holepunchPayload() }, &counts)
      case "peer": try check(test, { try $0.peer() }, &counts)
      case "peers": try checkPeers(test, &counts)
      case "lookupRawReply": try check(test, { try $0.lookupReply() }, &counts)
      case "announce": try check(test, { try $0.announce() }, &counts)
      case "mutableSignable": try check(test, { try $0.mutableSignable() }, &counts)
      case "mutablePutRequest": try check(test, { try $0.mutablePut() }, &counts)
      case "mutableGetResponse": try check(test, { try $0.mutableGet() }, &counts)
      case "pluginRequest": try check(test, { try $0.pluginRequest() }, &counts)
      case "relayPair": try check(test, { try $0.relayPair() }, &counts)
      case "relayUnpair": try check(test, { try $0.relayUnpair() }, &counts)
      default: XCTFail("unknown message \(test["message"] ?? "nil")")
      }
    }
    report("message", counts["message"] ?? 0, expected: 166)
    report("message-decode", (counts["decoded"] ?? 0) + (counts["error"] ?? 0), expected: 85)
  }

  /// A-1, 7 and 8, over every message of the vectors: unknown flag bits and trailing bytes change nothing, and no
  /// truncation or damaged byte does more than fail or decode to something else.
  func testDHT_07_08_unknownFlagsTrailingBytesAndDamage() throws {
    var damaged = 0
    var random = SeededRandom(seed: 8)
    func check<Message: CompactCodable & Equatable>(
      _ test: JSON, _ type: Message.Type, flagsAt: Int?
    ) throws {
      let fields = Fields(test)
      let bytes = try fields.bytes("hex")
      let message = try CompactReader.decode(type, from: bytes)
      XCTAssertEqual(try CompactReader.decode(type, from: bytes + random.bytes(20)), message, fields.id)
      if let flagsAt {
        // In the 3-byte form, with all upper bits set.
        let flagged = bytes[..<flagsAt] + [0xfd, bytes[flagsAt], 0xff] + bytes[(flagsAt + 1)...]
        XCTAssertEqual(try CompactReader.decode(type, from: Array(flagged)), message, fields.id)
      }
      for count in bytes.indices { _ = try? CompactReader.decode(type, from: Array(bytes[..<count])) }
      for _ in 0..<50 {
        var broken = bytes
        broken[Int(random.next() % UInt64(broken.count))] = UInt8(truncatingIfNeeded: random.next())
        if let other = try? CompactReader.decode(type, from: broken) {
          XCTAssertEqual(try CompactReader.decode(type, from: other.encoded), other, fields.id)
        }
        damaged += 1
      }
    }
    for test in try cases("message") {
      switch test["message"] as? String {
      case "handshake": try check(test, HandshakeMessage.self, flagsAt: 0)
      case "noisePayload": try check(test, NoisePayload.self, flagsAt: 1)
      case "holepunch": try check(test, HolepunchMessage.self, flagsAt: 0)
      case "holepunchPayload": try check(test, HolepunchPayload.self, flagsAt: 0)
      case "peer": try check(test, PeerRecord.self, flagsAt: nil)
      case "lookupRawReply": try check(test, LookupReply.self, flagsAt: nil)
      case "announce": try check(test, AnnounceMessage.self, flagsAt: 0)
      case "mutableSignable": try check(test, MutableSignable.self, flagsAt: nil)
      case "mutablePutRequest": try check(test, MutablePutRequest.self, flagsAt: nil)
      case "mutableGetResponse": try check(test, MutableGetResponse.self, flagsAt: nil)
      case "pluginRequest": try check(test, PluginRequest.self, flagsAt: nil)
      case "relayPair": try check(test, RelayPairMessage.self, flagsAt: 0)
      case "relayUnpair": try check(test, RelayUnpairMessage.self, flagsAt: 0)
      default: break
      }
    }
    print("hyperdht-messages: \(damaged) damaged messages")
    XCTAssertGreaterThan(damaged, 7000)
  }

  /// The record list alone, without the bump that follows it in a reply.
  private func checkPeers(_ test: JSON, _ counts: inout [String: Int]) throws {
    let fields = Fields(test)
    guard let list = test["fields"] as? [JSON] else { return XCTFail(fields.id) }
    let peers = try list.map { try Fields($0, id: fields.id).peer() }
    var writer = CompactWriter()
    writer.array(peers)
    XCTAssertEqual(Vectors.hex(writer.bytes), try fields.string("hex"), fields.id)
    let reply = try CompactReader.decode(LookupReply.self, from: try fields.bytes("hex"))
    XCTAssertEqual(reply, LookupReply(peers: peers, bump: 0), fields.id)
    counts["message", default: 0] += 1
  }

  func testDHT_33_namespaces() throws {
    let ours: [String: (Bytes32, Command)] = [
      "PEER_HANDSHAKE": (Namespaces.peerHandshake, .peerHandshake),
      "PEER_HOLEPUNCH": (Namespaces.peerHolepunch, .peerHolepunch),
      "ANNOUNCE": (Namespaces.announce, .announce), "UNANNOUNCE": (Namespaces.unannounce, .unannounce),
      "MUTABLE_PUT": (Namespaces.mutablePut, .mutablePut), "PLUGIN": (Namespaces.plugin, .plugin),
    ]
    var count = 0
    var others = 0
    for test in try cases("namespaces") {
      let fields = Fields(test)
      let name = try fields.string("name")
      for entry in try fields.objects("entries") {
        // The same construction under other names belongs to other layers; the derivation must hold there too.
        let root = Blake2b.hash32(Array(name.utf8))
        let derived = Blake2b.hash32(root.bytes, [UInt8(try entry.uint("index"))])
        XCTAssertEqual(derived.hex, try entry.string("hash"), fields.id)
        if name == "hyperswarm/dht" {
          let (value, command) = try XCTUnwrap(ours[try entry.string("key")])
          XCTAssertEqual(value.hex, try entry.string("hash"))
          XCTAssertEqual(command.rawValue, try entry.uint("index"))
        } else {
          others += 1
        }
      }
      count += 1
    }
    print("hyperdht-messages namespaces: \(others) entries of other layers")
    report("namespaces", count, expected: 6)
  }

  func testDHT_31_keyPairsAndTargets() throws {
    let pairs = try cases("key-pair")
    for test in pairs {
      let fields = Fields(test)
      let pair = KeyPair(seed: try fields.bytes32("seed"))
      XCTAssertEqual(pair.publicKey, try fields.bytes32("publicKey"), fields.id)
      XCTAssertEqual(pair.withSecretKey { Array($0) }, try fields.bytes("secretKey"), fields.id)
      XCTAssertEqual(Target.of(publicKey: pair.publicKey), try fields.bytes32("target"), fields.id)
    }
    let targets = try cases("target")
    for test in targets {
      let fields = Fields(test)
      XCTAssertEqual(Target.of(value: try fields.bytes("input")), try fields.bytes32("target"), fields.id)
    }
    report("key-pair", pairs.count, expected: 6)
    report("target", targets.count, expected: 4)
  }

  func testDHT_28_mutableGetRequests() throws {
    let tests = try cases("mutable-get-request")
    for test in tests {
      let fields = Fields(test)
      let request = MutableGetRequest(seq: try fields.uint("seq"))
      XCTAssertEqual(request.encoded, try fields.bytes("value"), fields.id)
      XCTAssertEqual(
        try CompactReader.decode(MutableGetRequest.self, from: try fields.bytes("value")), request, fields.id)
    }
    report("mutable-get-request", tests.count, expected: 5)
  }

  func testDHT_34_signatures() throws {
    let tests = try cases("signature")
    for test in tests {
      let fields = Fields(test)
      let pair = KeyPair(seed: try fields.bytes32("seed"))
      let signable: [UInt8]
      let request: [UInt8]
      let signature = try fields.bytes64("signature")
      switch try fields.string("what") {
      case "mutable":
        let seq = try fields.uint("seq")
        let value = try fields.bytes("value")
        signable = Signables.mutable(seq: seq, value: value)
        XCTAssertEqual(
          MutableSignable(seq: seq, value: value).encoded, try fields.bytes("signableEncoded"), fields.id)
        XCTAssertEqual(Target.of(publicKey: pair.publicKey), try fields.bytes32("target"), fields.id)
        request =
          MutablePutRequest(publicKey: pair.publicKey, seq: seq, value: value, signature: signature).encoded
        XCTAssertEqual(
          MutableGetResponse(seq: seq, value: value, signature: signature).encoded,
          try fields.bytes("responseValue"), fields.id)
      case let what:
        XCTAssertTrue(what == "announce" || what == "unannounce", fields.id)
        let peer = PeerRecord(publicKey: pair.publicKey, relayAddresses: try fields.endpoints("relayAddresses"))
        XCTAssertEqual(peer.encoded, try fields.bytes("peerEncoded"), fields.id)
        let refresh = try fields.optionalBytes32("refresh")
        let make = what == "announce" ? Signables.announce : Signables.unannounce
        signable = make(
          try fields.bytes32("target"), try fields.bytes32("nodeId"), try fields.bytes32("token"), peer, refresh)
        request = AnnounceMessage(peer: peer, refresh: refresh, signature: signature).encoded
      }
      XCTAssertEqual(signable, try fields.bytes("signable"), fields.id)
      XCTAssertEqual(Array(signable[32...]), try fields.bytes("signableHash"), fields.id)
      XCTAssertEqual(pair.sign(signable), signature, fields.id)
      XCTAssertTrue(Ed25519.verify(signature, signable, publicKey: pair.publicKey), fields.id)
      let invalid = try fields.bytes64("invalidSignature")
      XCTAssertFalse(Ed25519.verify(invalid, signable, publicKey: pair.publicKey), fields.id)
      XCTAssertEqual(request, try fields.bytes("requestValue"), fields.id)
    }
    report("signature", tests.count, expected: 28)
  }

  func testDHT_24_securePayloads() throws {
    let tests = try cases("secure-payload")
    var invalid = 0
    for test in tests {
      let fields = Fields(test)
      let sealer = HolepunchSealer(
        secret: try fields.bytes32("secret"), localSecret: try fields.bytes32("localSecret"))
      let payload = try fields.object("fields").holepunchPayload()
      let sealed = try fields.bytes("hex")
      XCTAssertEqual(payload.encoded, try fields.bytes("plain"), fields.id)
      XCTAssertEqual(sealer.seal(payload, nonce: try fields.bytes("nonce")), sealed, fields.id)
      XCTAssertEqual(sealer.open(sealed), payload, fields.id)
      let host = try XCTUnwrap(IPv4Address(try fields.string("tokenHost")))
      XCTAssertEqual(sealer.token(for: host), try fields.bytes32("holepunchToken"), fields.id)
      for bad in try fields.objects("invalid") {
        let note = try bad.string("note")
        XCTAssertNil(sealer.open(try bad.bytes("hex")), "\(fields.id) \(note)")
        invalid += 1
      }
    }
    let opened = try cases("secure-payload-decrypt")
    for test in opened {
      let fields = Fields(test)
      let sealer = HolepunchSealer(secret: try fields.bytes32("secret"), localSecret: Bytes32())
      let expected = try fields.optionalObject("decoded")?.holepunchPayload()
      XCTAssertEqual(sealer.open(try fields.bytes("hex")), expected, fields.id)
    }
    print("hyperdht-messages secure-payload: \(invalid) invalid forms refused")
    report("secure-payload", tests.count, expected: 12)
    report("secure-payload-decrypt", opened.count, expected: 3)
    XCTAssertGreaterThan(invalid, tests.count)
  }

  func testDHT_35_refreshChains() throws {
    let tests = try cases("refresh-chain")
    for test in tests {
      let fields = Fields(test)
      let blocks = RefreshChain.blocks(secret: try fields.bytes32("secret"), count: Int(try fields.uint("count")))
      XCTAssertEqual(blocks.map(\.hex), try fields.strings("blocks"), fields.id)
      for index in blocks.indices.dropLast() {
        XCTAssertEqual(RefreshChain.predecessor(of: blocks[index + 1]), blocks[index], fields.id)
      }
    }
    report("refresh-chain", tests.count, expected: 3)
  }

  func testDHT_31_keyText() throws {
    let good = try cases("id-encoding")
    for test in good {
      let fields = Fields(test)
      let key = try fields.bytes32("key")
      XCTAssertEqual(KeyText.zBase32(key), try fields.string("z32"), fields.id)
      for text in try fields.strings("accepted") {
        XCTAssertEqual(try KeyText.parse(text), key, "\(fields.id) \(text)")
      }
    }
    let bad = try cases("id-encoding-invalid")
    for test in bad {
      let fields = Fields(test)
      XCTAssertFalse(try fields.bool("valid"), fields.id)
      XCTAssertThrowsError(try KeyText.parse(try fields.string("text")), fields.id) {
        XCTAssertEqual("\($0)", "Invalid Hypercore key")
      }
    }
    let coded = try cases("z32")
    for test in coded {
      let fields = Fields(test)
      XCTAssertEqual(ZBase32.encode(try fields.bytes("hex")), try fields.string("text"), fields.id)
      XCTAssertEqual(ZBase32.decode(try fields.string("text")), try fields.bytes("hex"), fields.id)
    }
    report("id-encoding", good.count, expected: 5)
    report("id-encoding-invalid", bad.count, expected: 13)
    report("z32", coded.count, expected: 6)
  }

  func testDHT_31_addressBlobs() throws {
    let both = try cases("address")
    for test in both {
      let fields = Fields(test)
      let blob = AddressBlob(publicKey: try fields.bytes32("key"), nodes: try fields.optionalEndpoints("nodes"))
      XCTAssertEqual(blob.encoded, try fields.bytes("hex"), fields.id)
      XCTAssertEqual(try AddressBlob(try fields.bytes("hex")), blob, fields.id)
    }
    let decode = try cases("address-decode")
    for test in decode {
      let fields = Fields(test)
      if fields.has("error") {
        XCTAssertThrowsError(try AddressBlob(try fields.bytes("hex")), fields.id) {
          XCTAssertEqual($0 as? CompactError, .outOfBounds, fields.id)
        }
      } else {
        let blob = AddressBlob(publicKey: try fields.bytes32("key"), nodes: try fields.optionalEndpoints("nodes"))
        XCTAssertEqual(try AddressBlob(try fields.bytes("hex")), blob, fields.id)
      }
    }
    report("address", both.count, expected: 5)
    report("address-decode", decode.count, expected: 4)
  }

  /// Noise messages, keys and derived secrets of a whole peer handshake (hyperdht.md 4).
  func testDHT_4_peerHandshakes() throws {
    let tests = try cases("peer-handshake")
    for test in tests {
      let fields = Fields(test)
      func pair(_ name: String) throws -> KeyPair { KeyPair(seed: try fields.object(name).bytes32("seed")) }
      let prologue = try fields.bytes("prologue")
      XCTAssertEqual(prologue, Namespaces.peerHandshake.bytes, fields.id)
      let server = try pair("serverStatic")
      var client = try NoiseHandshake(
        pattern: .ik, isInitiator: true, keyPair: try pair("clientStatic"), remotePublicKey: server.publicKey,
        prologue: prologue, ephemeral: try pair("clientEphemeral"))
      var responder = try NoiseHandshake(
        pattern: .ik, isInitiator: false, keyPair: server, prologue: prologue, ephemeral: try pair("serverEphemeral"))

      let request = try fields.object("request")
      let requestPayload = try request.object("payload").noisePayload()
      XCTAssertEqual(requestPayload.encoded, try request.bytes("payloadEncoded"), fields.id)
      let first = try client.send(payload: requestPayload.encoded)
      XCTAssertEqual(Vectors.hex(first), try request.string("noise"), fields.id)
      let received = try responder.receive(first)
      XCTAssertEqual(try CompactReader.decode(NoisePayload.self, from: received), requestPayload, fields.id)
      XCTAssertEqual(responder.remotePublicKey, try pair("clientStatic").publicKey, fields.id)

      let reply = try fields.object("reply")
      let replyPayload = try reply.object("payload").noisePayload()
      XCTAssertEqual(replyPayload.encoded, try reply.bytes("payloadEncoded"), fields.id)
      let second = try responder.send(payload: replyPayload.encoded)
      XCTAssertEqual(Vectors.hex(second), try reply.string("noise"), fields.id)
      let answer = try client.receive(second)
      XCTAssertEqual(try CompactReader.decode(NoisePayload.self, from: answer), replyPayload, fields.id)

      let clientKeys = try XCTUnwrap(client.sessionKeys(), fields.id)
      let serverKeys = try XCTUnwrap(responder.sessionKeys(), fields.id)
      XCTAssertEqual(clientKeys.handshakeHash, try fields.bytes64("handshakeHash"), fields.id)
      XCTAssertEqual(serverKeys.handshakeHash, clientKeys.handshakeHash, fields.id)
      XCTAssertEqual(clientKeys.sendKey, try fields.bytes32("clientTx"), fields.id)
      XCTAssertEqual(clientKeys.receiveKey, try fields.bytes32("clientRx"), fields.id)
      XCTAssertEqual(serverKeys.sendKey, clientKeys.receiveKey, fields.id)
      XCTAssertEqual(clientKeys.streamID(ofInitiator: true), try fields.bytes32("clientStreamId"), fields.id)
      XCTAssertEqual(clientKeys.streamID(ofInitiator: false), try fields.bytes32("serverStreamId"), fields.id)
      let secret = try fields.bytes32("holepunchSecret")
      XCTAssertEqual(HolepunchSealer.secret(handshakeHash: clientKeys.handshakeHash), secret, fields.id)
      XCTAssertEqual(clientKeys.derive(Namespaces.peerHolepunch), secret, fields.id)
    }
    report("peer-handshake", tests.count, expected: 4)
  }
}
