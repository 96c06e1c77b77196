import HyperCrypto
import HyperEncoding
import HyperTestVectors
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine
@testable import HyperRPC

/// The three DHT nodes of `session-connect.json` (bootstrap, storage, relaying of handshakes and hole punching) played
/// by ours: every request that reached one of them is delivered, every answer and forwarded message must be the same.
final class TranscriptNodeTests: XCTestCase {
  /// About when the recording was made: its announces carry a bump, which must not be far ahead of a node's clock.
  private static let recordedAt: UInt64 = 1_795_500_000_000

  private final class Role {
    let node: PassiveNode
    var tokens: TokenStore

    init(_ role: Fields, others: [Endpoint]) throws {
      let secrets = try role.strings("tokenSecrets").compactMap { Bytes32(hex: $0) }
      tokens = TokenStore(previous: secrets[0], current: secrets[1])
      node = try PassiveNode(
        address: try role.endpoint("serverAddress"), table: others, tokens: tokens,
        wallClock: TranscriptNodeTests.recordedAt)
      node.rpc.checksRequesters = false
    }

    /// The recording lasted longer than the secrets live: rotates until `token` is the one for `host`.
    func rotate(toIssue token: Bytes32, for host: IPv4Address) -> Bool {
      for _ in 0..<100 {
        if tokens.issue(for: host) == token {
          node.rpc.setTokens(tokens)
          return true
        }
        // The reference chains its secrets.
        tokens.rotate(to: Blake2b.hash32(tokens.previous.bytes))
      }
      return false
    }
  }

  /// What a node sends, comparable: closer nodes and the peers of a look-up have no order on the wire.
  private struct Sent: Hashable, CustomStringConvertible {
    var to: Endpoint
    var bytes: [UInt8]

    init(to: Endpoint, bytes: [UInt8], isLookup: Bool) {
      self.to = to
      self.bytes = bytes
      if case .response(var response)? = bytes.withUnsafeBytes({ Datagram($0) }) {
        response.closerNodes?.sort { $0.encoded.lexicographicallyPrecedes($1.encoded) }
        if isLookup, let value = response.value, var reply = try? CompactReader.decode(LookupReply.self, from: value) {
          reply.peers.sort { $0.publicKey < $1.publicKey }
          response.value = reply.encoded
        }
        self.bytes = response.encode()
      }
    }

    var description: String { "\(to) \(Vectors.hex(bytes))" }
  }

  func testDHT_transcriptsOfTheNodes() throws {
    let root = Fields(try Vectors.root("session-connect"), id: "session-connect")
    let roles = try root.object("roles")
    let names = ["node1", "node2", "node3"]
    let addresses = try names.map { try roles.object($0).endpoint("serverAddress") }
    var nodes: [Endpoint: Role] = [:]
    for (name, address) in zip(names, addresses) {
      nodes[address] = try Role(try roles.object(name), others: addresses.filter { $0 != address })
    }
    var delivered = 0
    var matched = 0
    var sessions = 0
    for session in try Vectors.cases("session-connect").map({ Fields($0) }) {
      let name = try session.string("name")
      // How the nodes found each other is the matter of the RPC layer.
      guard name != "start of the three nodes" else { continue }
      sessions += 1
      let datagrams = try session.objects("datagrams").filter {
        let kind = try $0.string("kind")
        return kind == "request" || kind == "response"
      }
      var expected: [Endpoint: [Sent: Int]] = [:]
      for datagram in datagrams {
        let from = try datagram.endpoint("fromAddress")
        // Requests that a node made for itself are no answers to anything.
        guard nodes[from] != nil, !(try isOwnRequest(datagram)) else { continue }
        let sent = Sent(
          to: try datagram.endpoint("toAddress"), bytes: try datagram.bytes("hex"), isLookup: try isLookup(datagram))
        expected[from, default: [:]][sent, default: 0] += 1
      }
      for (index, datagram) in datagrams.enumerated() where try datagram.string("kind") == "request" {
        let destination = try datagram.endpoint("toAddress")
        guard let role = nodes[destination] else { continue }
        let source = try datagram.endpoint("fromAddress")
        if let token = try tokenOfAnswer(to: datagram, at: index, in: datagrams) {
          XCTAssertTrue(role.rotate(toIssue: token, for: source.host), "\(name) \(index): no such token")
        }
        delivered += 1
        for packet in role.node.deliver(try datagram.bytes("hex"), from: source) {
          let sent = Sent(to: packet.destination, bytes: packet.bytes, isLookup: try isLookup(datagram))
          XCTAssertEqual(packet.source.port, destination.port)
          if let count = expected[destination]?[sent] {
            expected[destination]?[sent] = count > 1 ? count - 1 : nil
            matched += 1
          } else {
            XCTFail("\(session.id) \(name) datagram \(index): sent \(sent)")
          }
        }
      }
      for (node, missing) in expected where !missing.isEmpty {
        XCTFail("\(session.id) \(name): \(node) did not send \(missing.keys)")
      }
    }
    print(
      "session-connect nodes: \(sessions) sessions, \(delivered) requests delivered, \(matched) datagrams as recorded")
    XCTAssertEqual(sessions, 38)
    XCTAssertGreaterThan(matched, 350)
  }

  private func isLookup(_ datagram: Fields) throws -> Bool { try datagram.string("command") == "LOOKUP" }

  private func isOwnRequest(_ datagram: Fields) throws -> Bool {
    guard try datagram.string("kind") == "request" else { return false }
    return try datagram.object("decoded").bool("internal")
  }

  /// The token in the response that the recorded node gave to this very request.
  private func tokenOfAnswer(to request: Fields, at index: Int, in datagrams: [Fields]) throws -> Bytes32? {
    let tid = try request.object("decoded").uint("tid")
    for answer in datagrams[(index + 1)...] where try answer.string("kind") == "response" {
      let decoded = try answer.object("decoded")
      guard try decoded.uint("tid") == tid, try answer.endpoint("fromAddress") == request.endpoint("toAddress"),
        try answer.endpoint("toAddress") == request.endpoint("fromAddress")
      else { continue }
      return try decoded.optionalBytes32("token")
    }
    return nil
  }

  /// Every value of a DHT message in the transcripts decodes, and encodes to the same bytes.
  func testDHT_transcriptValuesRoundTrip() throws {
    var count = 0
    for session in try Vectors.cases("session-connect").map({ Fields($0) }) {
      for datagram in try session.objects("datagrams") where datagram.has("command") {
        let decoded = try datagram.object("decoded")
        guard let value = try decoded.optionalBytes("value"), !value.isEmpty else { continue }
        let isRequest = try datagram.string("kind") == "request"
        let again: [UInt8]
        switch try datagram.string("command") {
        case "PEER_HANDSHAKE": again = try CompactReader.decode(HandshakeMessage.self, from: value).encoded
        case "PEER_HOLEPUNCH": again = try CompactReader.decode(HolepunchMessage.self, from: value).encoded
        case "FIND_PEER": again = try CompactReader.decode(PeerRecord.self, from: value).encoded
        case "LOOKUP": again = try CompactReader.decode(LookupReply.self, from: value).encoded
        case "ANNOUNCE", "UNANNOUNCE": again = try CompactReader.decode(AnnounceMessage.self, from: value).encoded
        case "MUTABLE_PUT": again = try CompactReader.decode(MutablePutRequest.self, from: value).encoded
        case "MUTABLE_GET":
          again =
            try isRequest
            ? CompactReader.decode(MutableGetRequest.self, from: value).encoded
            : CompactReader.decode(MutableGetResponse.self, from: value).encoded
        default: continue
        }
        XCTAssertEqual(again, value, session.id)
        count += 1
      }
    }
    print("session-connect values: \(count) round trips")
    XCTAssertGreaterThan(count, 200)
  }
}
