import Foundation
import HyperCrypto
import HyperEncoding
import HyperTestVectors
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine
@testable import HyperRPC

/// The worst ratio of answer to request for each command. `docs/amplification.md` says what is measured here; after a
/// change `HYPERSWARM_WRITE_DOCS=1 swift test --filter AmplificationTests` writes it anew.
final class AmplificationTests: XCTestCase {
  /// Bytes of IPv4 and UDP headers.
  private static let headers = 28

  private struct Row {
    var name: String
    var sent: Int
    var received: Int
    var packets: Int
    var bound: String

    var ratio: Double { Double(received) / Double(sent) }
    var ratioOnTheWire: Double {
      let all = received + packets * AmplificationTests.headers
      return Double(all) / Double(sent + AmplificationTests.headers)
    }
    var line: String {
      let numbers = [ratio, ratioOnTheWire].map { String(format: "%.1f", $0) }.joined(separator: " | ")
      return "| \(name) | \(sent) | \(received) | \(packets) | \(numbers) | \(bound) |"
    }
  }

  private let victim = Endpoint(host: IPv4Address(66, 66, 66, 66), port: 53)
  private let server = Endpoint(host: IPv4Address(33, 3, 3, 3), port: 3333)
  private let key = KeyPair(seed: Bytes32(repeating: 5))
  private let topic = Bytes32(repeating: 0x77)
  private var node: PassiveNode!
  private var rows: [Row] = []

  /// A node that is as rewarding as can be: a full table, a full topic, values of the greatest size.
  override func setUpWithError() throws {
    node = try PassiveNode(table: (1...40).map { Endpoint(host: IPv4Address(99, UInt8($0), 1, 1), port: 1000) })
    let relays = (1...3).map { Endpoint(host: IPv4Address(71, 1, 1, UInt8($0)), port: 80) }
    for index in 1...25 as ClosedRange<UInt8> {
      node.announce(
        KeyPair(seed: Bytes32(repeating: index)), target: topic, relays: relays, bump: node.host.wallClock,
        from: Endpoint(host: IPv4Address(72, 1, 1, index), port: 9))
    }
    node.announce(key, target: Target.of(publicKey: key.publicKey), relays: relays, from: server)
    let value = [UInt8](repeating: 1, count: Limits.Storage.value)
    node.request(.immutablePut, target: Target.of(value: value), value: value, from: server, withToken: true)
    let signature = key.sign(Signables.mutable(seq: 1, value: value))
    let message = MutablePutRequest(publicKey: key.publicKey, seq: 1, value: value, signature: signature)
    node.request(
      .mutablePut, target: Target.of(publicKey: key.publicKey), value: message.encoded, from: server, withToken: true)
    XCTAssertEqual(node.storage.mutableCount + node.storage.immutableCount, 2)
  }

  private func measure(
    _ name: String, _ bound: String, isInternal: Bool = false, _ command: UInt64, _ target: Bytes32? = nil,
    _ value: [UInt8]? = nil, id: Bytes32? = nil, token: Bytes32? = nil
  ) {
    let request = RequestDatagram(
      tid: 1, to: node.address, id: id, token: token, isInternal: isInternal, command: command, target: target,
      value: value)
    let bytes = request.encode()
    let answers = node.deliver(bytes, from: victim)
    rows.append(
      Row(
        name: name, sent: bytes.count, received: answers.reduce(0) { $0 + $1.bytes.count }, packets: answers.count,
        bound: bound))
  }

  private func measureInternalCommands() {
    let count = "256 answers a second and host, 8,192 in all"
    let dead = Endpoint(host: IPv4Address(1, 2, 3, 4), port: 5)
    measure("PING", count, isInternal: true, 0)
    measure(
      "PING of a node that is not known", "and one ping a minute and address, 16 a second in all", isInternal: true, 0,
      id: NodeAddress.id(of: victim))
    measure("PING_NAT", count, isInternal: true, 1, nil, [1, 2])
    measure("FIND_NODE", count, isInternal: true, 2, topic)
    measure("DOWN_HINT", count, isInternal: true, 3, nil, dead.encoded)
    measure("unknown, with a target", count, isInternal: true, 99, topic)
    measure("any with a wrong token", count, Command.lookup.rawValue, topic, token: Bytes32(repeating: 1))
  }

  private func measureStorage() throws {
    let bytes = "16 KiB and 8 KiB a second of values for a host, 1 MiB and 256 KiB a second in all"
    let own = Target.of(publicKey: key.publicKey)
    let value = Target.of(value: [UInt8](repeating: 1, count: Limits.Storage.value))
    let last = MutableGetRequest(seq: 0).encoded
    measure("FIND_PEER", bytes, Command.findPeer.rawValue, own)
    measure("LOOKUP, a full topic", bytes, Command.lookup.rawValue, topic)
    measure("IMMUTABLE_GET, 1,024 bytes", bytes, Command.immutableGet.rawValue, value)
    measure("MUTABLE_GET, 1,024 bytes", bytes, Command.mutableGet.rawValue, own, last)
    for _ in 0..<100 { node.request(.immutableGet, target: value, from: victim) }
    measure("LOOKUP, over the budget", "256 answers a second and host", Command.lookup.rawValue, topic)
    measure("LOOKUP, nothing there", "256 answers a second and host", Command.lookup.rawValue, Bytes32())
  }

  private func measureRouting() {
    let count = "128 a second of one source, 256 a second to one host, 8,192 in all"
    let own = Target.of(publicKey: key.publicKey)
    let noise = [UInt8](repeating: 1, count: 100)
    let third = Endpoint(host: IPv4Address(32, 2, 2, 2), port: 2222)
    let handshake = { (mode: RoutingMode, noise: [UInt8], peer: Endpoint?) in
      HandshakeMessage(mode: mode, noise: noise, peerAddress: peer).encoded
    }
    measure(
      "PEER_HANDSHAKE, no way to the server", "256 answers a second and host", 0, topic, handshake(.fromClient, [], nil)
    )
    measure("PEER_HANDSHAKE to an announced server", count, 0, own, handshake(.fromClient, noise, nil))
    measure("PEER_HANDSHAKE from a server", count, 0, own, handshake(.fromServer, noise, third))
    measure("the same, empty", count, 0, own, handshake(.fromServer, [], third))
    for (name, mode) in [("from a client", RoutingMode.fromClient), ("from a server", .fromServer)] {
      let message = HolepunchMessage(mode: mode, id: 1, payload: noise, peerAddress: third)
      measure("PEER_HOLEPUNCH \(name)", count, 1, own, message.encoded)
    }
  }

  func testTableIsUpToDate() throws {
    measureInternalCommands()
    try measureStorage()
    measureRouting()
    for row in rows {
      XCTAssertLessThanOrEqual(row.packets, 2, row.name)
      XCTAssertGreaterThan(row.received, 0, row.name)
    }
    let values = rows.filter { $0.bound.contains("of values") }.map(\.ratio).max() ?? .infinity
    let others = rows.filter { !$0.bound.contains("of values") }.map(\.ratio).max() ?? .infinity
    XCTAssertLessThanOrEqual(values, 30)
    XCTAssertLessThanOrEqual(others, 5)
    report(
      attack: "one request in the name of another host", bound: "answer <= 5 times; within the budget of values 30",
      measured: String(format: "%.1f; %.1f", others, values))
    let page = AmplificationTests.head + rows.map { $0.line + "\n" }.joined()
    let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .appendingPathComponent("../../../docs/amplification.md").standardized
    if ProcessInfo.processInfo.environment["HYPERSWARM_WRITE_DOCS"] == "1" {
      try page.write(to: file, atomically: true, encoding: .utf8)
    }
    XCTAssertEqual(try String(contentsOf: file, encoding: .utf8), page, "run with HYPERSWARM_WRITE_DOCS=1")
  }

  private static let head = """
    # Amplification

    What a node sends for one request whose source may be forged: bytes of UDP payload, and the ratio without and with
    the headers of IPv4 and UDP. `AmplificationTests` measures it on a node with a full table, a full topic and values
    of the greatest size, writes this page (`HYPERSWARM_WRITE_DOCS=1 swift test --filter AmplificationTests`) and fails
    when it is out of date. The bounds are in [limits](limits.md).

    A source that has answered a request or echoed a token has budgets of its own, by IP address and port. Over the
    budget of values an answer has closer nodes and a token and no value; over that of answers there is none.

    | request | bytes | answer | packets | ratio | on the wire | bound |
    |---|---:|---:|---:|---:|---:|---|

    """
}
