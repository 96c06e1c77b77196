import CompactEncoding
import CryptoPrimitives
import Environment
import TestSupport
import XCTest

@testable import HyperDHT
@testable import RPC

/// over whole networks: queries, commits and stores of many nodes on virtual time.
final class StorageNetworkTests: XCTestCase {
  /// A network of persistent nodes, each on its own virtual host, and who came later.
  private final class Net {
    let network: TestNetwork
    let testnet: Testnet

    init(size: Int, seed: UInt64 = 11) {
      let network = TestNetwork(seed: seed)
      self.network = network
      testnet = Testnet(environments: (0..<size).map { _ in network.makeHost() }, size: size, host: nil)
      var started = false
      testnet.start { result in
        if case .success = result { started = true }
      }
      XCTAssertTrue(network.run(within: 120_000) { started }, "the network does not start")
      network.log = []
    }

    deinit { testnet.destroy() }

    var nodes: [DHTNode] { testnet.nodes }

    /// An ephemeral node on a host of its own; unless told otherwise it finds out that it is reachable.
    func client(staysFirewalled: Bool = false) throws -> DHTNode {
      var options = DHTOptions(bootstrap: nil, port: 0)
      options.quickFirewall = !staysFirewalled
      options.ephemeral = true
      let node = try XCTUnwrap(testnet.createNode(environment: network.makeHost(), options: options))
      node.start()
      var isReady = false
      node.whenBootstrapped { _ in isReady = true }
      XCTAssertTrue(network.run(within: 60_000) { isReady })
      return node
    }

    func run(
      within milliseconds: UInt64 = 60_000, file: StaticString = #filePath, line: UInt = #line,
      until condition: () -> Bool
    ) {
      XCTAssertTrue(network.run(within: milliseconds, until: condition), "not in time", file: file, line: line)
    }

    /// Runs a query to its end; what it found.
    func all<Item>(_ query: DHTQuery<Item>, line: UInt = #line) -> [Item] {
      var items: [Item] = []
      var isFinished = false
      query.onReply = { items.append($0) }
      query.onFinished = { _ in isFinished = true }
      query.start()
      run(line: line) { isFinished }
      return items
    }

    @discardableResult
    func finish<Item>(_ query: DHTQuery<Item>, line: UInt = #line) -> Result<Void, DHTError>? {
      var outcome: Result<Void, DHTError>?
      query.onFinished = { outcome = $0 }
      query.start()
      run(line: line) { outcome != nil }
      return outcome
    }

    func listen(_ node: DHTNode, _ pair: KeyPair, line: UInt = #line) -> DHTServer {
      let server = node.makeServer()
      var isListening = false
      server.listen(keyPair: pair) { _ in isListening = true }
      run(line: line) { isListening }
      return server
    }

    func mutableGet(_ node: DHTNode, _ key: Bytes32, _ options: MutableGetOptions = .init()) -> MutableGetResult? {
      var outcome: Result<MutableGetResult?, DHTError>?
      node.mutableGet(key, options: options) { outcome = $0 }
      run { outcome != nil }
      return try? outcome?.get()
    }

    func mutablePut(
      _ node: DHTNode, _ pair: KeyPair, _ value: [UInt8], seq: UInt64
    ) -> Result<MutablePutResult, DHTError>? {
      var outcome: Result<MutablePutResult, DHTError>?
      node.mutablePut(keyPair: pair, value: value, sequence: seq) { outcome = $0 }
      run { outcome != nil }
      return outcome
    }
  }

  private let topic = Bytes32(repeating: 0x31)
  private let key1 = KeyPair(seed: Bytes32(repeating: 21))
  private let key2 = KeyPair(seed: Bytes32(repeating: 22))

  // MARK: A-2

  func testDHT_10_11_22_serverIsFound() throws {
    let net = Net(size: 32)
    let reachable = try net.client()
    let server = net.listen(reachable, key1)
    let searcher = try net.client()
    let found = net.all(searcher.findPeer(key1.publicKey))
    XCTAssertGreaterThanOrEqual(found.count, 1)
    // The stored record names no relays; they travel in the handshake.
    for item in found { XCTAssertEqual(item.peer, PeerRecord(publicKey: key1.publicKey)) }
    let looked = net.all(searcher.lookup(Target.of(publicKey: key1.publicKey)))
    XCTAssertTrue(looked.contains { $0.peers == [PeerRecord(publicKey: key1.publicKey)] })

    // A reachable server names itself first.
    let own = try XCTUnwrap(server.relayAddresses.first)
    XCTAssertEqual(own, reachable.rpc.remoteAddress)
    XCTAssertEqual(server.relayAddresses.count, 3)
    for relay in server.relayAddresses.dropFirst() {
      XCTAssertTrue(found.contains { $0.from.endpoint == relay }, "\(relay) does not answer for the server")
    }
  }

  func testDHT_21_relaysOfAFirewalledServerAnswerForIt() throws {
    let net = Net(size: 32)
    let server = net.listen(try net.client(staysFirewalled: true), key1)
    let found = net.all(try net.client().findPeer(key1.publicKey))
    XCTAssertEqual(server.relayAddresses.count, 3)
    for relay in server.relayAddresses {
      XCTAssertTrue(found.contains { $0.from.endpoint == relay }, "\(relay) does not answer for the server")
    }
  }

  func testDHT_12_twoAnnouncersOfATopic() throws {
    let net = Net(size: 16)
    let announcer = try net.client()
    let searcher = try net.client()
    XCTAssertNoThrow(try net.finish(announcer.announce(topic, keyPair: key1))?.get())
    XCTAssertEqual(Set(net.all(searcher.lookup(topic)).flatMap(\.peers)), [PeerRecord(publicKey: key1.publicKey)])
    let relay = Endpoint(host: IPv4Address(9, 8, 7, 6), port: 54)
    XCTAssertNoThrow(try net.finish(announcer.announce(topic, keyPair: key2, relayAddresses: [relay]))?.get())
    let both = Set([
      PeerRecord(publicKey: key1.publicKey), PeerRecord(publicKey: key2.publicKey, relayAddresses: [relay]),
    ])
    XCTAssertTrue(net.all(searcher.lookup(topic)).contains { Set($0.peers) == both })
    XCTAssertEqual(net.all(searcher.findPeer(key1.publicKey)).count, 0)
    XCTAssertEqual(net.all(searcher.findPeer(key2.publicKey)).count, 0)
  }

  func testDHT_13_bumpTravels() throws {
    let net = Net(size: 8)
    let announcer = try net.client()
    func bump(_ value: UInt64) -> Set<UInt64> {
      var options = AnnounceOptions()
      options.bump = value
      net.finish(announcer.announce(topic, keyPair: key1, options: options))
      return Set(net.all(announcer.lookup(topic)).map(\.bump))
    }
    let now = announcer.environment.wallClock
    XCTAssertEqual(bump(1), [1])
    XCTAssertEqual(bump(2), [2])
    XCTAssertEqual(bump(1), [2])
    XCTAssertEqual(bump(now + 24 * 3_600_000), [2])
    XCTAssertEqual(bump(now), [now])
  }

  func testDHT_19_unannounceRemovesEverywhere() throws {
    let net = Net(size: 16)
    let announcer = try net.client()
    net.finish(announcer.announce(topic, keyPair: key1))
    net.finish(announcer.announce(topic, keyPair: key2))
    var isDone = false
    announcer.unannounce(topic, keyPair: key1) { _ in isDone = true }
    net.run { isDone }
    XCTAssertEqual(Set(net.all(announcer.lookup(topic)).flatMap(\.peers).map(\.publicKey)), [key2.publicKey])
  }

  func testDHT_20_suspendWithdrawsAndResumeAnnounces() throws {
    let net = Net(size: 16)
    let server = net.listen(try net.client(), key1)
    let searcher = try net.client()
    var isDone = false
    server.suspend { isDone = true }
    net.run { isDone }
    XCTAssertEqual(net.all(searcher.findPeer(key1.publicKey)).count, 0)
    server.resume()
    net.network.advance(by: 1000)
    XCTAssertGreaterThanOrEqual(net.all(searcher.findPeer(key1.publicKey)).count, 1)
  }

  func testDHT_20_closeWithdraws() throws {
    let net = Net(size: 16)
    let server = net.listen(try net.client(), key1)
    let searcher = try net.client()
    XCTAssertGreaterThanOrEqual(net.all(searcher.findPeer(key1.publicKey)).count, 1)
    var isDone = false
    server.close { isDone = true }
    net.run { isDone }
    XCTAssertEqual(net.all(searcher.findPeer(key1.publicKey)).count, 0)
  }

  /// Fewer than three relays to be had must not make the announcer spin.
  func testDHT_23_noTightLoopOnATinyNetwork() throws {
    let net = Net(size: 2)
    let server = net.listen(net.nodes[1], key1)
    let before = net.network.log.count
    net.network.advance(by: 500)
    let requests = net.network.log[before...].filter { $0.bytes.first == DatagramKind.request }
    XCTAssertLessThan(requests.count, 50)
    XCTAssertTrue(server.isListening)
  }

  /// A server survives the loss of one of its relays: with the next ping round it announces elsewhere.
  func testDHT_11_lostRelayIsReplaced() throws {
    let net = Net(size: 16)
    let server = net.listen(try net.client(staysFirewalled: true), key1)
    let lost = try XCTUnwrap(server.relayAddresses.first)
    let dead = try XCTUnwrap(net.nodes.first { $0.rpc.localAddress == lost })
    (dead.environment as? TestEnvironment)?.isDown = true
    net.network.advance(by: 60_000)
    XCTAssertFalse(server.relayAddresses.contains(lost))
    XCTAssertEqual(server.relayAddresses.count, 3)
  }

  // MARK: A-3

  func testDHT_27_immutablePutAndGet() throws {
    let net = Net(size: 100)
    let value = Array("a value".utf8)
    var put: Result<ImmutablePutResult, DHTError>?
    net.nodes[30].immutablePut(value) { put = $0 }
    net.run { put != nil }
    let stored = try XCTUnwrap(put).get()
    XCTAssertEqual(stored.target, Target.of(value: value))
    XCTAssertEqual(stored.stored, 20)
    var got: Result<ImmutableGetResult?, DHTError>?
    net.nodes[3].immutableGet(stored.target) { got = $0 }
    net.run { got != nil }
    let item = try XCTUnwrap(try XCTUnwrap(got).get())
    XCTAssertEqual(item.value, value)
    XCTAssertTrue(stored.closestNodes.contains(item.from.endpoint))
    XCTAssertEqual(item.to, net.nodes[3].rpc.localAddress)
    got = nil
    net.nodes[3].immutableGet(topic) { got = $0 }
    net.run { got != nil }
    XCTAssertNil(try XCTUnwrap(got).get())
  }

  func testDHT_28_29_30_mutablePutAndGet() throws {
    let net = Net(size: 32)
    let first = try XCTUnwrap(net.mutablePut(net.nodes[5], key1, [1], seq: 0)).get()
    XCTAssertEqual(first.sequence, 0)
    let read = try XCTUnwrap(net.mutableGet(net.nodes[9], key1.publicKey))
    XCTAssertEqual(read.value, [1])
    XCTAssertEqual(read.sequence, 0)
    XCTAssertEqual(read.signature, first.signature)
    XCTAssertNoThrow(try XCTUnwrap(net.mutablePut(net.nodes[7], key1, [2], seq: 2)).get())
    XCTAssertEqual(net.mutableGet(net.nodes[1], key1.publicKey)?.sequence, 2)
    var options = MutableGetOptions()
    options.sequence = 3
    XCTAssertNil(net.mutableGet(net.nodes[1], key1.publicKey, options))
    options.sequence = 1
    options.latest = false
    XCTAssertEqual(net.mutableGet(net.nodes[1], key1.publicKey, options)?.value, [2])

    // BETTER (Part C, 13): refusals are reported instead of swallowed.
    XCTAssertEqual(failure(net.mutablePut(net.nodes[7], key1, [3], seq: 2)), .sequenceReused)
    XCTAssertEqual(failure(net.mutablePut(net.nodes[7], key1, [3], seq: 1)), .sequenceTooLow)
    XCTAssertNoThrow(try XCTUnwrap(net.mutablePut(net.nodes[7], key1, [2], seq: 2)).get())
    XCTAssertEqual(net.mutableGet(net.nodes[1], key1.publicKey)?.value, [2])
  }

  private func failure<Value>(_ result: Result<Value, DHTError>?) -> DHTError? {
    guard case .failure(let error)? = result else { return nil }
    return error
  }

  func testDHT_31_forgedAnswersAreSkipped() throws {
    let net = Net(size: 16)
    let value = Array("genuine".utf8)
    let target = Target.of(value: value)
    var put: Result<ImmutablePutResult, DHTError>?
    net.nodes[0].immutablePut(value) { put = $0 }
    net.run { put != nil }
    XCTAssertNoThrow(try XCTUnwrap(net.mutablePut(net.nodes[0], key1, [1], seq: 1)).get())
    // All but three nodes lie: a wrong value, and one under a higher number with the old signature.
    let signature = key1.sign(Signables.mutable(seq: 1, value: [1]))
    for node in net.nodes.dropFirst(3) {
      let storage = try XCTUnwrap(node.storage)
      storage.immutables.set(target, [6, 6, 6], now: storage.now)
      storage.mutables.set(
        Target.of(publicKey: key1.publicKey), MutableGetResponse(seq: 9, value: [9], signature: signature),
        now: storage.now)
    }
    let searcher = try net.client()
    var got: Result<ImmutableGetResult?, DHTError>?
    searcher.immutableGet(target) { got = $0 }
    net.run { got != nil }
    XCTAssertEqual(try XCTUnwrap(got).get()?.value, value)
    XCTAssertEqual(net.mutableGet(searcher, key1.publicKey)?.value, [1])
  }
}
