import HyperCrypto
import HyperEncoding
import HyperEnvironment
import HyperSecretStream
import HyperTestVectors
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine
@testable import HyperRPC

/// A few bits of a size.
private func magnitude(_ count: Int) -> Int { count.bitWidth - count.leadingZeroBitCount }

/// Answers of strangers for a client: whatever a DHT node or a server says, each call ends once, and what is sent
/// because of it stays within bounds.
final class ClientFuzzTests: XCTestCase {
  private let keyPair = KeyPair(seed: Bytes32(repeating: 3))
  private let topic = Bytes32(repeating: 7)
  private let value = Array("value".utf8)

  // MARK: DHT nodes

  /// A client whose only node of the DHT is the stranger. The first byte of an input is the call, then come the
  /// answers: a byte says whether one is a datagram or the value of a proper one, two bytes how long it is.
  func testAnswersToAClient() throws {
    let inputs = try Fuzzer(
      name: "answers", mutations: 150, allocates: (16 << 20, 4096), seeds: try answerSeeds()
    ) { bytes in
      let world = ClientWorld()
      let call = bytes.isEmpty ? 0 : Int(bytes[0]) % self.calls.count
      // The last call is the bootstrapping itself.
      if call < self.calls.count - 1 { XCTAssertTrue(world.bootstrap()) }
      var pieces = Pieces(bytes.dropFirst())
      world.stranger.answer = { request, source in
        guard let (kind, piece) = pieces.next() else { return nil }
        return kind % 2 == 0 ? Pieces.datagram(piece, tid: request.tid) : world.stranger.proper(request, source, piece)
      }
      world.network.log = []
      var ends = 0
      self.calls[call](world.client) { ends += 1 }
      world.client.start()
      XCTAssertTrue(world.network.run(within: 300_000) { ends > 0 }, "call \(call) ends: \(Hex.encode(bytes))")
      let packets = world.packetsOfClient
      // An address takes six bytes in a list of nodes, and is asked three times; what is found there leads nowhere.
      XCTAssertLessThanOrEqual(packets.count, 100 + bytes.count, Hex.encode(bytes))
      XCTAssertLessThanOrEqual(world.client.rpc.table.count, 1 + bytes.count / 6)
      world.end()
      XCTAssertEqual(ends, 1, "call \(call) ends once: \(Hex.encode(bytes))")
      return [call, magnitude(packets.count), magnitude(Set(packets.map(\.destination)).count)]
    }.test()
    report(
      attack: "bytes of a DHT node for a client, in its answers",
      bound: "no trap, 2 s for each input; each call ends once; at most 100 packets and one for each byte",
      measured: inputs)
  }

  /// What a client can ask for, and what it may believe of the answers.
  private var calls: [(DHTNode, @escaping () -> Void) -> Void] {
    let (keyPair, topic, value) = (keyPair, topic, value)
    func run<Item>(_ query: DHTQuery<Item>, _ done: @escaping () -> Void) {
      query.onFinished = { _ in done() }
      query.start()
    }
    return [
      { run($0.lookup(topic), $1) },
      { run($0.findPeer(keyPair.publicKey), $1) },
      { run($0.announce(topic, keyPair: keyPair), $1) },
      { run($0.lookupAndUnannounce(topic, keyPair: keyPair), $1) },
      { node, done in node.immutablePut(value) { _ in done() } },
      { node, done in
        node.immutableGet(Target.of(value: value)) { result in
          if case .success(let found?) = result { XCTAssertEqual(found.value, value) }
          done()
        }
      },
      { node, done in node.mutablePut(keyPair: keyPair, value: value, sequence: 1) { _ in done() } },
      { node, done in
        node.mutableGet(keyPair.publicKey) { result in
          if case .success(let found?) = result { XCTAssertEqual(found.value, value) }
          done()
        }
      },
      { node, done in
        let stream = node.connect(to: keyPair.publicKey)
        stream.onOpen = { XCTFail("opened by a stranger") }
        stream.onClose = { _ in done() }
      },
      { node, done in node.makeServer().listen(keyPair: keyPair) { _ in done() } },
      { node, done in node.whenBootstrapped { _ in done() } },
    ]
  }

  private func answerSeeds() throws -> [[UInt8]] {
    let nodes = (1...20).map { Endpoint(host: IPv4Address(98, UInt8($0), 1, 1), port: 2000) }
    let record = PeerRecord(publicKey: keyPair.publicKey, relayAddresses: Array(nodes.prefix(3)))
    let signature = keyPair.sign(Signables.mutable(seq: 1, value: value))
    let values = [
      LookupReply(peers: [record, record]).encoded, record.encoded, value,
      MutableGetResponse(seq: 1, value: value, signature: signature).encoded,
    ]
    let id = NodeAddress.id(of: ClientWorld.endpoint)
    let datagram = ResponseDatagram(
      tid: 0, to: nodes[0], id: id, token: topic, closerNodes: nodes, value: values[0]
    ).encode()
    let refusal = ResponseDatagram(tid: 0, to: nodes[1], id: id, token: topic, error: 16).encode()
    var answers = [datagram, refusal].map { Pieces.encoded(0, $0) }
    answers += values.map { Pieces.encoded(1, $0) }
    let all = answers.flatMap { $0 }
    var seeds: [[UInt8]] = []
    for call in calls.indices {
      for answer in answers { seeds.append([UInt8(call)] + answer + answer + answer) }
      seeds.append([UInt8(call)] + all)
    }
    return seeds
  }

  // MARK: Servers

  /// A client that dials a server which has the key, and says what it likes: in message 2, and when holes are punched.
  /// In the first byte of an input bit 0 says that the server claims to be behind a relay, bit 1 that the client is
  /// behind a NAT that makes hole punching hard; then come the payloads.
  func testPayloadsToAClient() throws {
    var endings: [String: Int] = [:]
    let inputs = try Fuzzer(
      name: "client", mutations: 100, allocates: (16 << 20, 4096), seeds: payloadSeeds()
    ) { bytes in
      let world = ClientWorld(others: 4, mapping: (bytes.first ?? 0) & 2 != 0 ? .addressAndPortDependent : nil)
      XCTAssertTrue(world.bootstrap())
      let server = FuzzedServer(world, keyPair: self.keyPair, input: bytes)
      world.stranger.answer = { server.answer($0, from: $1) }
      world.network.log = []
      var options = ConnectOptions()
      options.relayAddresses = [world.stranger.endpoint]
      let stream = world.client.connect(to: self.keyPair.publicKey, options: options)
      var closes = 0
      var isOpen = false
      stream.onOpen = { isOpen = true }
      var ending = ""
      stream.onClose = {
        closes += 1
        ending = $0?.code ?? ""
      }
      world.network.run(within: 60_000) { closes > 0 }
      XCTAssertFalse(isOpen, "a stream opens with the header of the server: \(Hex.encode(bytes))")
      let elsewhere = world.packetsOfClient.filter { !world.isNode($0.destination.host) }
      let ofStream = elsewhere.count(where: \.isStream)
      XCTAssertLessThanOrEqual(ofStream, Self.streamPackets, Hex.encode(bytes))
      XCTAssertLessThanOrEqual(elsewhere.count - ofStream, Self.probes, Hex.encode(bytes))
      stream.destroy()
      world.end()
      XCTAssertEqual(closes, 1, Hex.encode(bytes))
      let number = endings[ending] ?? endings.count
      endings[ending] = number
      return [number, server.rounds, magnitude(elsewhere.count), Set(elsewhere.map(\.destination.host)).count]
    }.test()
    report(
      attack: "bytes of a server for a client, in message 2 and in hole punching",
      bound: "no trap, 2 s for each input; each dial ends once; at most \(Self.streamPackets) stream packets and "
        + "\(Self.probes) probes",
      measured: inputs)
  }

  /// Of the handshake that believes the claim: the header six times within ten seconds, and a reset; of the second one
  /// the same within a second.
  private static let streamPackets = 7 + 2 * (Limits.Connect.handshakes - 1)
  /// Of a dial whose peer wants the most of them: all sockets of a random NAT, in all rounds.
  private static let probes = Limits.Punch.birthdaySockets * (Limits.Punch.consistentRounds + 1)

  private func payloadSeeds() -> [[UInt8]] {
    let elsewhere = Endpoint(host: IPv4Address(97, 1, 1, 1), port: 3000)
    let addresses = [elsewhere, Endpoint(host: IPv4Address(97, 1, 2, 1), port: 3001)]
    let relay = NoisePayload.Relay(relayAddress: ClientWorld.endpoint, peerAddress: elsewhere)
    let udx = NoisePayload.UDXInfo(reusableSocket: true, id: 4711)
    func answer(_ firewall: Firewall, holepunch: Bool, migration: Bool = false) -> [UInt8] {
      NoisePayload(
        firewall: firewall, holepunch: holepunch ? .init(id: 5, relays: [relay]) : nil, addresses4: addresses,
        addresses6: [], udx: udx, secretStream: .init(), relayAddresses: [elsewhere],
        migration: migration ? .init() : nil
      ).encoded
    }
    let relayed = NoisePayload(
      udx: udx, secretStream: .init(), relayThrough: .init(publicKey: topic, token: topic)
    ).encoded
    let refused = NoisePayload(error: .tryLater, udx: udx).encoded
    func punch(_ firewall: Firewall, _ round: UInt64, punching: Bool) -> [UInt8] {
      HolepunchPayload(
        firewall: firewall, round: round, punching: punching, addresses: addresses, remoteAddress: elsewhere,
        token: topic, remoteToken: FuzzedServer.echo
      ).encoded
    }
    var seeds: [[UInt8]] = []
    for firewall in [Firewall.open, .consistent, .random, .unknown] {
      let rounds = [punch(firewall, 0, punching: false), punch(firewall, 1, punching: true)]
      for mode: UInt8 in 0...3 {
        let messages = [answer(firewall, holepunch: mode & 1 == 1)] + rounds
        seeds.append([mode] + messages.flatMap { Pieces.encoded(0, $0) })
      }
    }
    seeds.append([0] + Pieces.encoded(0, relayed))
    seeds.append([0] + Pieces.encoded(0, refused))
    seeds.append([1] + Pieces.encoded(0, answer(.consistent, holepunch: true, migration: true)))
    return seeds
  }
}

/// An input as a sequence of strings of bytes, each with a kind and two bytes of length.
private struct Pieces {
  private var rest: ArraySlice<UInt8>

  init(_ bytes: ArraySlice<UInt8>) { rest = bytes }

  mutating func next() -> (kind: UInt8, bytes: [UInt8])? {
    guard rest.count > 3 else { return nil }
    let kind = rest.removeFirst()
    let count = Int(rest.removeFirst()) | Int(rest.removeFirst()) << 8
    defer { rest = rest.dropFirst(count) }
    return (kind, Array(rest.prefix(count)))
  }

  static func encoded(_ kind: UInt8, _ bytes: [UInt8]) -> [UInt8] {
    [kind, UInt8(truncatingIfNeeded: bytes.count), UInt8(truncatingIfNeeded: bytes.count >> 8)] + bytes
  }

  /// The same datagram with this transaction id, as the answer to a request has it.
  static func datagram(_ bytes: [UInt8], tid: UInt16) -> [UInt8] {
    var bytes = bytes
    guard bytes.count > 3 else { return bytes }
    bytes[2] = UInt8(truncatingIfNeeded: tid)
    bytes[3] = UInt8(truncatingIfNeeded: tid >> 8)
    return bytes
  }
}

/// A client, and the nodes of the DHT that it knows, of which the first one is a stranger.
private final class ClientWorld {
  static let endpoint = address(of: 0)

  let network = VirtualNetwork(seed: 1, isLogging: true)
  let client: DHTNode
  private let nodes: [Stranger]

  /// - Parameters:
  ///   - others: nodes beside the stranger.
  ///   - mapping: of the NAT that the client is behind.
  init(others: UInt8 = 0, mapping: VirtualNAT.Mapping? = nil) {
    let network = network
    network.logsStreams = true
    nodes = (0...others).map { Stranger(network.makeHost(Self.address(of: $0).host), Self.address(of: $0)) }
    let nat = mapping.map { network.makeNAT(mapping: $0, filter: .addressAndPortDependent) }
    let host = nat.map { network.makeHost(IPv4Address(192, 168, 0, 2), behind: $0) } ?? network.makeHost()
    client = DHTNode(
      environment: host,
      options: DHTOptions(bootstrap: nodes.map { .endpoint($0.endpoint) }, host: .any, port: 0))
  }

  private static func address(of node: UInt8) -> Endpoint { Endpoint(host: IPv4Address(96, 1, node, 1), port: 1000) }

  var stranger: Stranger { nodes[0] }

  /// With proper answers.
  func bootstrap() -> Bool {
    var isDone = false
    client.start()
    client.whenBootstrapped { _ in isDone = true }
    return network.run(within: 60_000) { isDone }
  }

  func isNode(_ host: IPv4Address) -> Bool { nodes.contains { $0.endpoint.host == host } }

  var packetsOfClient: [VirtualNetwork.Packet] { network.log.filter { !isNode($0.source.host) } }

  func end() {
    var isDestroyed = false
    client.destroy { isDestroyed = true }
    XCTAssertTrue(network.run(within: 60_000) { isDestroyed })
    for node in nodes { node.close() }
    network.runUntilIdle()
    XCTAssertEqual(network.pendingEventCount, 0, "nothing is left")
  }
}

/// One socket that answers requests as it is told to, at first as a node does.
private final class Stranger {
  let endpoint: Endpoint
  private let socket: any DatagramSocket
  /// A datagram, or nothing.
  var answer: ((Datagrams.Request, Endpoint) -> [UInt8]?)?

  init(_ host: VirtualHost, _ endpoint: Endpoint) {
    self.endpoint = endpoint
    socket = host.makeSocket()
    answer = { [unowned self] in proper($0, $1, nil) }
    XCTAssertNoThrow(try socket.bind(host: .any, port: endpoint.port))
    socket.onMessage = { [unowned self] bytes, source in
      guard let request = Datagrams.request(Array(bytes)), let reply = answer?(request, source) else { return }
      socket.send(reply, to: source)
    }
  }

  /// The answer of a node with an id and a token.
  func proper(_ request: Datagrams.Request, _ source: Endpoint, _ value: [UInt8]?) -> [UInt8] {
    ResponseDatagram(
      tid: request.tid, to: source, id: NodeAddress.id(of: endpoint), token: Bytes32(repeating: 9), value: value
    ).encode()
  }

  func close() {
    answer = nil
    socket.close()
  }
}

/// A server that has its key and speaks Noise, with payloads of the input.
private final class FuzzedServer {
  private let world: ClientWorld
  private let keyPair: KeyPair
  private var pieces: Pieces
  private let isRelayed: Bool
  private var secret: Bytes32?
  /// Stands in an input for the token that the client wants to have back.
  static let echo = Bytes32(repeating: 0xec)
  /// Answers of hole punching so far.
  private(set) var rounds = 0

  init(_ world: ClientWorld, keyPair: KeyPair, input: [UInt8]) {
    self.world = world
    self.keyPair = keyPair
    isRelayed = (input.first ?? 0) % 2 == 1
    pieces = Pieces(input.dropFirst())
  }

  func answer(_ request: Datagrams.Request, from source: Endpoint) -> [UInt8]? {
    guard !request.isInternal, let value = request.value else { return world.stranger.proper(request, source, nil) }
    let reply: [UInt8]?
    switch Command(rawValue: request.command) {
    case .peerHandshake: reply = handshake(value)
    case .peerHolepunch: reply = holepunch(value)
    default: reply = nil
    }
    return world.stranger.proper(request, source, reply)
  }

  private var claimed: Endpoint? { isRelayed ? Endpoint(host: IPv4Address(97, 1, 1, 1), port: 3000) : nil }

  private func handshake(_ value: [UInt8]) -> [UInt8]? {
    guard let message = try? CompactReader.decode(HandshakeMessage.self, from: value),
      var noise = try? NoiseHandshake(
        pattern: .ik, isInitiator: false, keyPair: keyPair, remotePublicKey: nil,
        prologue: Namespaces.peerHandshake.bytes, ephemeral: KeyPair(seed: Bytes32(repeating: 5))),
      (try? noise.receive(message.noise)) != nil, let (_, payload) = pieces.next(),
      let answer = try? noise.send(payload: payload), let keys = noise.sessionKeys()
    else { return nil }
    secret = HolepunchSealer.secret(handshakeHash: keys.handshakeHash)
    return HandshakeMessage(mode: .reply, noise: answer, peerAddress: claimed).encoded
  }

  private func holepunch(_ value: [UInt8]) -> [UInt8]? {
    guard let secret, let (_, piece) = pieces.next(),
      let message = try? CompactReader.decode(HolepunchMessage.self, from: value),
      let asked = HolepunchSealer(secret: secret, localSecret: Bytes32()).open(message.payload)
    else { return nil }
    rounds += 1
    let payload = asked.token.map { piece.replacing(Self.echo.bytes, with: $0.bytes) } ?? piece
    let nonce = [UInt8](repeating: UInt8(truncatingIfNeeded: rounds), count: SecretBox.nonceCount)
    guard let sealed = SecretBox.seal(payload, nonce: nonce, key: secret) else { return nil }
    return HolepunchMessage(mode: .reply, id: 0, payload: nonce + sealed, peerAddress: claimed).encoded
  }
}
