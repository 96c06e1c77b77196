import HyperCrypto
import HyperEncoding
import HyperRPC
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine

/// Parts of hyperdht.md: announcing, looking up, storing.
final class QueryTests: XCTestCase {
  private let topic = Bytes32(repeating: 0x70)

  private func lookup(_ net: Net, _ node: DHTNode, _ target: Bytes32) -> [LookupResult] {
    var results: [LookupResult] = []
    let query = node.lookup(target)
    query.onReply = { results.append($0) }
    net.settle { done in
      query.onFinished = { done($0) }
      query.start()
    }
    return results
  }

  private func findPeer(_ net: Net, _ node: DHTNode, _ key: Bytes32) -> [FindPeerResult] {
    var results: [FindPeerResult] = []
    let query = node.findPeer(key)
    query.onReply = { results.append($0) }
    net.settle { done in
      query.onFinished = { done($0) }
      query.start()
    }
    return results
  }

  @discardableResult
  private func announce(
    _ net: Net, _ node: DHTNode, _ keyPair: KeyPair, relays: [Endpoint] = [], options: AnnounceOptions = .init()
  ) -> Bool {
    let query = node.announce(topic, keyPair: keyPair, relayAddresses: relays, options: options)
    let result: Result<Void, DHTError>? = net.settle { done in
      query.onFinished = { done($0) }
      query.start()
    }
    return result.map(isSuccess) ?? false
  }

  func testDHT_10_11_22_listeningServerIsFound() {
    let net = Net()
    let (server, _) = net.listen(on: net.makeNode())
    let client = net.makeNode()
    let key = server.publicKey ?? Bytes32()
    let found = findPeer(net, client, key)
    XCTAssertGreaterThanOrEqual(found.count, 1)
    for item in found {
      XCTAssertEqual(item.peer, PeerRecord(publicKey: key), "the stored record names no relays")
      XCTAssertNotNil(item.token)
    }
    XCTAssertEqual(server.relayAddresses.count, 3)
    let byTarget = lookup(net, client, server.target ?? Bytes32())
    XCTAssertTrue(byTarget.contains { $0.peers.contains { $0.publicKey == key } })
    net.destroy()
  }

  func testDHT_12_twoAnnouncersOfATopic() {
    let net = Net()
    let first = KeyPair(seed: Bytes32(repeating: 1))
    let second = KeyPair(seed: Bytes32(repeating: 2))
    let relay = Endpoint(host: IPv4Address(9, 8, 7, 6), port: 54)
    let node = net.makeNode()
    XCTAssertTrue(announce(net, node, first))
    XCTAssertEqual(Set(lookup(net, node, topic).flatMap(\.peers).map(\.publicKey)), [first.publicKey])
    XCTAssertTrue(announce(net, net.makeNode(), second, relays: [relay]))
    let both = lookup(net, node, topic)
    XCTAssertTrue(both.contains { $0.peers.count == 2 })
    XCTAssertTrue(both.flatMap(\.peers).contains { $0.publicKey == second.publicKey && $0.relayAddresses == [relay] })
    XCTAssertTrue(findPeer(net, node, first.publicKey).isEmpty, "topic records do not answer FIND_PEER")
    XCTAssertTrue(findPeer(net, node, second.publicKey).isEmpty)
    net.destroy()
  }

  func testDHT_13_bump() {
    let net = Net()
    let keyPair = KeyPair(seed: Bytes32(repeating: 1))
    let node = net.makeNode()
    func bump(_ value: UInt64) -> UInt64? {
      var options = AnnounceOptions()
      options.bump = value
      announce(net, node, keyPair, options: options)
      return lookup(net, node, topic).map(\.bump).max()
    }
    XCTAssertEqual(bump(1), 1)
    XCTAssertEqual(bump(2), 2)
    XCTAssertEqual(bump(1), 2)
    let now = node.environment.wallClock
    XCTAssertEqual(bump(now + 86_400_000), 2)
    XCTAssertEqual(bump(now), now)
    net.destroy()
  }

  func testDHT_14_relaysAreTrimmedByTheStoringNodes() {
    let net = Net()
    let keyPair = KeyPair(seed: Bytes32(repeating: 1))
    let relays = (1...5).map { Endpoint(host: IPv4Address(9, 9, 9, 9), port: UInt16($0)) }
    let node = net.makeNode()
    XCTAssertTrue(announce(net, node, keyPair, relays: relays))
    let stored = lookup(net, node, topic).flatMap(\.peers)
    XCTAssertFalse(stored.isEmpty)
    XCTAssertTrue(stored.allSatisfy { $0.relayAddresses == Array(relays.prefix(3)) })
    net.destroy()
  }

  func testDHT_15_changedRecordIsStored() {
    let net = Net()
    let keyPair = KeyPair(seed: Bytes32(repeating: 1))
    let node = net.makeNode()
    let relay = Endpoint(host: IPv4Address(9, 9, 9, 9), port: 9)
    announce(net, node, keyPair)
    var options = AnnounceOptions()
    options.clear = true
    XCTAssertTrue(announce(net, node, keyPair, relays: [relay], options: options))
    XCTAssertTrue(lookup(net, node, topic).flatMap(\.peers).allSatisfy { $0.relayAddresses == [relay] })
    net.destroy()
  }

  func testDHT_19_unannounce() {
    let net = Net()
    let first = KeyPair(seed: Bytes32(repeating: 1))
    let second = KeyPair(seed: Bytes32(repeating: 2))
    let node = net.makeNode()
    announce(net, node, first)
    announce(net, node, second)
    let result = net.settle { node.unannounce(topic, keyPair: first, completion: $0) }
    XCTAssertEqual(result.map(isSuccess), true)
    XCTAssertEqual(Set(lookup(net, node, topic).flatMap(\.peers).map(\.publicKey)), [second.publicKey])
    net.destroy()
  }

  func testDHT_20_suspendHidesAndResumeShows() {
    let net = Net()
    let (server, _) = net.listen(on: net.makeNode())
    let client = net.makeNode()
    let key = server.publicKey ?? Bytes32()
    XCTAssertFalse(findPeer(net, client, key).isEmpty)
    net.settle { done in server.suspend { done(()) } }
    XCTAssertTrue(findPeer(net, client, key).isEmpty)
    XCTAssertEqual(server.relayAddresses, [])
    server.resume()
    net.network.advance(by: 1000)
    XCTAssertFalse(findPeer(net, client, key).isEmpty)
    net.assertEcho(net.connect(client, to: server))
    net.destroy()
  }

  func testDHT_21_relayAddressesAnswerForTheServer() {
    let net = Net()
    let (server, _) = net.listen(on: net.nodes[4])
    let client = net.makeNode()
    XCTAssertFalse(server.relayAddresses.isEmpty)
    for address in server.relayAddresses where address != net.nodes[4].rpc.remoteAddress {
      let message = RequestMessage(command: Command.findPeer.rawValue, target: server.target)
      let result = net.settle { client.rpc.request(message, to: address, $0) }
      guard case .success(let response) = result else { return XCTFail("no answer") }
      let record = response.value.flatMap { try? CompactReader.decode(PeerRecord.self, from: $0) }
      XCTAssertEqual(record?.publicKey, server.publicKey)
    }
    net.destroy()
  }

  func testDHT_23_noTightLoopWithFewRelays() {
    let net = Net(2)
    let node = net.makeNode()
    net.network.isLogging = true
    net.network.log = []
    let server = node.makeServer()
    var isListening = false
    server.listen { isListening = isSuccess($0) }
    net.network.advance(by: 500)
    XCTAssertTrue(isListening)
    XCTAssertLessThan(net.network.log.filter { $0.bytes.first == 3 }.count, 50)
    net.network.log = []
    net.network.advance(by: 60_000)
    // Three pings every three seconds at most, and what the node does by itself.
    XCTAssertLessThan(net.network.log.filter { $0.bytes.first == 3 }.count, 200)
    net.destroy()
  }

  func testDHT_26_ephemeralNodesStoreNothingButForward() {
    let net = Net()
    let ephemeral = net.makeNode()
    let client = net.makeNode()
    let address = Endpoint(
      host: (ephemeral.environment as! VirtualHost).address,
      port: ephemeral.rpc.serverSocket?.localEndpoint?.port ?? 0)
    for command in [Command.findPeer, .lookup, .mutableGet, .immutableGet] {
      let message = RequestMessage(command: command.rawValue, target: topic, value: command == .mutableGet ? [0] : nil)
      let result = net.settle { client.rpc.request(message, to: address, $0) }
      guard case .success(let response) = result else { return XCTFail("no answer to \(command)") }
      XCTAssertEqual(response.error, RPCErrorCode.unknownCommand, "\(command)")
    }
    let handshake = HandshakeMessage(mode: .fromClient, noise: [1, 2, 3])
    let message = RequestMessage(command: Command.peerHandshake.rawValue, target: topic, value: handshake.encoded)
    guard case .success(let response) = net.settle({ client.rpc.request(message, to: address, $0) }) else {
      return XCTFail("no answer to a handshake")
    }
    XCTAssertEqual(response.error, 0, "served, with closer nodes for want of a way")
    XCTAssertNil(response.value)
    net.destroy()
  }

  func testDHT_27_immutable() {
    let net = Net(12)
    let value = Array("a value that does not change".utf8)
    let put = net.settle { net.nodes[1].immutablePut(value, completion: $0) }
    guard case .success(let stored) = put else { return XCTFail("\(String(describing: put))") }
    XCTAssertEqual(stored.target, Target.of(value: value))
    XCTAssertGreaterThan(stored.stored, 5)
    XCTAssertFalse(stored.closestNodes.isEmpty)
    let get = net.settle { net.makeNode().immutableGet(stored.target, completion: $0) }
    guard case .success(let found?) = get else { return XCTFail("\(String(describing: get))") }
    XCTAssertEqual(found.value, value)
    XCTAssertNotEqual(found.from.port, 0)
    let none = net.settle { net.nodes[2].immutableGet(Bytes32(repeating: 5), completion: $0) }
    guard case .success(nil) = none else { return XCTFail("\(String(describing: none))") }
    net.destroy()
  }

  func testDHT_28_29_30_mutable() {
    let net = Net(12)
    let keyPair = KeyPair(seed: Bytes32(repeating: 3))
    let node = net.makeNode()
    func put(_ text: String, _ sequence: UInt64) -> Result<MutablePutResult, DHTError>? {
      net.settle { node.mutablePut(keyPair: keyPair, value: Array(text.utf8), sequence: sequence, completion: $0) }
    }
    func get(_ adjust: (inout MutableGetOptions) -> Void = { _ in }) -> MutableGetResult? {
      var options = MutableGetOptions()
      adjust(&options)
      let result = net.settle { net.nodes[5].mutableGet(keyPair.publicKey, options: options, completion: $0) }
      return try? result?.get()
    }
    XCTAssertNil(get())
    guard case .success(let first) = put("zero", 0) else { return XCTFail("put") }
    XCTAssertEqual(get()?.value, Array("zero".utf8))
    XCTAssertEqual(get()?.signature, first.signature)
    guard case .success = put("two", 2) else { return XCTFail("put") }
    XCTAssertEqual(get()?.sequence, 2)
    XCTAssertNil(get { $0.sequence = 3 })
    XCTAssertEqual(get { $0.latest = false }?.value, Array("two".utf8))
    XCTAssertEqual(get { $0.refresh = true }?.value, Array("two".utf8))
    // hyperdht.md C-13: nothing was stored, so nothing is claimed.
    guard case .failure(.sequenceTooLow) = put("one", 1) else { return XCTFail("stale put must fail") }
    guard case .failure(.sequenceReused) = put("other", 2) else { return XCTFail("reused sequence must fail") }
    guard case .success = put("two", 2) else { return XCTFail("the same again refreshes") }
    net.destroy()
  }

  func testDHT_31_forgedRepliesAreSkipped() {
    let net = Net(1)
    let key = KeyPair(seed: Bytes32(repeating: 3))
    let value = Array("good".utf8)
    // Three hosts that answer every GET as they like.
    let liar = net.network.makeHost()
    let honest = net.network.makeHost()
    func fake(_ host: VirtualHost, _ answer: @escaping (Datagrams.Request) -> [UInt8]?) -> Endpoint {
      let socket = host.makeSocket()
      XCTAssertNoThrow(try socket.bind(host: .any, port: 1000))
      socket.onMessage = { [unowned socket] bytes, source in
        guard let request = Datagrams.request(Array(bytes)), !request.isInternal else { return }
        socket.send(Datagrams.encodeResponse(tid: request.tid, to: source, value: answer(request)), to: source)
      }
      return Endpoint(host: host.address, port: 1000)
    }
    let signed = MutableGetResponse(
      seq: 1, value: value, signature: key.sign(Signables.mutable(seq: 1, value: value)))
    var forged = signed
    forged.seq = 9
    let bad = fake(liar) { $0.command == Command.mutableGet.rawValue ? forged.encoded : Array("bad".utf8) }
    let good = fake(honest) { $0.command == Command.mutableGet.rawValue ? signed.encoded : value }
    let node = net.makeNode()
    var options = DHTQueryOptions()
    options.seeds = [bad, good]
    options.onlySeeds = true
    let immutable = net.settle { node.immutableGet(Target.of(value: value), options: options, completion: $0) }
    XCTAssertEqual(try? immutable?.get()?.value, value)
    var mutableOptions = MutableGetOptions()
    mutableOptions.query = options
    let mutable = net.settle { node.mutableGet(key.publicKey, options: mutableOptions, completion: $0) }
    XCTAssertEqual(try? mutable?.get()?.sequence, 1)
    net.destroy()
  }

  func testDHT_C13_largeValuesAreRefusedHere() {
    let net = Net(1)
    let large = [UInt8](repeating: 1, count: 1025)
    let immutable = net.settle { net.nodes[0].immutablePut(large, completion: $0) }
    guard case .failure(.valueTooLarge(1025, 1024)) = immutable else {
      return XCTFail("\(String(describing: immutable))")
    }
    let mutable = net.settle { net.nodes[0].mutablePut(keyPair: KeyPair.random(), value: large, completion: $0) }
    guard case .failure(.valueTooLarge) = mutable else { return XCTFail("\(String(describing: mutable))") }
    net.destroy()
  }

  func testPutWithoutNodesFails() {
    let network = VirtualNetwork(seed: 1, isLogging: true)
    let node = DHTNode(environment: network.makeHost(), options: DHTOptions(bootstrap: [], host: .any, port: 0))
    node.start()
    var result: Result<ImmutablePutResult, DHTError>?
    node.immutablePut([1]) { result = $0 }
    network.run(within: 60_000) { result != nil }
    guard case .failure(.tooFewNodes) = result else { return XCTFail("\(String(describing: result))") }
    node.destroy(force: true)
    network.advance(by: 1000)
  }

  func testQueriesSettleOnceOnDestroy() {
    let net = Net()
    let node = net.makeNode()
    for delay in [UInt64(0), 1, 2, 3] {
      var finished: [Result<Void, DHTError>] = []
      let query = node.lookup(topic)
      query.onFinished = { finished.append($0) }
      if delay > 0 { query.start() }
      net.network.advance(by: delay)
      query.destroy()
      query.destroy()
      query.start()
      net.network.advance(by: 10_000)
      XCTAssertEqual(finished.count, 1)
    }
    var finished = 0
    let query = node.lookup(topic)
    query.onFinished = { _ in finished += 1 }
    query.start()
    net.settle { done in node.destroy { done(()) } }
    XCTAssertEqual(finished, 1)
    net.destroy()
  }
}
