import HyperCrypto
import HyperEncoding
import HyperTestVectors
import XCTest

@testable import HyperDHTEngine

/// The vectors of hyperdht.md Part D and the rules of A-1 that no vector states.
final class MessageTests: XCTestCase {
  private func endpoint(_ text: String) -> Endpoint { Endpoint(text) ?? Endpoint(host: .any, port: 0) }

  func testDHT_01_emptyNoisePayloadIsFourBytes() throws {
    let payload = NoisePayload()
    XCTAssertEqual(payload.encoded.count, 4)
    let decoded = try CompactReader.decode(NoisePayload.self, from: payload.encoded)
    XCTAssertEqual(decoded.addresses4, [])
    XCTAssertEqual(decoded.addresses6, [])
    XCTAssertNil(decoded.relayAddresses)
    XCTAssertNil(decoded.holepunch)
  }

  func testDHT_02_noisePayloadOptionalFields() throws {
    let relay = NoisePayload.Relay(relayAddress: endpoint("1.2.3.4:5"), peerAddress: endpoint("6.7.8.9:10"))
    let forms = [
      NoisePayload(holepunch: .init(id: 10, relays: [relay]), addresses4: [endpoint("9.9.9.9:99")]),
      NoisePayload(relayAddresses: [endpoint("1.1.1.1:1")]),
      NoisePayload(addresses4: [endpoint("1.1.1.1:1"), endpoint("2.2.2.2:2")]),
      NoisePayload(addresses6: [IPv6Endpoint(host: try XCTUnwrap(IPv6Address("2001:db8::1")), port: 443)]),
    ]
    for payload in forms {
      let bytes = payload.encoded
      bytes.withUnsafeBytes { raw in
        var reader = CompactReader(raw)
        XCTAssertEqual(try? NoisePayload(from: &reader), payload)
        XCTAssertEqual(reader.remaining, 0)
      }
    }
    // Relay first.
    XCTAssertEqual(Array(forms[0].encoded[6..<18]), [1, 2, 3, 4, 5, 0, 6, 7, 8, 9, 10, 0])
  }

  func testDHT_03_otherVersionDecodesToDefaults() throws {
    let payload = try CompactReader.decode(NoisePayload.self, from: [2] + [UInt8](repeating: 0xff, count: 50))
    XCTAssertEqual(payload, NoisePayload(version: 2))
  }

  func testDHT_04_flagsWithoutBytes() throws {
    let none = HolepunchPayload()
    let both = HolepunchPayload(connected: true, punching: true)
    XCTAssertEqual(none.encoded, [0, 0, 0, 0])
    XCTAssertEqual(both.encoded, [3, 0, 0, 0])
    for payload in [
      none, both, HolepunchPayload(punching: true, addresses: [endpoint("1.2.3.4:5")]),
      HolepunchPayload(punching: true, remoteToken: Bytes32(repeating: 7)), HolepunchPayload(addresses: []),
    ] {
      XCTAssertEqual(try CompactReader.decode(HolepunchPayload.self, from: payload.encoded), payload)
    }
  }

  /// Counts above 0x100000 fail, and a count that the input cannot hold fails before the elements are there.
  func testDHT_08_arrayCounts() {
    let key = [UInt8](repeating: 1, count: 32)
    XCTAssertThrowsError(try CompactReader.decode(PeerRecord.self, from: key + [0xfe, 1, 0, 0x10, 0])) {
      XCTAssertEqual($0 as? CompactError, .arrayTooBig)
    }
    XCTAssertThrowsError(try CompactReader.decode(PeerRecord.self, from: key + [0xfe, 0, 0, 0x10, 0])) {
      XCTAssertEqual($0 as? CompactError, .outOfBounds)
    }
    // Buffers: a length beyond the input, and beyond Int.
    let lengths: [[UInt8]] = [[0xfd, 0xff, 0xff], [0xff] + [UInt8](repeating: 0xff, count: 8)]
    for length in lengths {
      XCTAssertThrowsError(try CompactReader.decode(HandshakeMessage.self, from: [0, 0] + length)) {
        XCTAssertEqual($0 as? CompactError, .outOfBounds)
      }
    }
  }

  func testStreamIDsAboveThirtyTwoBitsAreRefused() {
    // version 1, flags udx, error, firewall, then udx version, features, id 2^32, seq
    let bytes: [UInt8] = [1, 8, 0, 0, 1, 0, 0xff, 0, 0, 0, 0, 1, 0, 0, 0, 0]
    XCTAssertThrowsError(try CompactReader.decode(NoisePayload.self, from: bytes)) {
      XCTAssertEqual($0 as? CompactError, .invalidValue)
    }
  }

  // MARK: hyperdht.md Part D

  private let server = KeyPair(seed: Bytes32(repeating: 2))

  func testDHT_D1_targets() {
    XCTAssertEqual(
      Target.of(publicKey: server.publicKey).hex, "c11ae4092c56101421f745612bdc6b51c1e646c61ac3f5eccfed2f59c200f581")
    XCTAssertEqual(
      Target.of(value: Array("hello".utf8)).hex, "324dcf027dd4a30a932c441f365a25e86b173defa4b8e58948253471b81b72cf")
  }

  func testDHT_D2_noisePayloads() throws {
    let client = NoisePayload(
      addresses4: [endpoint("192.168.1.10:49737")], udx: .init(id: 0x1122_3344), secretStream: .init())
    try both(client, "011a000001c0a8010a49c20100fe443322110001")
    let relay = NoisePayload.Relay(relayAddress: endpoint("10.1.2.3:49737"), peerAddress: endpoint("5.6.7.8:40000"))
    let reply = NoisePayload(
      holepunch: .init(id: 0, relays: [relay]), addresses4: [endpoint("192.168.1.20:49738")],
      udx: .init(reusableSocket: true, id: 0x5566_7788), secretStream: .init(),
      relayAddresses: [endpoint("10.1.2.3:49737")])
    try both(reply, "015b000000010a01020349c205060708409c01c0a801144ac20101fe887766550001010a01020349c2")
    let all = NoisePayload(
      firewall: .consistent, holepunch: .init(id: 300, relays: []), addresses4: [endpoint("1.2.3.4:1")],
      addresses6: [IPv6Endpoint(host: try XCTUnwrap(IPv6Address("2001:db8::1")), port: 443)],
      udx: .init(reusableSocket: true, id: 1), secretStream: .init(),
      relayThrough: .init(publicKey: Bytes32(repeating: 0xab), token: Bytes32(repeating: 0xcd)), relayAddresses: [])
    try both(
      all,
      "017f0002fd2c0100010102030401000120010db8000000000000000000000001bb0101010100010100"
        + String(repeating: "ab", count: 32) + String(repeating: "cd", count: 32) + "00")
  }

  func testDHT_D3_routingMessages() throws {
    try both(
      HandshakeMessage(
        mode: .fromSecondRelay, noise: Vectors.bytes("deadbeef"), peerAddress: endpoint("1.2.3.4:4000"),
        relayAddress: endpoint("5.6.7.8:5000")), "030304deadbeef01020304a00f050607088813")
    try both(
      HolepunchMessage(
        mode: .fromClient, id: 7, payload: Vectors.bytes("cafebabe"), peerAddress: endpoint("9.8.7.6:1234")),
      "01000704cafebabe09080706d204")
    try both(HolepunchPayload(remoteAddress: endpoint("5.6.7.8:40000")), "0800000005060708409c")
    try both(
      HolepunchPayload(
        firewall: .consistent, round: 1, punching: true, addresses: [endpoint("1.2.3.4:4000")],
        token: Bytes32(repeating: 0xaa), remoteToken: Bytes32(repeating: 0xbb)),
      "360002010101020304a00f" + String(repeating: "aa", count: 32) + String(repeating: "bb", count: 32))
    let sealer = HolepunchSealer(secret: Bytes32(), localSecret: Bytes32(repeating: 7))
    XCTAssertEqual(
      sealer.token(for: IPv4Address(1, 2, 3, 4)).hex,
      "651d30d0534ca1daaaedf066f93c28ce4ee2e9c74db1a57159f49d6c192fcb10")
    let hash = try XCTUnwrap(
      Bytes64(
        hex:
          "f5544bddd5765aa485571e6151d7731a93daf273b6caf4a28f9e586ce6250a4b"
          + "f31d1a8faddf198bf87645aa3f3c678a51d14fcc967b49ff9db1c2a53007a91c"
      ))
    XCTAssertEqual(
      HolepunchSealer.secret(handshakeHash: hash).hex,
      "443143563006b6ccd323aacbe1047d6462d8cbced555ce04208f0dd402a23874")
  }

  func testDHT_D4_records() throws {
    let target = Target.of(publicKey: server.publicKey)
    let node = try XCTUnwrap(Bytes32(hex: "f36de4d3c59b45559d6d8176f2664a922e488a30bbc4478dcf5b08eaf9704f4f"))
    let token = Bytes32(repeating: 9)
    let peer = PeerRecord(publicKey: server.publicKey)
    let announce = Signables.announce(target: target, nodeID: node, token: token, peer: peer)
    XCTAssertEqual(
      Vectors.hex(announce[32...]), "047a8fc0600f7acd737182cfe147233a754173fb6385b6c8b393b705328e8f20")
    let signature = server.sign(announce)
    XCTAssertEqual(
      signature.hex,
      "c9b089ef86bdf16192bd5fb1d2bd8cd3de0d2e5e3d94de69c5d9889c11bd4955"
        + "13fffd855d0f43a41a70acf8a4b95b62133cded0c0a952545182b03baa424208"
    )
    XCTAssertEqual(
      server.sign(Signables.unannounce(target: target, nodeID: node, token: token, peer: peer)).hex,
      "1f15d4aed44b76ef335cd35d155b02a98b1184f76c2faceaac0dd8f8d4dbdd22"
        + "3bca31f33f9a4d8d68a57c5ed7ace622e35e3e38a9fb76ab192f6eda967df70e"
    )
    try both(
      AnnounceMessage(peer: peer, signature: signature), "05" + server.publicKey.hex + "00" + signature.hex)
    let bumped = AnnounceMessage(
      peer: peer, signature: Bytes64([UInt8](repeating: 0x11, count: 64)), bump: 1_700_000_000_000)
    let encoded = Vectors.hex(bumped.encoded)
    XCTAssertTrue(encoded.hasPrefix("0d"))
    XCTAssertTrue(encoded.hasSuffix("11ff0068e5cf8b010000"))
    try both(LookupReply(peers: [peer], bump: 2), "01" + server.publicKey.hex + "0002")
    XCTAssertEqual(
      LookupReply.encode(records: [peer.encoded], bump: 2), LookupReply(peers: [peer], bump: 2).encoded)
    let mutable = Signables.mutable(seq: 5, value: Array("hello".utf8))
    XCTAssertEqual(Vectors.hex(mutable[32...]), "746316aae982c3dd3bf551a7fdce1ff81de38ccb7aac188b208ee8df21bb1c66")
    XCTAssertEqual(
      server.sign(mutable).hex,
      "cf508145dfc01f8e3cc7bf613433bd470dd1fd61cf015e5d48bdb068b2482e63"
        + "7d05bdc0dd8c3f4a131bf41332cc8553c821941ea20899b5e816051a9fe75b03"
    )
    try both(
      PluginRequest(plugin: "demo", version: 1, command: 2, value: Array("hi".utf8)), "0464656d6f010201026869")
    try both(PluginRequest(plugin: "demo", version: 1, command: 2), "0464656d6f010200")
  }

  func testDHT_D5_blindRelay() throws {
    let token = String(repeating: "0c", count: 32)
    try both(
      RelayPairMessage(isInitiator: true, token: Bytes32(repeating: 12), id: 0x1122_3344),
      "01" + token + "fe4433221100")
    try both(RelayUnpairMessage(token: Bytes32(repeating: 12)), "00" + token)
    // The longer forms of the flags byte.
    for form in ["fd0100", "fe01000000", "ff0100000000000000"] {
      let message = try CompactReader.decode(RelayPairMessage.self, from: Vectors.bytes(form + token + "0000"))
      XCTAssertTrue(message.isInitiator, form)
    }
  }

  private func both<Message: CompactCodable & Equatable>(_ message: Message, _ hex: String) throws {
    XCTAssertEqual(Vectors.hex(message.encoded), hex)
    XCTAssertEqual(try CompactReader.decode(Message.self, from: Vectors.bytes(hex)), message)
    // Trailing bytes are ignored.
    XCTAssertEqual(try CompactReader.decode(Message.self, from: Vectors.bytes(hex + "00")), message)
  }
}
