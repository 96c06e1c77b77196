import HyperCrypto
import HyperEncoding
import HyperSecretStream
import HyperTestVectors
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine
@testable import HyperRPC

/// A few bits of a size.
private func magnitude(_ count: Int) -> Int { count.bitWidth - count.leadingZeroBitCount }

/// Bytes of strangers for every decoder of this layer and the one below, and for whole hosts.
final class FuzzTests: XCTestCase {
  /// Real datagrams of the recorded sessions.
  private func recordedDatagrams() throws -> [[UInt8]] {
    try Vectors.cases("session-connect").map { Fields($0) }.flatMap { session in
      try session.objects("datagrams").map { try $0.bytes("hex") }
    }
  }

  // MARK: Decoders

  func testDatagrams() throws {
    try Fuzzer(
      name: "datagram", mutations: 20_000, allocates: (16 << 10, 64), seeds: try recordedDatagrams()
    ) { bytes in
      switch bytes.withUnsafeBytes({ Datagram($0) }) {
      case nil: return [0, magnitude(bytes.count)]
      case .request(let request):
        let again = request.encode()
        XCTAssertLessThanOrEqual(again.count, bytes.count + 16)
        guard case .request(let decoded)? = again.withUnsafeBytes({ Datagram($0) }) else {
          XCTFail("what was read cannot be read again: \(Hex.encode(bytes))")
          return []
        }
        XCTAssertEqual(decoded.command, request.command)
        XCTAssertEqual(decoded.target, request.target)
        return [
          1, request.id == nil ? 0 : 1, request.token == nil ? 0 : 1, request.isInternal ? 1 : 0,
          Int(min(request.command, 5)), request.target == nil ? 0 : 1, magnitude(request.value?.count ?? 0) / 4,
        ]
      case .response(let response):
        XCTAssertLessThanOrEqual(response.encode().count, bytes.count + 16)
        return [
          2, response.id == nil ? 0 : 1, response.token == nil ? 0 : 1, response.closerNodes == nil ? 0 : 1,
          Int(min(response.error, 2)), magnitude(response.value?.count ?? 0) / 4,
        ]
      }
    }.test()
  }

  /// The first byte names the decoder.
  func testMessages() throws {
    func read<Message: CompactDecodable & CompactEncodable>(_ type: Message.Type) -> ([UInt8]) -> Int? {
      { bytes in (try? CompactReader.decode(type, from: bytes)).map { CompactWriter.encode($0).count } }
    }
    let decoders: [([UInt8]) -> Int?] = [
      read(HandshakeMessage.self), read(HolepunchMessage.self), read(AnnounceMessage.self), read(PeerRecord.self),
      read(LookupReply.self), read(MutablePutRequest.self), read(MutableGetRequest.self),
      read(MutableGetResponse.self), read(NoisePayload.self), read(HolepunchPayload.self),
      read(RelayPairMessage.self), read(RelayUnpairMessage.self),
      { bytes in (try? AddressBlob(bytes)).map { $0.nodes?.count ?? 0 } },
      { bytes in (try? CompactReader.decode(PluginRequest.self, from: bytes)).map { $0.value?.count ?? 0 } },
      { bytes in (try? ProtomuxFrame(bytes)).map { _ in 0 } },
      { bytes in
        bytes.withUnsafeBytes { bytes in
          // A forger does not have the key: what it sends has to fit nevertheless.
          XCTAssertNil(MigrationMessage(bytes, key: Bytes32(repeating: 9)))
          return MigrationMessage.streamID(of: bytes).map { _ in MigrationMessage.size }
        }
      },
      { bytes in
        let text = String(decoding: bytes, as: UTF8.self)
        if let key = try? KeyText.parse(text) { XCTAssertEqual(try? KeyText.parse(KeyText.zBase32(key)), key) }
        return (try? KeyText.parse(text)).map { _ in Bytes32.count }
      },
    ]
    let values = try recordedDatagrams().compactMap { bytes -> [UInt8]? in
      if case .request(let request)? = bytes.withUnsafeBytes({ Datagram($0) }) { return request.value }
      return nil
    }
    let move = MigrationMessage(kind: .move, streamID: 1, counter: 1, moveNonce: 2).sealed(Bytes32(repeating: 8))
    let texts = [[UInt8](repeating: 0x61, count: 64), [UInt8](repeating: 0x79, count: 52)]
    let seeds =
      values.flatMap { value in decoders.indices.map { [UInt8($0)] + value } }
      + ([move] + texts).flatMap { value in (15..<17).map { [UInt8($0)] + value } }
    try Fuzzer(name: "messages", mutations: 20_000, allocates: (32 << 10, 128), seeds: seeds) { bytes in
      guard let first = bytes.first else { return [] }
      let decoder = Int(first) % decoders.count
      guard let size = decoders[decoder](Array(bytes.dropFirst())) else { return [decoder, -1] }
      // What is read is no larger than what came.
      XCTAssertLessThanOrEqual(size, bytes.count + 64, Hex.encode(bytes))
      return [decoder, magnitude(size)]
    }.test()
  }

  /// The first byte names the message that is awaited: the two of IK, the three of XX.
  func testNoiseMessages() throws {
    let (client, server) = (KeyPair(seed: Bytes32(repeating: 1)), KeyPair(seed: Bytes32(repeating: 2)))
    func handshake(_ pattern: NoisePattern, _ isInitiator: Bool) throws -> NoiseHandshake {
      try NoiseHandshake(
        pattern: pattern, isInitiator: isInitiator, keyPair: isInitiator ? client : server,
        remotePublicKey: isInitiator && pattern == .ik ? server.publicKey : nil, prologue: [1],
        ephemeral: KeyPair(seed: Bytes32(repeating: isInitiator ? 3 : 4)))
    }
    var awaiting: [NoiseHandshake] = []
    var seeds: [[UInt8]] = []
    for pattern in [NoisePattern.ik, .xx] {
      var sides = [try handshake(pattern, true), try handshake(pattern, false)]
      var sender = 0
      while !sides[sender].isComplete {
        let message = try sides[sender].send(payload: [1, 2, 3])
        sender = 1 - sender
        seeds.append([UInt8(awaiting.count)] + message)
        awaiting.append(sides[sender])
        _ = try sides[sender].receive(message)
      }
    }
    try Fuzzer(name: "noise", mutations: 500, allocates: (64 << 10, 32), seeds: seeds) { bytes in
      let index = Int(bytes.first ?? 0) % awaiting.count
      var side = awaiting[index]
      let known = side.remotePublicKey
      do throws(NoiseError) {
        let payload = try side.receive(Array(bytes.dropFirst()))
        XCTAssertLessThanOrEqual(payload.count, bytes.count)
        return [index, 3, magnitude(payload.count)]
      } catch {
        XCTAssertEqual(side.remotePublicKey, known, "a message that fails leaves nothing")
        return [index, error == .messageTooShort ? 0 : error == .invalidKey ? 1 : 2, magnitude(bytes.count)]
      }
    }.test()
  }

  func testProtomuxFrames() throws {
    let mux = RelayMux()
    var frames: [[UInt8]] = []
    mux.send = { frames.append($0) }
    let channel = mux.open("blind-relay", id: [1])
    channel?.send(1, RelayPairMessage(isInitiator: true, token: Bytes32(repeating: 4), id: 5))
    try Fuzzer(name: "protomux", mutations: 10_000, allocates: (64 << 10, 512), seeds: frames) { bytes in
      let mux = RelayMux()
      var sent = 0
      var messages = 0
      var isBroken = false
      mux.send = { _ in sent += 1 }
      mux.onError = { _ in isBroken = true }
      let channel = mux.open("blind-relay", id: [1])
      channel?.onMessage = { _, _ throws(CompactError) in messages += 1 }
      // Frames of a stream, each with its length in one byte.
      var rest = bytes[...]
      while let count = rest.popFirst() {
        Array(rest.prefix(Int(count))).withUnsafeBytes { mux.receive($0) }
        rest = rest.dropFirst(Int(count))
      }
      XCTAssertLessThanOrEqual(mux.channelCount, Limits.Relay.channels)
      XCTAssertLessThanOrEqual(sent, 2 + bytes.count)
      return [isBroken ? 1 : 0, min(messages, 4), min(sent, 6)]
    }.test()
  }
}
