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
}
