import HyperCrypto
import HyperEncoding
import HyperEnvironment
import HyperTestVectors
import HyperswarmTesting
import XCTest

@testable import HyperRPC

/// The golden datagrams of dht-rpc.md Part D: codecs both ways, and nodes that produce the responses.
final class GoldenDatagramTests: RPCTestCase {
  private static let golden: [String: String] = [
    "Q1": "030401007f00000149c200",
    "Q2": "0305cdabc633641411278b7a57c0a324d145fdd3d1cc5c08db7060066d58013ce191287846bec0c3e30700",
    "Q3": "03140200c63364141127010249c2",
    "Q4": "030c0001c6336414112702000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
    "Q5":
      "030dffffc633641411278b7a57c0a324d145fdd3d1cc5c08db7060066d58013ce191287846bec0c3e3070200010203040506"
      + "0708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
    "Q6": "03140700c633641411270306c00002219210",
    "Q7": "03140800c633641411270404dc050000",
    "Q8":
      "031a0900c633641411275a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a2a00010203040506"
      + "0708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f0568656c6c6f",
    "Q9": "030000007f0000010100fdba01",
    "Q10": "03180a000a010203ffff00000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f00",
    "Q11": "03180b000a010203ffff07000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1ffd2c01",
    "Q12": "03040c00c6336414112700",
    "R1": "13000100cb0071327017",
    "R2": "13010100cb0071327017e56b6ce98208de65ad1a96e5fcfcb9093c14a043984c6d27027e4c0e4cc0f1fa",
    "R3": "13010200cb00713249c2e56b6ce98208de65ad1a96e5fcfcb9093c14a043984c6d27027e4c0e4cc0f1fa",
    "R4":
      "13050001cb0071327017e56b6ce98208de65ad1a96e5fcfcb9093c14a043984c6d27027e4c0e4cc0f1fa03c0000203eb03c0"
      + "000202ea03c0000201e903",
    "R5": "13010001cb0071327017e56b6ce98208de65ad1a96e5fcfcb9093c14a043984c6d27027e4c0e4cc0f1fa",
    "R6": "130d0001cb0071327017e56b6ce98208de65ad1a96e5fcfcb9093c14a043984c6d27027e4c0e4cc0f1fa01c0000201e90301",
    "R7":
      "130f0900cb0071327017e56b6ce98208de65ad1a96e5fcfcb9093c14a043984c6d27027e4c0e4cc0f1fa57889a6988c9b624"
      + "80c52db858708032ef26e24e3e87a0e80ae000994a5d0d1e01c0000201e90302",
    "R8":
      "13170900cb0071327017e56b6ce98208de65ad1a96e5fcfcb9093c14a043984c6d27027e4c0e4cc0f1fa57889a6988c9b624"
      + "80c52db858708032ef26e24e3e87a0e80ae000994a5d0d1e02c0000202ea03c0000201e90305776f726c64",
    "R9": "13000900cb0071327017",
    "R10": "13090000cb0071327017e56b6ce98208de65ad1a96e5fcfcb9093c14a043984c6d27027e4c0e4cc0f1fafd2c01",
    "R11":
      "130b0000cb0071327017e56b6ce98208de65ad1a96e5fcfcb9093c14a043984c6d27027e4c0e4cc0f1fa57889a6988c9b624"
      + "80c52db858708032ef26e24e3e87a0e80ae000994a5d0d1e10",
    "R12":
      "03190900c000024d611ee56b6ce98208de65ad1a96e5fcfcb9093c14a043984c6d27027e4c0e4cc0f1fa2a00010203040506"
      + "0708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f0772656c61796564",
  ]

  private func golden(_ name: String) throws -> [UInt8] { hex(try XCTUnwrap(GoldenDatagramTests.golden[name])) }

  private let target = Bytes32((0..<32).map { UInt8($0) }) ?? Bytes32()
  private let responder = Endpoint("198.51.100.20:10001") ?? Endpoint(host: .any, port: 0)
  private let asker = Endpoint("203.0.113.50:6000") ?? Endpoint(host: .any, port: 0)
  private let persistentAsker = Endpoint("203.0.113.7:49737") ?? Endpoint(host: .any, port: 0)
  private let n1 = Endpoint("192.0.2.1:1001") ?? Endpoint(host: .any, port: 0)
  private let n2 = Endpoint("192.0.2.2:1002") ?? Endpoint(host: .any, port: 0)
  private let n3 = Endpoint("192.0.2.3:1003") ?? Endpoint(host: .any, port: 0)

  private func check(_ name: String, _ fields: RequestDatagram, decodesToValue: [UInt8]?? = nil) throws {
    var bytes = try golden(name)
    if name == "Q11" { bytes += [UInt8](repeating: 0x61, count: 300) }
    XCTAssertEqual(Vectors.hex(fields.encode()), Vectors.hex(bytes), name)
    var expected = fields
    if let decodesToValue { expected.value = decodesToValue }
    XCTAssertEqual(request(bytes), expected, name)
  }

  /// Items 3, 4 and 6 for requests.
  func testRPC_03_06_goldenRequests() throws {
    let local = try XCTUnwrap(Endpoint("127.0.0.1:49737"))
    let far = try XCTUnwrap(Endpoint("10.1.2.3:65535"))
    let id = NodeAddress.id(of: persistentAsker)
    let internalRequest = { (tid: UInt16, command: UInt64, value: [UInt8]?) in
      RequestDatagram(tid: tid, to: self.responder, isInternal: true, command: command, value: value)
    }
    try check("Q1", RequestDatagram(tid: 1, to: local, isInternal: true))
    try check("Q2", RequestDatagram(tid: 0xabcd, to: responder, id: id, isInternal: true))
    try check("Q3", internalRequest(2, 1, [0x49, 0xc2]))
    try check("Q4", RequestDatagram(tid: 0x100, to: responder, isInternal: true, command: 2, target: target))
    try check("Q5", RequestDatagram(tid: 65535, to: responder, id: id, isInternal: true, command: 2, target: target))
    try check("Q6", internalRequest(7, 3, try XCTUnwrap(Endpoint("192.0.2.33:4242")).encoded))
    try check("Q7", internalRequest(8, 4, [0xdc, 5, 0, 0]))
    try check(
      "Q8",
      RequestDatagram(
        tid: 9, to: responder, token: Bytes32(repeating: 0x5a), command: 42, target: target, value: Array("hello".utf8))
    )
    try check("Q9", RequestDatagram(tid: 0, to: Endpoint(host: .loopback, port: 1), command: 442))
    try check(
      "Q10", RequestDatagram(tid: 10, to: far, command: 0, target: target, value: []), decodesToValue: .some(nil))
    let large = RequestDatagram(
      tid: 11, to: far, command: 7, target: target, value: [UInt8](repeating: 0x61, count: 300))
    try check("Q11", large)
    XCTAssertEqual(
      Blake2b.hash32(large.encode()).hex, "6a71f5eb81cdd304019345317e97f48333ebcc9613f5ba9ceb23665bc8736ddf")
    try check("Q12", internalRequest(12, 0, nil))
  }

  /// S of dht-rpc.md Part D: persistent unless told otherwise, token secrets 32 x aa and 32 x bb.
  private func makeResponder(
    _ network: VirtualNetwork, ephemeral: Bool = false, nodes: [Endpoint] = []
  ) throws -> (RPCNode, server: any DatagramSocket, client: any DatagramSocket) {
    let host = network.makeHost(responder.host)
    var configuration = try RPCConfiguration.bootstrapper(
      port: responder.port, publicHost: responder.host.description)
    if ephemeral { configuration.ephemeral = true }
    configuration.quickFirewall = false
    let node = RPCNode(environment: host, configuration: configuration)
    node.start()
    network.run(within: 1000) { node.isBootstrapped }
    for endpoint in nodes { node.addNode(endpoint) }
    node.setTokens(TokenStore(previous: Bytes32(repeating: 0xaa), current: Bytes32(repeating: 0xbb)))
    return (
      node, try XCTUnwrap(node.serverSocket), try XCTUnwrap(node.clientSocket)
    )
  }

  /// Items 6, 8, 31 and 32: the responses as nodes send them.
  func testRPC_06_08_31_goldenResponses() throws {
    var count = 0
    func expect(
      _ name: String, answersTo question: [UInt8], ephemeral: Bool = false, nodes: [Endpoint] = [],
      onClient: Bool = false, destination: Endpoint? = nil, handler: ((IncomingRequest) -> Bool)? = nil
    ) throws {
      let network = VirtualNetwork(seed: 1, isLogging: true)
      let (node, server, client) = try makeResponder(network, ephemeral: ephemeral, nodes: nodes)
      node.onRequest = handler
      network.log = []
      (onClient ? client : server).receive(question, from: asker)
      let packet = try XCTUnwrap(network.log.first, name)
      XCTAssertEqual(network.log.count, 1, name)
      XCTAssertEqual(Vectors.hex(packet.bytes), GoldenDatagramTests.golden[name], name)
      XCTAssertEqual(packet.destination, destination ?? asker, name)
      // And the other direction: decoding and encoding again gives the same bytes.
      switch decode(packet.bytes) {
      case .request(let request): XCTAssertEqual(request.encode(), packet.bytes, name)
      case .response(let response): XCTAssertEqual(response.encode(), packet.bytes, name)
      case nil: XCTFail("\(name) does not decode")
      }
      count += 1
    }
    let q8 = try XCTUnwrap(request(try golden("Q8")))
    var q8WithoutToken = q8
    q8WithoutToken.token = nil
    let plainQ8 = q8WithoutToken.encode()
    var unknown = try XCTUnwrap(request(try golden("Q4")))
    unknown.command = 9

    try expect("R1", answersTo: golden("Q1"), ephemeral: true)
    try expect("R2", answersTo: golden("Q1"))
    try expect("R3", answersTo: golden("Q3"), destination: Endpoint("203.0.113.50:49737"))
    try expect("R4", answersTo: golden("Q4"), nodes: [n1, n2, n3])
    try expect("R5", answersTo: golden("Q4"))
    try expect("R6", answersTo: unknown.encode(), nodes: [n1])
    try expect("R7", answersTo: golden("Q8"), nodes: [n1])
    try expect("R8", answersTo: plainQ8, nodes: [n1, n2]) { request in
      XCTAssertEqual(request.value, Array("hello".utf8))
      request.reply(Array("world".utf8))
      return true
    }
    try expect("R9", answersTo: plainQ8, nodes: [n1, n2], onClient: true) { request in
      request.reply(nil, token: false, closerNodes: false)
      return true
    }
    try expect("R10", answersTo: golden("Q9"), nodes: [n1]) { request in
      request.error(300)
      return true
    }
    try expect("R11", answersTo: golden("Q9"), nodes: [n1]) { request in
      request.error(16, token: true)
      return true
    }
    let last = try XCTUnwrap(Endpoint("192.0.2.77:7777"))
    try expect("R12", answersTo: plainQ8, destination: last) { request in
      request.relay(Array("relayed".utf8), to: last)
      return true
    }
    XCTAssertEqual(count, 12)
  }

  /// The table of dht-rpc.md 3 through the reader and writer that the datagrams use.
  func testRPC_01_02_uints() throws {
    let table: [(UInt64, String)] = [
      (0, "00"), (1, "01"), (252, "fc"), (253, "fdfd00"), (255, "fdff00"), (256, "fd0001"), (65_535, "fdffff"),
      (65_536, "fe00000100"), (4_294_967_295, "feffffffff"), (4_294_967_296, "ff0000000001000000"),
      (9_007_199_254_740_991, "ffffffffffffff1f00"),
    ]
    for (value, text) in table {
      var datagram = RequestDatagram(tid: 0, to: Endpoint(host: .loopback, port: 1))
      datagram.command = value
      let bytes = datagram.encode()
      XCTAssertEqual(Vectors.hex(bytes[10...]), text)
      XCTAssertEqual(request(bytes)?.command, value)
      for count in 10..<bytes.count { XCTAssertNil(request(Array(bytes[..<count])), "\(text) cut") }
    }
    let head = "03000000" + "7f0000010100"
    for text in ["05", "fd0500", "fe05000000", "ff0500000000000000"] {
      XCTAssertEqual(request(hex(head + text))?.command, 5, text)
    }
  }

  // MARK: D.3

  private enum Outcome {
    case dropped
    case response((ResponseDatagram) -> Bool)
    case request((RequestDatagram) -> Bool)
  }

  /// Items 2, 7, 9 and 10: what decodes to what, and what does not.
  func testRPC_02_07_09_decodingTable() throws {
    let h = "34127f00000149c2"
    let id = NodeAddress.id(of: try XCTUnwrap(Endpoint("127.0.0.1:49737")))
    let ones = String(repeating: "11", count: 32)
    let table: [(String, Outcome)] = [
      ("1300" + h, .response { $0 == ResponseDatagram(tid: 0x1234, to: $0.to) && $0.error == 0 }),
      ("1301" + h + id.hex, .response { $0.id == id }),
      ("1304" + h + "00", .response { $0.closerNodes == [] }),
      ("1304" + h + "01010203045000", .response { $0.closerNodes?.map(\.description) == ["1.2.3.4:80"] }),
      ("1304" + h + "02010203045000", .dropped),
      ("1308" + h + "00", .response { $0.error == 0 }),
      ("1308" + h + "fd0500", .response { $0.error == 5 }),
      ("1310" + h + "00", .response { $0.value == nil }),
      ("1310" + h + "03aabb", .dropped),
      ("13e0" + h, .response { $0 == ResponseDatagram(tid: 0x1234, to: $0.to) }),
      ("0300" + h + "05", .request { $0.command == 5 && !$0.isInternal }),
      ("0300" + h, .dropped),
      ("0300" + h + "fe00000100", .request { $0.command == 65536 }),
      ("0308" + h + "05" + ones.dropLast(2), .dropped),
      (
        "031d" + h + id.hex + "05" + ones + "02abcd",
        .request {
          $0.isInternal && $0.command == 5 && $0.id == id && $0.target == Bytes32(repeating: 0x11)
            && $0.value == [0xab, 0xcd]
        }
      ),
      ("0301" + h + String(repeating: "00", count: 32) + "05", .request { $0.id == Bytes32() && $0.command == 5 }),
      ("03e4" + h + "00", .request { $0.isInternal && $0.command == 0 }),
      ("03fd0400" + h + "00", .request { $0.isInternal && $0.command == 0 && $0.tid == 0x1234 }),
      ("0304" + h + "00deadbeef", .request { $0.isInternal && $0.command == 0 }),
      ("0204" + h + "00", .dropped), ("2304" + h + "00", .dropped), ("03", .dropped), ("", .dropped),
      // Numbers that the reference cannot hold (dht-rpc.md 3).
      ("0300" + h + "ff0000000000002000", .dropped),
      ("1308" + h + "ffffffffffffffffff", .dropped),
      // Item 9: an array longer than the limit, and one longer than the datagram.
      ("1304" + h + "fe01001000", .dropped), ("1304" + h + "ffffffffffffffffff", .dropped),
    ]
    for (text, outcome) in table {
      switch (decode(hex(text)), outcome) {
      case (nil, .dropped): break
      case (.response(let response)?, .response(let check)): XCTAssertTrue(check(response), text)
      case (.request(let request)?, .request(let check)): XCTAssertTrue(check(request), text)
      default: XCTFail("unexpected outcome for \(text)")
      }
    }
    print("dht-rpc part D: 24 golden datagrams, \(table.count) decoding cases")
  }

  /// Every prefix of every golden datagram is dropped or decodes; none reads out of bounds or traps.
  func testRPC_10_everyTruncationIsHarmless() throws {
    var dropped = 0
    for text in GoldenDatagramTests.golden.values {
      let bytes = hex(text)
      for count in 0..<bytes.count where decode(Array(bytes[..<count])) == nil { dropped += 1 }
    }
    XCTAssertGreaterThan(dropped, 1000)
  }
}
