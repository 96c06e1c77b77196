import HyperCrypto
import HyperEncoding
import HyperTestVectors
import HyperswarmTesting
import XCTest

@testable import HyperRPC

/// Transcripts a and h of session-connect.json: our nodes in every role, on the recorded addresses, with the recorded
/// table ids, must exchange the recorded datagrams.
///
/// Compared as sets: the order of parallel visits and the transaction ids (random here, counted up there) are free.
/// Closer nodes are compared as sets too, since we send them in true distance order.
final class TranscriptReplayTests: RPCTestCase {
  private let network = VirtualNetwork(seed: 39, isLogging: true)
  private lazy var host = network.makeHost(.loopback)
  private var nodes: [String: RPCNode] = [:]
  private var cases: [String: [String: Any]] = [:]

  override func setUpWithError() throws {
    for entry in try Vectors.cases("session-connect") { cases[try XCTUnwrap(entry["id"] as? String)] = entry }
    try replayStartOfTheThreeNodes()
  }

  override func tearDown() {
    for node in nodes.values { node.destroy() }
    network.advance(by: 100)
    XCTAssertEqual(host.openSocketCount, 0)
  }

  // MARK: Comparing

  /// One line per datagram: sender, receiver, and every field but the transaction id.
  private func normal(_ bytes: [UInt8], from: Endpoint, to: Endpoint) -> String {
    let route = "\(from) > \(to) "
    switch decode(bytes) {
    case .request(var request):
      request.tid = 0
      return route + Vectors.hex(request.encode())
    case .response(var response):
      response.tid = 0
      let closer = (response.closerNodes ?? []).map(\.description).sorted()
      response.closerNodes = nil
      return route + Vectors.hex(response.encode()) + " " + closer.joined(separator: ",")
    case nil: return route + "not a message"
    }
  }

  private func recorded(_ id: String) throws -> [String] {
    try XCTUnwrap(cases[id]?["datagrams"] as? [[String: Any]]).map { datagram in
      normal(
        Vectors.bytes(try XCTUnwrap(datagram["hex"] as? String)), from: try endpoint(datagram["fromAddress"]),
        to: try endpoint(datagram["toAddress"]))
    }
  }

  /// `spared`: recorded datagrams (request and answer) that we leave out on purpose.
  private func compare(_ id: String, sparing spared: [String] = [], file: StaticString = #filePath, line: UInt = #line)
    throws
  {
    var expected = try recorded(id)
    for text in spared {
      let index = try XCTUnwrap(expected.firstIndex(of: text), "\(text) was not recorded")
      expected.remove(at: index)
    }
    let ours = network.log.map { normal($0.bytes, from: $0.source, to: $0.destination) }
    XCTAssertEqual(ours.sorted(), expected.sorted(), id, file: file, line: line)
    print("session-connect \(id) (\(cases[id]?["name"] ?? "")): \(ours.count) datagrams replayed")
  }

  private func result(_ id: String) throws -> [String: Any] { try XCTUnwrap(cases[id]?["result"] as? [String: Any]) }

  // MARK: Nodes

  private func makeNode(
    _ role: String, server: Endpoint, clientPort: UInt16, tableID: String, _ configure: (inout RPCConfiguration) -> Void
  ) throws -> RPCNode {
    var configuration = RPCConfiguration(
      bootstrap: [.endpoint(Endpoint(host: .loopback, port: 49801))], port: PortRange(server.port), host: server.host)
    configure(&configuration)
    host.scriptedRandom = [Vectors.bytes(tableID)]
    let node = RPCNode(environment: host, configuration: configuration)
    XCTAssertEqual(node.tableID.hex, tableID)
    node.checksRequesters = false
    node.lastClientPort = clientPort
    nodes[role] = node
    return node
  }

  /// The recorded start of one role.
  private func start(
    _ role: String, in id: String, _ configure: (inout RPCConfiguration) -> Void
  ) throws -> RPCNode {
    let events = try XCTUnwrap(cases[id]?["events"] as? [[String: Any]])
    let event = try XCTUnwrap(events.first { $0["role"] as? String == role && $0["kind"] as? String == "start" })
    let all = try result(id)
    let outcome = id == "ses-1" ? try XCTUnwrap(all[role] as? [String: Any]) : all
    let server = try endpoint(outcome["server"])
    let client = try endpoint(outcome["client"])
    network.log = []
    let node = try makeNode(
      role, server: server, clientPort: client.port, tableID: try XCTUnwrap(event["tableId"] as? String), configure)
    node.start()
    XCTAssertTrue(network.run(within: 20_000) { node.isBootstrapped })
    network.advance(by: 200)
    XCTAssertEqual(node.serverSocket?.localEndpoint, server)
    XCTAssertEqual(node.clientSocket?.localEndpoint, client)
    XCTAssertEqual(node.host?.description, outcome["host"] as? String)
    XCTAssertEqual(Int(node.port), outcome["natPort"] as? Int)
    XCTAssertEqual(node.isFirewalled, outcome["firewalled"] as? Bool)
    XCTAssertEqual(node.isEphemeral, outcome["ephemeral"] as? Bool)
    XCTAssertEqual(node.id?.hex, outcome["id"] as? String)
    return node
  }

  private func replayStartOfTheThreeNodes() throws {
    let outcome = try XCTUnwrap(try result("ses-1")["node1"] as? [String: Any])
    let server = try endpoint(outcome["server"])
    let first = try makeNode(
      "node1", server: server, clientPort: try endpoint(outcome["client"]).port,
      tableID: String(repeating: "00", count: 32)
    ) {
      $0.bootstrap = []
      $0.ephemeral = false
      $0.firewalled = false
      $0.natSample = server
    }
    first.start()
    network.run(within: 1000) { first.isBootstrapped }
    XCTAssertEqual(first.id?.hex, outcome["id"] as? String)
    var all: [VirtualNetwork.Packet] = []
    for role in ["node2", "node3"] {
      _ = try start(role, in: "ses-1") {
        $0.ephemeral = false
        $0.firewalled = false
      }
      all += network.log
    }
    network.log = all
    try compare("ses-1")
    network.log = []
  }

  // MARK: a

  func testTranscriptA_lateAnswerLeavesTheNodeFirewalled() throws {
    // The answer to the quick check comes after the end of the query.
    network.latency = { packet in packet.destination.port == 49900 ? 100_000 : 500 }
    let node = try start("fresh", in: "ses-2") { _ in }
    XCTAssertTrue(node.isFirewalled)
    try compare("ses-2")
  }

  func testTranscriptA_openNodeFindsOutThatItIsNotFirewalled() throws {
    // Nodes 2 and 3 answer the look-up late, so that the quick check is answered before it ends.
    network.latency = { [unowned self] packet in
      guard let response = response(packet.bytes), response.closerNodes != nil, packet.source.port != 49801 else {
        return 500
      }
      return 10_000
    }
    let node = try start("fresh10", in: "ses-3") { _ in }
    XCTAssertTrue(node.isEphemeral)
    XCTAssertFalse(node.isFirewalled)
    // The reference asks the bootstrap node twice in the full test, once from the table and once from the list
    // (dht-rpc.md E-14).
    let bootstrap = Endpoint(host: .loopback, port: 49801)
    let twice = try recorded("ses-3").filter { line in
      line.contains("> \(bootstrap) 0314")
        || line.hasPrefix("\(bootstrap) > 127.0.0.50:49900 1301") && line.hasSuffix(" ")
    }
    XCTAssertEqual(Set(twice).count, 2)
    try compare("ses-3", sparing: Array(Set(twice)))
  }

  func testTranscriptB_C_startOfOtherHosts() throws {
    _ = try start("openServer", in: "ses-4") { $0.firewalled = false }
    try compare("ses-4")
    _ = try start("server", in: "ses-5") { $0.quickFirewall = false }
    try compare("ses-5")
    _ = try start("openClient", in: "ses-12") { $0.firewalled = false }
    try compare("ses-12")
  }

  // MARK: h

  func testTranscriptH_pingPaddedPingFindNode() throws {
    let client = try start("client", in: "ses-7") { $0.quickFirewall = false }
    try compare("ses-7")
    network.log = []
    let outcome = try result("ses-39")
    for (key, port, size) in [("ping", UInt16(49802), 0), ("padded", 49803, 100)] {
      var answer: Result<Response, RPCError>?
      client.ping(Endpoint(host: .loopback, port: port), size: size) { answer = $0 }
      network.advance(by: 50)
      let response = try XCTUnwrap(answer).get()
      let expected = try XCTUnwrap(outcome[key] as? [String: Any])
      XCTAssertEqual(response.from.endpoint, try endpoint(expected["from"]))
      XCTAssertEqual(response.to, try endpoint(expected["to"]))
    }
    let target = try XCTUnwrap(Bytes32(hex: "0269a26138f22c59f0a497ad97ebdae7d6cf2727fad2051c3ac1f3fd0b117d02"))
    let query = client.findNode(target: target)
    var isFinished = false
    query.onFinished = { _ in isFinished = true }
    query.start()
    XCTAssertTrue(network.run(within: 5000) { isFinished })
    let find = try XCTUnwrap(outcome["find"] as? [String: Any])
    XCTAssertEqual(query.closestNodes.map(\.description), find["closest"] as? [String])
    try compare("ses-39")
  }
}
