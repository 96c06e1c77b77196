import HyperCrypto
import HyperEncoding
import HyperSecretStream
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine

/// The bytes of hyperdht-extensions.md.
final class MigrationMessageTests: XCTestCase {
  private let key = Bytes32(0..<32 as Range<UInt8>)!

  private func message(_ kind: MigrationMessage.Kind) -> MigrationMessage {
    MigrationMessage(
      kind: kind, streamID: 0xdead_beef, counter: 5, moveNonce: 0x0102_0304_0506_0708,
      challengeNonce: kind == .move ? 0 : 0x1112_1314_1516_1718)
  }

  private func open(_ bytes: [UInt8], _ key: Bytes32) -> MigrationMessage? {
    bytes.withUnsafeBytes { MigrationMessage($0, key: key) }
  }

  /// Made with another implementation of BLAKE2b.
  func testGoldenBytes() throws {
    let golden: [MigrationMessage.Kind: String] = [
      .move: "f5010100efbeadde050000000000000008070605040302010000000000000000"
        + "0b5d9148a43d32c2b4d5ccc990cde7cf0f8192de530829a3239c60ed3ac2ff45",
      .challenge: "f5010200efbeadde050000000000000008070605040302011817161514131211"
        + "a0bd1fa66b779d9af31a38b87d7e7406a4ddd21aba33d4994e7e91a702714961",
      .response: "f5010300efbeadde050000000000000008070605040302011817161514131211"
        + "6f52f3af4202f66cf8727b3cd38cc61ad4a6a49a7968986794e44568ac7aeaa8",
      .moved: "f5010400efbeadde050000000000000008070605040302011817161514131211"
        + "e220a4d9bf35f0fe769cbc3ebfe8d3632c4ab42a169a134fa9c96eee14326e80",
    ]
    for kind in MigrationMessage.Kind.allCases {
      let bytes = message(kind).sealed(key)
      XCTAssertEqual(Hex.encode(bytes), golden[kind], "\(kind)")
      XCTAssertEqual(bytes.count, MigrationMessage.size)
      XCTAssertEqual(open(bytes, key), message(kind))
    }
  }

  func testKeysAreThoseOfTheDirection() {
    let hash = Bytes64(0..<64 as Range<UInt8>)!
    let (one, two) = (Bytes32(repeating: 1), Bytes32(repeating: 2))
    func keys(_ isInitiator: Bool) -> SessionKeys {
      SessionKeys(
        sendKey: isInitiator ? one : two, receiveKey: isInitiator ? two : one, handshakeHash: hash,
        isInitiator: isInitiator, publicKey: Bytes32(), remotePublicKey: Bytes32())
    }
    XCTAssertEqual(
      Hex.encode(keys(true).migrationSendKey.bytes),
      "c18399a987b603e250dca24372c8b0dfdb1d2d4d657b022905fd99a0d245b382")
    XCTAssertEqual(
      Hex.encode(keys(true).migrationReceiveKey.bytes),
      "82aab17e1c6641b1a220ccf52d5392ae64ad4cce270f0eced2eff43bedfcff52")
    XCTAssertEqual(keys(false).migrationSendKey, keys(true).migrationReceiveKey)
    XCTAssertEqual(keys(false).migrationReceiveKey, keys(true).migrationSendKey)
  }

  /// Every bit counts, and so does the length.
  func testNothingButTheWholeMessageIsAccepted() {
    for kind in MigrationMessage.Kind.allCases {
      let bytes = message(kind).sealed(key)
      for bit in 0..<bytes.count * 8 {
        var changed = bytes
        changed[bit / 8] ^= 1 << UInt8(bit % 8)
        XCTAssertNil(open(changed, key), "\(kind), bit \(bit)")
      }
      for count in 0..<bytes.count { XCTAssertNil(open(Array(bytes[..<count]), key), "\(kind), \(count) bytes") }
      XCTAssertNil(open(bytes + [0], key))
      XCTAssertNil(open(bytes, Bytes32(repeating: 7)))
    }
  }

  /// What does not decode is refused, the right MAC or not.
  func testSignedNonsenseIsRefused() {
    var random = SeededRandom(seed: 5)
    var accepted = 0
    for _ in 0..<50_000 {
      var body = random.bytes(32)
      if random.next() % 2 == 0 { body[0] = 0xf5 }
      if random.next() % 2 == 0 { body[1] = 1 }
      if random.next() % 2 == 0 { body[3] = 0 }
      let bytes = body + Blake2b.hash32(body, key: key.bytes).bytes
      guard let message = open(bytes, key) else { continue }
      accepted += 1
      XCTAssertEqual(message.sealed(key), bytes, "one form for each message")
    }
    XCTAssertGreaterThan(accepted, 10)
    for _ in 0..<50_000 { XCTAssertNil(open(random.bytes(Int(random.next() % 80)), key)) }
  }

  /// Datagrams of the other protocols on a socket never look like ours, and ours not like theirs.
  func testFirstByte() {
    XCTAssertFalse([3, 0x13, 0xff, 0].contains(MigrationMessage.firstByte))
    XCTAssertNotEqual(message(.move).sealed(key).count, 1)
  }

  // MARK: The handshake's payload

  private var payload: NoisePayload {
    NoisePayload(
      firewall: .unknown, addresses4: [Endpoint(host: IPv4Address(1, 2, 3, 4), port: 5)], udx: .init(id: 9),
      secretStream: .init())
  }

  func testPayloadBytes() throws {
    let plain = payload.encoded
    XCTAssertEqual(
      Hex.encode(plain),
      "011a00000101020304050001000900"
        + "01")
    var offer = payload
    offer.migration = .init()
    XCTAssertEqual(Hex.encode(offer.encoded), "01fd1a80000001010203040500010009000101" + "00")
    var resume = payload
    resume.migration = .init(resumedStream: 0x1234)
    XCTAssertEqual(Hex.encode(resume.encoded), "01fd1a800000010102030405000100090001" + "0101fd3412")
    for value in [payload, offer, resume] {
      XCTAssertEqual(try CompactReader.decode(NoisePayload.self, from: value.encoded), value)
    }
    // 2 bytes of flags and 2 of the field: far from any bound.
    XCTAssertEqual(offer.encoded.count, plain.count + 4)
  }

  /// As deployed decoders see it: flags that they do not know, and bytes behind the last field that they do.
  func testDeployedDecodersSeeThePayloadWithoutIt() throws {
    var offer = payload
    offer.relayAddresses = []
    offer.migration = .init(resumedStream: 77)
    // Version 1, then flags in three bytes.
    XCTAssertEqual(Array(offer.encoded.prefix(4)), [1, 0xfd, 0x5a, 0x80])
    let known = NoisePayload(
      firewall: payload.firewall, addresses4: payload.addresses4, udx: payload.udx,
      secretStream: payload.secretStream, relayAddresses: [])
    // The fields are the same bytes in the same places.
    let fields = Array(known.encoded.dropFirst(2))
    XCTAssertEqual(Array(offer.encoded.dropFirst(4).prefix(fields.count)), fields)
  }

  /// Fields that a later version puts before ours have a length that we do not know.
  func testUnknownFieldsHideOurs() throws {
    var offer = payload
    offer.migration = .init()
    for bit in [0x80, 0x100, 0x4000, 0x1_0000] as [UInt64] {
      var writer = CompactWriter()
      writer.uint(1)
      writer.uint(0x1a | 0x8000 | bit)
      let bytes = writer.bytes + offer.encoded.dropFirst(4)
      let decoded = try CompactReader.decode(NoisePayload.self, from: bytes)
      XCTAssertNil(decoded.migration)
      XCTAssertEqual(decoded.udx, payload.udx)
    }
  }

  /// What is behind our flag is none of ours if it is no such field. The rest of the payload counts.
  func testAFieldThatIsNoneOfOursIsIgnored() throws {
    var offer = payload
    offer.migration = .init()
    let before = Array(offer.encoded.dropLast(2))
    let fields: [[UInt8]] = [
      [], [1], [1, 1], [2, 1, 5], [1, 1, 0xfe, 1, 2], [1, 1, 0xff, 0, 0, 0, 0, 1, 0, 0, 0],
      [1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], [0xff], [200, 1, 2, 3],
    ]
    for field in fields {
      let decoded = try CompactReader.decode(NoisePayload.self, from: before + field)
      XCTAssertEqual(decoded, payload, "\(field)")
    }
    let largest = try CompactReader.decode(NoisePayload.self, from: before + [1, 1, 0xfe, 0xff, 0xff, 0xff, 0xff])
    XCTAssertEqual(largest.migration?.resumedStream, .max)
  }

  func testPayloadFuzz() {
    var random = SeededRandom(seed: 11)
    var offer = payload
    offer.migration = .init(resumedStream: 0xffff_ffff)
    let good = offer.encoded
    for _ in 0..<50_000 {
      var bytes = good
      for _ in 0...random.next() % 3 { bytes[Int(random.next() % UInt64(bytes.count))] = UInt8(random.next() % 256) }
      bytes.removeLast(Int(random.next() % 6))
      guard let decoded = try? CompactReader.decode(NoisePayload.self, from: bytes) else { continue }
      XCTAssertEqual(try? CompactReader.decode(NoisePayload.self, from: decoded.encoded), decoded)
    }
  }
}
