import HyperEncoding
import HyperEnvironment
import HyperTestVectors
import HyperswarmTesting
import XCTest

@testable import HyperSecretStream

/// Bytes of a peer that dials us for a whole stream, whose keys a forger does not have.
final class StreamCorpusTests: XCTestCase {
  /// The first byte of an input is the size of the pieces in which the rest arrives.
  func testBytesToAStream() throws {
    let pair = StreamPair()
    let wire = WireTransport(pair.environment)
    pair.a.start(transport: wire, keys: pair.keysA)
    let messages: [[UInt8]] = [Array("hello".utf8), [], [UInt8](repeating: 9, count: 70), Array("bye".utf8)]
    for message in messages { pair.a.write(message) }
    pair.run()
    let expected = [[]] + messages
    try Fuzzer(
      name: "stream", mutations: 300, allocates: (1 << 20, 64), seeds: [[0] + wire.written, [7] + wire.written]
    ) { bytes in
      let network = VirtualNetwork(seed: 1)
      let environment = network.makeHost()
      let stream = EncryptedStream(environment: environment, isInitiator: false)
      let record = Recorder(stream)
      let transport = WireTransport(environment)
      stream.start(transport: transport, keys: StreamPair.keys().1)
      let size = max(Int(bytes.first ?? 1), 1)
      var rest = bytes.dropFirst()
      while !rest.isEmpty {
        transport.feed(Array(rest.prefix(size)))
        rest = rest.dropFirst(size)
      }
      network.advance(by: 40_000)
      let kind = [record.messages.count, record.closeCount, transport.written.count]
      XCTAssertEqual(record.messages, Array(expected.prefix(record.messages.count)), "nothing that was not sent")
      XCTAssertLessThanOrEqual(transport.written.count, 256, "a header, and nothing because of what came")
      stream.destroy()
      network.advance(by: 1)
      XCTAssertEqual(record.closeCount, 1)
      return kind
    }.test()
  }

  /// The same for a stream that begins with a handshake: the first byte of an input says the pattern and the side, the
  /// second one the size of the pieces.
  func testBytesToAHandshake() throws {
    let messages: [[UInt8]] = [Array("hello".utf8), [], [UInt8](repeating: 9, count: 70)]
    /// A stream and what it writes; the same keys each time, so that what a peer has once written fits again.
    func start(_ environment: VirtualHost, _ mode: UInt8, isInitiator: Bool) throws -> (EncryptedStream, WireTransport)
    {
      let isIK = mode & 1 == 0
      let stream = EncryptedStream(
        environment: environment, isInitiator: isInitiator, publicKey: isInitiator ? keyPair(1).publicKey : nil,
        remotePublicKey: isInitiator && isIK ? keyPair(2).publicKey : nil)
      let wire = WireTransport(environment)
      try stream.startInBand(
        transport: wire, pattern: isIK ? .ik : .xx, keyPair: keyPair(isInitiator ? 1 : 2),
        ephemeral: keyPair(isInitiator ? 3 : 4))
      return (stream, wire)
    }
    var seeds: [[UInt8]] = []
    for mode: UInt8 in 0..<4 {
      let network = VirtualNetwork(seed: 1)
      let environment = network.makeHost()
      let (stream, wire) = try start(environment, mode, isInitiator: mode & 2 != 0)
      let (peer, peerWire) = try start(environment, mode, isInitiator: mode & 2 == 0)
      for message in messages { peer.write(message) }
      var (sent, received) = (0, 0)
      for _ in 0..<4 {
        peerWire.feed(Array(wire.written.dropFirst(sent)))
        sent = wire.written.count
        wire.feed(Array(peerWire.written.dropFirst(received)))
        received = peerWire.written.count
        network.advance(by: 1)
      }
      XCTAssertTrue(stream.isOpen && peer.isOpen)
      seeds += [[mode, 0] + peerWire.written, [mode, 7] + peerWire.written]
      stream.destroy()
      peer.destroy()
      network.advance(by: 1)
    }
    try Fuzzer(name: "handshake", mutations: 300, allocates: (1 << 20, 64), seeds: seeds) { bytes in
      let network = VirtualNetwork(seed: 1)
      let environment = network.makeHost()
      let mode = (bytes.first ?? 0) & 3
      let (stream, transport) = try start(environment, mode, isInitiator: mode & 2 != 0)
      let record = Recorder(stream)
      let size = max(Int(bytes.dropFirst().first ?? 1), 1)
      var rest = bytes.dropFirst(2)
      while !rest.isEmpty {
        transport.feed(Array(rest.prefix(size)))
        rest = rest.dropFirst(size)
      }
      network.advance(by: 40_000)
      let received = record.messages
      XCTAssertEqual(received, Array(messages.prefix(received.count)), "nothing that was not sent")
      XCTAssertLessThanOrEqual(transport.written.count, 512, "a handshake, a header, nothing because of what came")
      if record.events.contains("open") {
        XCTAssertEqual(stream.remotePublicKey, keyPair(mode & 2 != 0 ? 2 : 1).publicKey, "nobody else's key")
      }
      let kind = [Int(mode), received.count, record.events.count, transport.written.count / 16]
      stream.destroy()
      network.advance(by: 1)
      XCTAssertEqual(record.closeCount, 1)
      return kind
    }.test()
  }
}
