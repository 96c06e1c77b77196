import HyperEncoding
import HyperTestVectors
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine
@testable import HyperRPC

/// Group `node` of `hyperdht-state.json`: datagram in, datagrams out, through RPC, router and store.
final class NodeVectorTests: XCTestCase {
  private func cases() throws -> [Fields] {
    try Vectors.cases("hyperdht-state").filter { $0["group"] as? String == "node" }.map { Fields($0) }
  }

  private func makeNode(_ test: Fields, _ configuration: StorageConfiguration) throws -> PassiveNode {
    let address = try test.endpoint("self")
    let secrets = try test.strings("tokenSecrets").compactMap { Bytes32(hex: $0) }
    XCTAssertEqual(secrets.count, 2)
    let node = try PassiveNode(
      address: address, isEphemeral: try test.bool("ephemeral"), table: try test.endpoints("table"),
      tokens: TokenStore(previous: secrets[0], current: secrets[1]), storageConfiguration: configuration,
      wallClock: try test.uint("now"))
    XCTAssertEqual(node.id, try test.bytes32("nodeId"), test.id)
    return node
  }

  /// Plays one step; what differs is described, `nil` when nothing does.
  private func play(_ step: Fields, on node: PassiveNode) throws -> String? {
    if let local = try step.optionalObject("localServer") {
      let server = FakeServer()
      server.handshakeReply = HandshakeReply(noise: try local.bytes("noiseReply"))
      server.holepunchReply = HolepunchReply(payload: try local.bytes("holepunchReply"))
      node.router.pin(
        target: try local.bytes32("target"), record: PeerRecord(publicKey: Bytes32(repeating: 1)), server: server)
    }
    let sent = node.deliver(try step.bytes("in"), from: try step.endpoint("from"))
    let expected = step.has("out") ? try step.objects("out") : []
    guard sent.count == expected.count else { return "\(sent.count) datagrams instead of \(expected.count)" }
    for (packet, want) in zip(sent, expected) {
      guard packet.destination == (try want.endpoint("to")) else { return "sent to \(packet.destination)" }
      let socket = packet.source.port == node.address.port ? "server" : "client"
      guard socket == (try want.string("socket")) else { return "sent from the \(socket) socket" }
      let isUnordered = step.has("unordered")
      guard try normalized(packet.bytes, isUnordered) == normalized(try want.bytes("hex"), isUnordered) else {
        return "sent \(Vectors.hex(packet.bytes))"
      }
    }
    return nil
  }

  /// The datagram with the lists in a fixed order that are not in one on the wire: closer nodes (ours come nearest
  /// first, those of the reference by routing bucket; the list is the same while both have at most 20 nodes), and,
  /// where the vector says so, the peers of a look-up. Everything else stays as it is.
  private func normalized(_ bytes: [UInt8], _ isUnorderedLookup: Bool) throws -> [UInt8] {
    guard case .response(var response)? = bytes.withUnsafeBytes({ Datagram($0) }) else { return bytes }
    response.closerNodes?.sort { $0.encoded.lexicographicallyPrecedes($1.encoded) }
    if isUnorderedLookup, let value = response.value {
      var reply = try CompactReader.decode(LookupReply.self, from: value)
      reply.peers.sort { $0.publicKey < $1.publicKey }
      response.value = reply.encoded
    }
    return response.encode()
  }

  /// As the reference, with the one deviation of ours that a vector shows switched off.
  func testDHT_nodeSequences() throws {
    var configuration = StorageConfiguration()
    configuration.records.replacesChangedRecords = false
    var steps = 0
    let tests = try cases()
    for test in tests {
      let node = try makeNode(test, configuration)
      node.rpc.checksRequesters = false
      for (index, step) in try test.objects("steps").enumerated() {
        let difference = try play(step, on: node)
        let note = try step.string("note")
        XCTAssertNil(difference, "\(test.id) step \(index): \(note)")
        steps += 1
      }
    }
    print("hyperdht-state node: \(tests.count) sequences, \(steps) steps")
    XCTAssertEqual(tests.count, 5)
    XCTAssertEqual(steps, 101)
  }

  /// BETTER: a changed record of a key replaces the fresh one (hyperdht.md Part C, 14), so exactly the two look-ups
  /// after that announce differ, and in nothing but the relays of that key. No other step of any sequence does.
  func testDHT_C14_onlyDeviationFromTheNodeSequences() throws {
    var deviations: [String] = []
    var changed = Set<Bytes32>()
    for test in try cases() {
      let node = try makeNode(test, StorageConfiguration())
      node.rpc.checksRequesters = false
      for step in try test.objects("steps") where try play(step, on: node) != nil {
        deviations.append(try step.string("note"))
        let expected = try XCTUnwrap(try step.objects("out").first).bytes("hex")
        guard case .response(let theirs)? = expected.withUnsafeBytes({ Datagram($0) }) else {
          return XCTFail("not a response")
        }
        let ours = try XCTUnwrap(node.response)
        XCTAssertEqual(ours.token, theirs.token)
        let reply = try CompactReader.decode(LookupReply.self, from: try XCTUnwrap(ours.value))
        let reference = try CompactReader.decode(LookupReply.self, from: try XCTUnwrap(theirs.value))
        XCTAssertEqual(reply.bump, reference.bump)
        XCTAssertEqual(Set(reply.peers.map(\.publicKey)), Set(reference.peers.map(\.publicKey)))
        changed.formUnion(Set(reply.peers).subtracting(reference.peers).map(\.publicKey))
      }
    }
    XCTAssertEqual(deviations, ["unchanged", "one left"])
    XCTAssertEqual(changed.count, 1)
  }
}
