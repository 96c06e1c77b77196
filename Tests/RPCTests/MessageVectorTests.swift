import HyperCrypto
import HyperEncoding
import HyperEnvironment
import HyperTestVectors
import HyperswarmTesting
import XCTest

@testable import HyperRPC

/// dht-rpc-messages.json, what concerns single datagrams.
final class MessageVectorTests: RPCTestCase {
  private func cases(_ groups: String...) throws -> [[String: Any]] {
    let all = try Vectors.cases("dht-rpc-messages").filter { groups.contains($0["group"] as? String ?? "") }
    XCTAssertFalse(all.isEmpty)
    return all
  }

  private func name(_ vector: [String: Any]) -> String { vector["id"] as? String ?? "?" }

  /// Item 5.
  func testRPC_05_nodeIDsAndHashes() throws {
    var count = 0
    for vector in try cases("node-id") {
      let address = try endpoint(vector)
      XCTAssertEqual(Vectors.hex(address.encoded), vector["packed"] as? String, name(vector))
      XCTAssertEqual(NodeAddress.id(of: address).hex, vector["nodeId"] as? String, name(vector))
      count += 1
    }
    for vector in try cases("hash") {
      XCTAssertEqual(
        Blake2b.hash32(Vectors.bytes(try XCTUnwrap(vector["input"] as? String))).hex, vector["target"] as? String)
      count += 1
    }
    print("dht-rpc node-id, hash: \(count) cases")
  }

  private func checkID(_ id: Bytes32?, _ vector: [String: Any]) throws {
    XCTAssertEqual(id, bytes32(vector["nodeId"]), name(vector))
    if let id { XCTAssertEqual(id, NodeAddress.id(of: try endpoint(vector["sender"])), name(vector)) }
  }

  func testRPC_06_requestVectorsBothWays() throws {
    let all = try cases("request")
    for vector in all {
      let bytes = Vectors.bytes(try XCTUnwrap(vector["hex"] as? String))
      var fields = RequestDatagram(tid: UInt16(try XCTUnwrap(vector["tid"] as? Int)), to: try endpoint(vector["to"]))
      fields.id = bytes32(vector["nodeId"])
      fields.token = bytes32(vector["token"])
      fields.isInternal = try XCTUnwrap(vector["internal"] as? Bool)
      fields.command = (try XCTUnwrap(vector["command"] as? NSNumber)).uint64Value
      fields.target = bytes32(vector["target"])
      fields.value = optionalBytes(vector["value"])
      XCTAssertEqual(Vectors.hex(fields.encode()), vector["hex"] as? String, name(vector))
      if vector.keys.contains("decodesToValue") { fields.value = optionalBytes(vector["decodesToValue"]) }
      let decoded = try XCTUnwrap(request(bytes), name(vector))
      XCTAssertEqual(decoded, fields, name(vector))
      try checkID(decoded.id, vector)
    }
    XCTAssertEqual(all.count, 57)
    print("dht-rpc request: \(all.count) cases")
  }

  func testRPC_06_responseVectorsBothWays() throws {
    let all = try cases("response")
    for vector in all {
      let bytes = Vectors.bytes(try XCTUnwrap(vector["hex"] as? String))
      var fields = ResponseDatagram(tid: UInt16(try XCTUnwrap(vector["tid"] as? Int)), to: try endpoint(vector["to"]))
      fields.id = bytes32(vector["nodeId"])
      fields.token = bytes32(vector["token"])
      fields.closerNodes = try (vector["closerNodes"] as? [Any])?.map { try endpoint($0) }
      fields.error = (try XCTUnwrap(vector["error"] as? NSNumber)).uint64Value
      fields.value = optionalBytes(vector["value"])
      XCTAssertEqual(Vectors.hex(fields.encode()), vector["hex"] as? String, name(vector))
      if vector.keys.contains("decodesToValue") { fields.value = optionalBytes(vector["decodesToValue"]) }
      let decoded = try XCTUnwrap(response(bytes), name(vector))
      XCTAssertEqual(decoded, fields, name(vector))
      try checkID(decoded.id, vector)
    }
    XCTAssertEqual(all.count, 46)
    print("dht-rpc response: \(all.count) cases")
  }

  // MARK: A node that receives

  private static let own = Endpoint(host: IPv4Address(143, 143, 204, 102), port: 57264)

  /// The receiving node of the vectors: persistent, token secrets 32 x 01 and 32 x 02.
  private func makeReceiver(_ network: VirtualNetwork) throws -> (RPCNode, VirtualHost, any DatagramSocket) {
    let host = network.makeHost(MessageVectorTests.own.host)
    let node = RPCNode(
      environment: host,
      configuration: try .bootstrapper(
        port: MessageVectorTests.own.port, publicHost: MessageVectorTests.own.host.description))
    node.start()
    network.run(within: 1000) { node.isBootstrapped }
    node.setTokens(TokenStore(previous: Bytes32(repeating: 1), current: Bytes32(repeating: 2)))
    return (node, host, try XCTUnwrap(node.serverSocket))
  }

  /// Requests and responses that are accepted, with all fields; ids that do not hash from the source are erased.
  func testRPC_07_13_acceptedDatagrams() throws {
    let all = try cases("receive")
    var deviations = 0
    for vector in all {
      let fields = try XCTUnwrap(vector["fields"] as? [String: Any])
      let network = VirtualNetwork(seed: 1, isLogging: true)
      let (node, host, socket) = try makeReceiver(network)
      if fields["kind"] as? String == "request" {
        try checkRequest(vector, fields, node, socket, network)
      } else {
        deviations += try checkResponse(vector, fields, node, socket, host)
      }
      destroy([node], network)
    }
    XCTAssertEqual(all.count, 15)
    XCTAssertEqual(deviations, 1)
    print("dht-rpc receive: \(all.count) cases, 1 deliberate deviation (rpc-200: source check)")
  }

  private func checkRequest(
    _ vector: [String: Any], _ fields: [String: Any], _ node: RPCNode, _ socket: any DatagramSocket,
    _ network: VirtualNetwork
  ) throws {
    let bytes = Vectors.bytes(try XCTUnwrap(vector["hex"] as? String))
    let source = try endpoint(vector["from"])
    let tid = UInt16(try XCTUnwrap(fields["tid"] as? Int))
    let expectedID = bytes32(fields["nodeId"])
    let decoded = try XCTUnwrap(request(bytes), name(vector))
    XCTAssertEqual(decoded.tid, tid)
    XCTAssertEqual(decoded.to, try endpoint(fields["to"]))
    XCTAssertEqual(decoded.token, bytes32(fields["token"]))
    XCTAssertEqual(decoded.isInternal, fields["internal"] as? Bool)
    XCTAssertEqual(Int(decoded.command), fields["command"] as? Int)
    XCTAssertEqual(decoded.target, bytes32(fields["target"]))
    XCTAssertEqual(decoded.value, optionalBytes(fields["value"]))
    node.checksRequesters = false
    var handled: IncomingRequest?
    node.onRequest = { request in
      handled = request
      request.reply(nil)
      return true
    }
    socket.receive(bytes, from: source)
    if decoded.isInternal {
      XCTAssertNil(handled)
    } else {
      XCTAssertEqual(handled?.from.id, expectedID, name(vector))
      XCTAssertEqual(handled?.token, bytes32(fields["token"]))
    }
    XCTAssertEqual(node.recentNodes(), expectedID == nil ? [] : [source], name(vector))
    let answer = try XCTUnwrap(network.log.last, name(vector))
    XCTAssertEqual(answer.destination, source)
    let reply = try XCTUnwrap(response(answer.bytes))
    XCTAssertEqual(reply.tid, tid)
    XCTAssertEqual(reply.error, 0)
  }

  /// The vectors match responses by tid alone. This node compares the source too (dht-rpc.md C-1): case rpc-200 comes
  /// from an address that was not asked, so it must be ignored, and accepted only with the explicit opt-out.
  /// - Returns: the number of such deviations.
  private func checkResponse(
    _ vector: [String: Any], _ fields: [String: Any], _ node: RPCNode, _ socket: any DatagramSocket, _ host: VirtualHost
  ) throws -> Int {
    let bytes = Vectors.bytes(try XCTUnwrap(vector["hex"] as? String))
    let source = try endpoint(vector["from"])
    let tid = UInt16(try XCTUnwrap(fields["tid"] as? Int))
    let asked = vector["id"] as? String == "rpc-200" ? MessageVectorTests.own : source
    var deviations = 0
    for acceptsAny in [false, true] {
      host.scriptedRandom = [[UInt8(tid & 255), UInt8(tid >> 8)]]
      var options = RequestOptions(retries: 0)
      options.acceptsAnswerFromAnyAddress = acceptsAny
      var result: Result<Response, RPCError>?
      let pending = node.request(RequestMessage(command: 1), to: asked, options: options) { result = $0 }
      XCTAssertEqual(pending.tid, tid)
      socket.receive(bytes, from: source)
      if asked != source, !acceptsAny {
        XCTAssertNil(result, name(vector))
        XCTAssertEqual(node.statistics.drops.wrongSource, 1)
        pending.cancel()
        deviations += 1
        continue
      }
      let answer = try XCTUnwrap(try result?.get(), name(vector))
      XCTAssertEqual(answer.from, NodeAddress(id: bytes32(fields["nodeId"]), endpoint: source))
      XCTAssertEqual(answer.to, try endpoint(fields["to"]))
      XCTAssertEqual(answer.token, bytes32(fields["token"]))
      XCTAssertEqual(
        answer.closerNodes, try (fields["closerNodes"] as? [Any] ?? []).map { try endpoint($0) }, name(vector))
      XCTAssertEqual(Int(answer.error), fields["error"] as? Int)
      XCTAssertEqual(answer.value, optionalBytes(fields["value"]))
    }
    return deviations
  }

  /// Items 10 and 11: no answer, nothing learned, no request completed.
  func testRPC_10_11_droppedDatagrams() throws {
    let all = try cases("receive-dropped")
    var unrepresentable = 0
    for vector in all {
      let bytes = Vectors.bytes(try XCTUnwrap(vector["hex"] as? String))
      let from = try XCTUnwrap(vector["from"] as? [String: Any])
      // Ports 65536 and -1 do not exist in our types.
      guard let port = UInt16(exactly: try XCTUnwrap(from["port"] as? Int)) else {
        unrepresentable += 1
        continue
      }
      let source = Endpoint(host: try XCTUnwrap(IPv4Address(try XCTUnwrap(from["host"] as? String))), port: port)
      let network = VirtualNetwork(seed: 1, isLogging: true)
      let (node, host, socket) = try makeReceiver(network)
      node.onRequest = { _ in
        XCTFail("handled \(self.name(vector))")
        return true
      }
      // A request with the tid of the cut responses is in flight to that very source.
      host.scriptedRandom = [[0x34, 0x12]]
      var isAnswered = false
      if port != 0 { node.request(RequestMessage(command: 1), to: source) { _ in isAnswered = true } }
      network.advance(by: 0)
      let sent = network.log.count
      socket.receive(bytes, from: source)
      network.advance(by: 0)
      XCTAssertFalse(isAnswered, name(vector))
      XCTAssertEqual(network.log.count, sent, "\(name(vector)) was answered")
      XCTAssertEqual(node.nodeCount, 0)
      XCTAssertEqual(node.statistics.drops.malformed + node.statistics.drops.unknownTid, 1, name(vector))
    }
    XCTAssertEqual(all.count, 41)
    XCTAssertEqual(unrepresentable, 2)
    print("dht-rpc receive-dropped: \(all.count) cases, 2 of them unrepresentable source ports")
  }

  /// Item 15 on the wire: error 2 with a fresh token.
  func testRPC_15_refusedTokens() throws {
    let all = try cases("receive-refused")
    for vector in all {
      let network = VirtualNetwork(seed: 1, isLogging: true)
      let (node, _, socket) = try makeReceiver(network)
      node.onRequest = { _ in
        XCTFail("handled")
        return true
      }
      socket.receive(Vectors.bytes(try XCTUnwrap(vector["hex"] as? String)), from: try endpoint(vector["from"]))
      let replies = try XCTUnwrap(vector["replies"] as? [[String: Any]])
      XCTAssertEqual(network.log.count, replies.count)
      for (packet, reply) in zip(network.log, replies) {
        XCTAssertEqual(Vectors.hex(packet.bytes), reply["hex"] as? String, name(vector))
        XCTAssertEqual(packet.destination, try endpoint(reply["to"]))
      }
    }
    XCTAssertEqual(all.count, 3)
    print("dht-rpc receive-refused: \(all.count) cases")
  }
}
