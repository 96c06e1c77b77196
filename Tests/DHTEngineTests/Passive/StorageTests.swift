import HyperCrypto
import HyperEncoding
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine
@testable import HyperRPC

/// One storing node: hyperdht.md 12, the parts of that happen at it, and hyperdht.md B-10 and B-11.
final class StorageTests: XCTestCase {
  private let alice = Endpoint(host: IPv4Address(61, 1, 1, 1), port: 1111)
  private let bob = Endpoint(host: IPv4Address(62, 2, 2, 2), port: 2222)
  private let reader = Endpoint(host: IPv4Address(63, 3, 3, 3), port: 3333)
  private let topic = Bytes32(repeating: 0x77)
  private let key1 = KeyPair(seed: Bytes32(repeating: 11))
  private let key2 = KeyPair(seed: Bytes32(repeating: 12))

  private func relays(_ count: Int) -> [Endpoint] {
    (1...count).map { Endpoint(host: IPv4Address(71, 1, 1, UInt8($0)), port: 80) }
  }

  private func makeNode(_ change: (inout StorageConfiguration) -> Void = { _ in }) throws -> PassiveNode {
    var configuration = StorageConfiguration()
    change(&configuration)
    return try PassiveNode(table: relays(3), storageConfiguration: configuration)
  }

  // MARK: Peers

  func testDHT_12_twoKeysOnOneTopic() throws {
    let node = try makeNode()
    XCTAssertEqual(node.announce(key1, target: topic, from: alice).count, 1)
    let acknowledgement = try XCTUnwrap(node.response)
    XCTAssertEqual(acknowledgement.error, 0)
    XCTAssertNil(acknowledgement.value)
    XCTAssertNil(acknowledgement.token)
    XCTAssertNil(acknowledgement.closerNodes)
    XCTAssertEqual(try node.lookup(topic, from: reader)?.peers, [PeerRecord(publicKey: key1.publicKey)])
    node.announce(key2, target: topic, relays: relays(1), from: bob)
    let peers = try XCTUnwrap(try node.lookup(topic, from: reader)).peers
    XCTAssertEqual(
      Set(peers),
      [PeerRecord(publicKey: key1.publicKey), PeerRecord(publicKey: key2.publicKey, relayAddresses: relays(1))])
    XCTAssertNil(try node.findPeer(key1.publicKey, from: reader))
    XCTAssertNil(try node.findPeer(key2.publicKey, from: reader))
  }

  func testDHT_11_lookupOfAServersTargetGivesItsRecord() throws {
    let node = try makeNode()
    let target = Target.of(publicKey: key1.publicKey)
    node.announce(key1, target: target, from: alice)
    XCTAssertEqual(try node.lookup(target, from: reader)?.peers, [PeerRecord(publicKey: key1.publicKey)])
    XCTAssertEqual(try node.findPeer(key1.publicKey, from: reader), PeerRecord(publicKey: key1.publicKey))
    XCTAssertEqual(node.router.relay(target: target), alice)
    XCTAssertEqual(node.storage.recordCount, 0)
    // Another key may be announced under that target, as under any topic.
    node.announce(key2, target: target, from: bob)
    XCTAssertEqual(
      Set(try XCTUnwrap(try node.lookup(target, from: reader)).peers.map(\.publicKey)),
      [key1.publicKey, key2.publicKey])
  }

  func testDHT_13_bump() throws {
    let node = try makeNode()
    let now = node.host.wallClock
    func bump(after value: UInt64) throws -> UInt64? {
      node.announce(key1, target: topic, bump: value, from: alice)
      return try node.lookup(topic, from: reader)?.bump
    }
    XCTAssertEqual(try bump(after: 0), 0)
    XCTAssertEqual(try bump(after: 1), 1)
    XCTAssertEqual(try bump(after: 2), 2)
    XCTAssertEqual(try bump(after: 1), 2)
    XCTAssertEqual(try bump(after: now + 24 * 60 * 60 * 1000), 2)
    XCTAssertEqual(try bump(after: .max), 2)
    XCTAssertEqual(try bump(after: now + 60_001), 2)
    XCTAssertEqual(try bump(after: now), now)
    XCTAssertEqual(try bump(after: now + 60_000), now + 60_000)
    // Not sent without records.
    XCTAssertNil(try node.lookup(Bytes32(repeating: 1), from: reader))
  }

  func testDHT_14_moreThanThreeRelaysAreTrimmedAfterVerifying() throws {
    let node = try makeNode()
    node.announce(key1, target: topic, relays: relays(7), from: alice)
    XCTAssertEqual(try node.lookup(topic, from: reader)?.peers.first?.relayAddresses, relays(3))
    let target = Target.of(publicKey: key2.publicKey)
    node.announce(key2, target: target, relays: relays(5), from: alice)
    XCTAssertEqual(try node.findPeer(key2.publicKey, from: reader)?.relayAddresses, relays(3))
  }

  /// 15. The reference keeps the old record until the generation turns; ours is replaced (hyperdht.md Part C, 14).
  func testDHT_15_reannounceWithOtherRelays() throws {
    let better = try makeNode()
    let reference = try makeNode { $0.records.replacesChangedRecords = false }
    for (node, expected) in [(better, relays(2)), (reference, relays(1))] {
      node.announce(key1, target: topic, relays: relays(1), from: alice)
      node.announce(key1, target: topic, relays: relays(2), from: alice)
      XCTAssertEqual(try node.lookup(topic, from: reader)?.peers.first?.relayAddresses, expected)
      // After an unannounce (`clear`) both store the new one.
      node.unannounce(key1, target: topic, from: alice)
      node.announce(key1, target: topic, relays: relays(3), from: alice)
      XCTAssertEqual(try node.lookup(topic, from: reader)?.peers.first?.relayAddresses, relays(3))
    }
  }

  func testDHT_16_unknownRefreshBlockIsNotAnswered() throws {
    let node = try makeNode()
    let message = AnnounceMessage(refresh: Bytes32(repeating: 3))
    XCTAssertEqual(
      node.request(.announce, target: topic, value: message.encoded, from: alice, withToken: true).count, 0)
    XCTAssertEqual(node.storage.statistics.unknownRefreshes, 1)
  }

  func testDHT_17_refreshChain() throws {
    let node = try makeNode()
    let blocks = RefreshChain.blocks(secret: Bytes32(repeating: 4), count: 3)
    func reveal(_ block: Bytes32, from source: Endpoint) -> Int {
      let message = AnnounceMessage(refresh: block)
      return node.request(.announce, target: topic, value: message.encoded, from: source, withToken: true).count
    }
    node.announce(key1, target: topic, relays: relays(1), refresh: blocks[0], from: alice)
    XCTAssertEqual(reveal(blocks[1], from: alice), 1)
    XCTAssertEqual(reveal(blocks[1], from: alice), 0)
    XCTAssertEqual(reveal(blocks[0], from: alice), 0)
    // Refreshes carry the record over the generations: it would have died at 1600 s.
    node.network.advance(by: 790_000)
    XCTAssertEqual(reveal(blocks[2], from: alice), 1)
    node.network.advance(by: 20_000)
    XCTAssertEqual(try node.lookup(topic, from: reader)?.peers.first?.relayAddresses, relays(1))

    // A self-announce moves to the source of the refresh.
    let target = Target.of(publicKey: key2.publicKey)
    let chain = RefreshChain.blocks(secret: Bytes32(repeating: 5), count: 2)
    node.announce(key2, target: target, refresh: chain[0], from: alice)
    XCTAssertEqual(node.router.relay(target: target), alice)
    XCTAssertEqual(reveal(chain[1], from: bob), 1)
    XCTAssertEqual(node.router.relay(target: target), bob)
  }

  func testDHT_18_announcesThatAreNotStored() throws {
    let node = try makeNode()
    let peer = PeerRecord(publicKey: key1.publicKey)
    let token = node.token(for: alice.host)
    func attempt(
      _ expected: Int, nodeID: Bytes32? = nil, signedTarget: Bytes32? = nil, signer: KeyPair? = nil,
      signs: (Bytes32, Bytes32, Bytes32, PeerRecord, Bytes32?) -> [UInt8] = Signables.announce,
      signedToken: Bytes32? = nil, refresh: Bytes32? = nil, withToken: Bool = true, from source: Endpoint? = nil,
      line: UInt = #line
    ) {
      let signable = signs(signedTarget ?? topic, nodeID ?? node.id, signedToken ?? token, peer, nil)
      let message = AnnounceMessage(peer: peer, refresh: refresh, signature: (signer ?? key1).sign(signable))
      let sent = node.request(
        .announce, target: topic, value: message.encoded, from: source ?? alice, withToken: withToken)
      XCTAssertEqual(sent.count, expected, line: line)
    }
    attempt(0, nodeID: Bytes32(repeating: 1))
    attempt(0, signedTarget: Bytes32(repeating: 1))
    attempt(0, signer: key2)
    attempt(0, signs: Signables.unannounce)
    attempt(0, signedToken: node.token(for: bob.host))
    attempt(0, refresh: Bytes32(repeating: 1))
    attempt(0, withToken: false)
    // Signed for the token of another address: what bob presents is his own.
    attempt(0, from: bob)
    XCTAssertEqual(node.storage.statistics.unverified, 7)
    XCTAssertNil(try node.lookup(topic, from: reader))
    attempt(1)
    XCTAssertEqual(try node.lookup(topic, from: reader)?.peers.count, 1)
  }

  /// A token of another address never reaches the store: RPC answers with error 2 and a fresh one.
  func testDHT_18_tokenOfAnotherAddress() throws {
    let node = try makeNode()
    let peer = PeerRecord(publicKey: key1.publicKey)
    let token = node.token(for: alice.host)
    let signable = Signables.announce(target: topic, nodeID: node.id, token: token, peer: peer)
    let request = RequestDatagram(
      tid: 1, to: node.address, token: token, command: Command.announce.rawValue, target: topic,
      value: AnnounceMessage(peer: peer, signature: key1.sign(signable)).encoded)
    node.deliver(request.encode(), from: bob)
    XCTAssertEqual(node.response?.error, RPCErrorCode.invalidToken)
    XCTAssertEqual(node.response?.token, node.token(for: bob.host))
    XCTAssertNil(try node.lookup(topic, from: reader))
    // Another port of the same address is fine.
    node.deliver(request.encode(), from: Endpoint(host: alice.host, port: 9))
    XCTAssertEqual(node.response?.error, 0)
    XCTAssertEqual(try node.lookup(topic, from: reader)?.peers.count, 1)
  }

  func testDHT_19_unannounce() throws {
    let node = try makeNode()
    let target = Target.of(publicKey: key1.publicKey)
    node.announce(key1, target: topic, from: alice)
    node.announce(key1, target: target, from: alice)

    let peer = PeerRecord(publicKey: key1.publicKey)
    for wanted in [topic, target] {
      let signable = Signables.unannounce(
        target: wanted, nodeID: node.id, token: node.token(for: bob.host), peer: peer)
      let forged = AnnounceMessage(peer: peer, signature: key2.sign(signable))
      XCTAssertEqual(
        node.request(.unannounce, target: wanted, value: forged.encoded, from: bob, withToken: true).count, 0)
      let unsigned = AnnounceMessage(peer: peer)
      XCTAssertEqual(
        node.request(.unannounce, target: wanted, value: unsigned.encoded, from: bob, withToken: true).count, 0)
    }
    XCTAssertNotNil(try node.lookup(topic, from: reader))
    XCTAssertNotNil(try node.findPeer(key1.publicKey, from: reader))

    for wanted in [topic, target] {
      XCTAssertEqual(node.unannounce(key1, target: wanted, from: bob).count, 1)
      let response = try XCTUnwrap(node.response)
      XCTAssertNil(response.token)
      XCTAssertNil(response.closerNodes)
      XCTAssertNil(response.value)
    }
    XCTAssertNil(try node.lookup(topic, from: reader))
    XCTAssertNil(try node.findPeer(key1.publicKey, from: reader))
    // Nothing checks that the key was stored.
    XCTAssertEqual(node.unannounce(key2, target: topic, from: bob).count, 1)
  }

  func testDHT_13_ownStoreForgets() throws {
    let node = try makeNode()
    let target = Target.of(publicKey: key1.publicKey)
    node.announce(key1, target: topic, from: alice)
    node.announce(key1, target: target, from: alice)
    node.storage.forget(publicKey: key1.publicKey, target: topic)
    XCTAssertNil(try node.lookup(topic, from: reader))
    XCTAssertNotNil(try node.findPeer(key1.publicKey, from: reader))
    node.storage.forget(publicKey: key1.publicKey, target: target)
    XCTAssertNil(try node.findPeer(key1.publicKey, from: reader))
  }

  func testDHT_24_twentyRecordsPerReply() throws {
    let node = try makeNode()
    let pairs = (0..<30).map { KeyPair(seed: Bytes32(repeating: UInt8(100 + $0))) }
    for pair in pairs { node.announce(pair, target: topic, relays: relays(3), from: alice) }
    var seen: [Set<Bytes32>: Int] = [:]
    for _ in 0..<20 {
      node.network.advance(by: 1000)
      let reply = try XCTUnwrap(try node.lookup(topic, from: reader))
      let keys = Set(reply.peers.map(\.publicKey))
      XCTAssertEqual(keys.count, Limits.lookupReplyRecords)
      XCTAssertTrue(keys.isSubset(of: pairs.map(\.publicKey)))
      XCTAssertLessThan(node.sent[0].bytes.count, 1400)
      seen[keys, default: 0] += 1
    }
    XCTAssertGreaterThan(seen.count, 15)
  }

  func testDHT_25_repliesCarryTokenAndCloserNodes() throws {
    let node = try makeNode()
    for command in [Command.findPeer, .lookup, .immutableGet] {
      node.request(command, target: topic, from: reader)
      let response = try XCTUnwrap(node.response)
      XCTAssertEqual(response.token, node.token(for: reader.host))
      XCTAssertEqual(Set(response.closerNodes ?? []), Set(relays(3)))
      XCTAssertNil(response.value)
    }
  }

  func testDHT_26_ephemeralNodesStoreNothingButRoute() throws {
    let node = try PassiveNode(isEphemeral: true, table: relays(3))
    for command in [
      Command.findPeer, .lookup, .announce, .unannounce, .mutablePut, .mutableGet, .immutablePut, .immutableGet,
      .plugin,
    ] {
      node.request(command, target: topic, value: [0], from: reader, withToken: true)
      XCTAssertEqual(node.response?.error, RPCErrorCode.unknownCommand, "\(command)")
    }
    let server = FakeServer()
    server.handshakeReply = HandshakeReply(noise: [1])
    server.holepunchReply = HolepunchReply(payload: [2])
    node.router.pin(target: topic, record: PeerRecord(publicKey: key1.publicKey), server: server)
    node.request(
      .peerHandshake, target: topic, value: HandshakeMessage(mode: .fromClient, noise: [0]).encoded, from: reader)
    XCTAssertNotNil(node.response?.value)
    node.request(
      .peerHolepunch, target: topic,
      value: HolepunchMessage(mode: .fromRelay, id: 0, payload: [], peerAddress: alice).encoded, from: reader)
    XCTAssertNotNil(node.forwarded)
  }

  func testDHT_121_recordsLiveTwentyMinutes() throws {
    let node = try makeNode()
    node.announce(key1, target: topic, from: alice)
    node.network.advance(by: 13 * 60 * 1000)
    XCTAssertNotNil(try node.lookup(topic, from: reader))
    node.network.advance(by: 14 * 60 * 1000)
    XCTAssertNil(try node.lookup(topic, from: reader))
  }

  // MARK: Values

  private func put(
    _ node: PassiveNode, _ pair: KeyPair, seq: UInt64, _ value: [UInt8], target: Bytes32? = nil, signer: KeyPair? = nil,
    withToken: Bool = true, from source: Endpoint? = nil
  ) -> UInt64? {
    let signature = (signer ?? pair).sign(Signables.mutable(seq: seq, value: value))
    let message = MutablePutRequest(publicKey: pair.publicKey, seq: seq, value: value, signature: signature)
    node.request(
      .mutablePut, target: target ?? Target.of(publicKey: pair.publicKey), value: message.encoded,
      from: source ?? alice, withToken: withToken)
    return node.response?.error
  }

  private func get(_ node: PassiveNode, _ pair: KeyPair, seq: UInt64 = 0) throws -> MutableGetResponse? {
    node.request(
      .mutableGet, target: Target.of(publicKey: pair.publicKey), value: MutableGetRequest(seq: seq).encoded,
      from: reader)
    return try XCTUnwrap(node.response).value.map { try CompactReader.decode(MutableGetResponse.self, from: $0) }
  }

  func testDHT_30_sequenceNumbers() throws {
    let node = try makeNode()
    XCTAssertEqual(put(node, key1, seq: 5, [1]), 0)
    let response = try XCTUnwrap(node.response)
    XCTAssertNotNil(response.token)
    XCTAssertNotNil(response.closerNodes)
    XCTAssertNil(response.value)
    XCTAssertEqual(put(node, key1, seq: 4, [2]), StorageErrorCode.seqTooLow)
    XCTAssertNil(node.response?.token)
    XCTAssertNotNil(node.response?.closerNodes)
    XCTAssertEqual(put(node, key1, seq: 5, [2]), StorageErrorCode.seqReused)
    XCTAssertEqual(put(node, key1, seq: 5, [1]), 0)
    XCTAssertEqual(try get(node, key1)?.value, [1])
    XCTAssertEqual(put(node, key1, seq: 6, [3]), 0)
    let stored = try XCTUnwrap(try get(node, key1, seq: 6))
    XCTAssertEqual(stored.value, [3])
    XCTAssertTrue(
      Ed25519.verify(stored.signature, Signables.mutable(seq: 6, value: [3]), publicKey: key1.publicKey))
    XCTAssertNil(try get(node, key1, seq: 7))
    XCTAssertEqual(put(node, key1, seq: .max, []), 0)
    XCTAssertEqual(try get(node, key1)?.seq, .max)
    XCTAssertEqual(try get(node, key1)?.value, [])
    XCTAssertNil(try get(node, key2))
  }

  func testDHT_126_putsThatAreNotStored() throws {
    let node = try makeNode()
    XCTAssertNil(put(node, key1, seq: 1, [1], signer: key2))
    XCTAssertNil(put(node, key1, seq: 1, [1], target: topic))
    XCTAssertNil(put(node, key1, seq: 1, [1], withToken: false))
    XCTAssertEqual(put(node, key1, seq: 1, [UInt8](repeating: 1, count: 1024)), 0)
    // BETTER (hyperdht.md Part C, 13): no more than 1024 bytes, configurable.
    XCTAssertNil(put(node, key1, seq: 2, [UInt8](repeating: 1, count: 1025)))
    XCTAssertEqual(node.storage.statistics.refused, 1)
    XCTAssertEqual(try get(node, key1)?.seq, 1)
    let roomy = try makeNode { $0.maximumValue = 1900 }
    XCTAssertEqual(put(roomy, key1, seq: 2, [UInt8](repeating: 1, count: 1500)), 0)
  }

  func testDHT_127_immutable() throws {
    let node = try makeNode()
    let value = Array("hello".utf8)
    let target = Target.of(value: value)
    XCTAssertEqual(node.request(.immutablePut, target: target, value: value, from: alice).count, 0)
    XCTAssertEqual(node.request(.immutablePut, target: topic, value: value, from: alice, withToken: true).count, 0)
    XCTAssertEqual(node.request(.immutablePut, target: target, from: alice, withToken: true).count, 0)
    node.request(.immutableGet, target: target, from: reader)
    XCTAssertNil(node.response?.value)
    node.request(.immutablePut, target: target, value: value, from: alice, withToken: true)
    XCTAssertEqual(node.response?.error, 0)
    XCTAssertNotNil(node.response?.token)
    node.request(.immutableGet, target: target, from: reader)
    XCTAssertEqual(node.response?.value, value)
    let large = [UInt8](repeating: 9, count: 1025)
    XCTAssertEqual(
      node.request(.immutablePut, target: Target.of(value: large), value: large, from: alice, withToken: true).count,
      0)
  }

  /// 48 hours nominal: 32 untouched for sure, and writing or reading renews.
  func testDHT_121_valuesLiveTwoDays() throws {
    let node = try makeNode()
    let hour: UInt64 = 60 * 60 * 1000
    XCTAssertEqual(put(node, key1, seq: 1, [1]), 0)
    XCTAssertEqual(put(node, key2, seq: 1, [1]), 0)
    node.network.advance(by: 31 * hour)
    XCTAssertNotNil(try get(node, key1))
    node.network.advance(by: 30 * hour)
    XCTAssertNotNil(try get(node, key1))
    node.network.advance(by: 65 * hour)
    XCTAssertNil(try get(node, key1))
    XCTAssertNil(try get(node, key2))
  }

  // MARK: Plugins

  func testDHT_92_plugins() throws {
    let node = try makeNode()
    node.storage.register(plugin: "demo", version: 1) { message, request in
      request.reply(message.value.map { $0 + [UInt8(truncatingIfNeeded: message.command)] })
    }
    func ask(_ name: String, _ version: UInt64) -> Int {
      let message = PluginRequest(plugin: name, version: version, command: 7, value: [1])
      return node.request(.plugin, target: topic, value: message.encoded, from: reader).count
    }
    XCTAssertEqual(ask("demo", 1), 1)
    XCTAssertEqual(node.response?.value, [1, 7])
    XCTAssertEqual(ask("demo", 2), 0)
    XCTAssertEqual(ask("other", 1), 0)
  }

  // MARK: Abuse

  func testDHT_94_garbageGetsNoReplyAndDoesNoHarm() throws {
    let node = try makeNode()
    var random = SeededRandom(seed: 3)
    for round in 0..<400 {
      for command in UInt64(2)...10 {
        let value = random.bytes(Int(random.next() % 200))
        // Spread over hosts, as RPC rates them.
        let source = Endpoint(host: IPv4Address(80, 1, UInt8(round % 200), UInt8(command)), port: 5)
        let request = RequestDatagram(
          tid: UInt16(round), to: node.address, token: node.token(for: source.host), command: command,
          target: round % 3 == 0 ? nil : topic, value: value)
        node.deliver(request.encode(), from: source)
        switch Command(rawValue: command) {
        case .findPeer?, .lookup?, .immutableGet?: XCTAssertLessThanOrEqual(node.sent.count, 1)
        case .mutableGet?: XCTAssertLessThanOrEqual(node.sent.count, 1)
        default: XCTAssertEqual(node.sent.count, 0)
        }
      }
    }
    XCTAssertEqual(node.storage.recordCount + node.storage.mutableCount + node.storage.immutableCount, 0)
  }

  func testDestroyForgetsEverything() throws {
    let node = try makeNode()
    node.announce(key1, target: topic, from: alice)
    _ = put(node, key1, seq: 0, [1])
    node.storage.destroy()
    XCTAssertEqual(node.storage.recordCount + node.storage.mutableCount, 0)
  }
}
