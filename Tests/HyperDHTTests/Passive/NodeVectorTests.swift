import CompactEncoding
import TestSupport
import VectorSupport
import XCTest

@testable import HyperDHT
@testable import RPC

/// Group `node` of `hyperdht-state.json`: datagram in, datagrams out, through RPC, router and store.
final class NodeVectorTests: XCTestCase {
  private func cases() throws -> [Fields] {
    try Vectors.cases("hyperdht-state").filter { $0["group"] as? String == "node" }.map { Fields($0) }
  }

  private func makeNode(_ test: Fields, _ limits: StorageLimits) throws -> PassiveNode {
    let address = try test.endpoint("self")
    let secrets = try test.strings("tokenSecrets").compactMap { Bytes32(hex: $0) }
    XCTAssertEqual(secrets.count, 2)
    let node = try PassiveNode(
      address: address, isEphemeral: try test.bool("ephemeral"), table: try test.endpoints("table"),
      tokens: TokenStore(previous: secrets[0], current: secrets[1]), storageLimits: limits,
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
      let bytes = try want.bytes("hex")
      if packet.bytes == bytes { continue }
      guard step.has("unordered"), try isSameLookup(packet.bytes, bytes) else {
        return "sent \(Vectors.hex(packet.bytes))"
      }
    }
    return nil
  }

  /// Equal but for the order of the peers in the value.
  private func isSameLookup(_ a: [UInt8], _ b: [UInt8]) throws -> Bool {
    func split(_ bytes: [UInt8]) throws -> (ResponseDatagram, Set<PeerRecord>, UInt64)? {
      guard case .response(var response)? = bytes.withUnsafeBytes({ Datagram($0) }), let value = response.value else {
        return nil
      }
      let reply = try CompactReader.decode(LookupReply.self, from: value)
      response.value = nil
      return (response, Set(reply.peers), reply.bump)
    }
    guard let left = try split(a), let right = try split(b) else { return false }
    return left == right
  }

  /// Byte for byte as the reference, with the one deviation of ours that a vector shows switched off.
  func testDHT_nodeSequences() throws {
    var limits = StorageLimits()
    limits.records.replacesChangedRecords = false
    var steps = 0
    let tests = try cases()
    for test in tests {
      let node = try makeNode(test, limits)
      for (index, step) in try test.objects("steps").enumerated() {
        let difference = try play(step, on: node)
        XCTAssertNil(difference, "\(test.id) step \(index): \(try step.string("note"))")
        steps += 1
      }
    }
    print("hyperdht-state node: \(tests.count) sequences, \(steps) steps")
    XCTAssertEqual(tests.count, 5)
    XCTAssertEqual(steps, 101)
  }

  /// BETTER: a changed record of a key replaces the fresh one (Part C, 14), so exactly the look-up after that announce
  /// differs, and in nothing but that record. No other step of any sequence does.
  func testDHT_C14_onlyDeviationFromTheNodeSequences() throws {
    var deviations: [String] = []
    for test in try cases() {
      let node = try makeNode(test, StorageLimits())
      for step in try test.objects("steps") where try play(step, on: node) != nil {
        deviations.append(try step.string("note"))
        let sent = try XCTUnwrap(node.response)
        XCTAssertEqual(sent.error, 0)
      }
    }
    XCTAssertEqual(deviations, ["unchanged"])
  }
}
