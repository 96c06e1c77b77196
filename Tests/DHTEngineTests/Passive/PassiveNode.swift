import HyperCrypto
import HyperEncoding
import HyperEnvironment
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine
@testable import HyperRPC

/// One node with router and store on a virtual network; requests are put into its server socket one by one.
final class PassiveNode {
  let network: VirtualNetwork
  let host: VirtualHost
  let rpc: RPCNode
  let router: Router
  let storage: StorageNode
  let address: Endpoint
  /// What the node sent since the last ``deliver(_:from:)``.
  private(set) var sent: [VirtualNetwork.Packet] = []
  private var nextTID: UInt16 = 100

  init(
    address: Endpoint = Endpoint(host: IPv4Address(51, 52, 53, 54), port: 4000), isEphemeral: Bool = false,
    table: [Endpoint] = [], tokens: TokenStore? = nil, routerConfiguration: RouterConfiguration = RouterConfiguration(),
    storageConfiguration: StorageConfiguration = StorageConfiguration(), wallClock: UInt64? = nil
  ) throws {
    network = VirtualNetwork(seed: 5, isLogging: true)
    host = network.makeHost(address.host)
    self.address = address
    if let wallClock { host.wallClockOffset = wallClock &- host.wallClock }
    var configuration = RPCConfiguration()
    configuration.port = PortRange(address.port)
    let rpc = RPCNode(environment: host, configuration: configuration)
    self.rpc = rpc
    rpc.table = RoutingTable(id: NodeAddress.id(of: address))
    rpc.isEphemeral = isEphemeral
    rpc.isFirewalled = isEphemeral
    router = Router(environment: host, configuration: routerConfiguration)
    storage = StorageNode(environment: host, router: router, configuration: storageConfiguration) { [weak rpc] in
      rpc?.id
    }
    try rpc.bind()
    if let tokens { rpc.setTokens(tokens) }
    for node in table { rpc.addNode(node) }
    rpc.yieldingCommand = Command.peerHandshake.rawValue
    rpc.onRequest = { [router, storage] request in
      switch Command(rawValue: request.command) {
      case .peerHandshake: router.handleHandshake(request)
      case .peerHolepunch: router.handleHolepunch(request)
      default: return storage.handle(request)
      }
      return true
    }
  }

  var id: Bytes32 { NodeAddress.id(of: address) }
  var serverSocket: (any DatagramSocket)? { rpc.serverSocket }

  func token(for host: IPv4Address) -> Bytes32 { rpc.issueToken(for: host) }

  /// Puts a datagram into the server socket; what the node sends in this turn is the result.
  @discardableResult
  func deliver(_ bytes: [UInt8], from source: Endpoint) -> [VirtualNetwork.Packet] {
    network.log = []
    serverSocket?.receive(bytes, from: source)
    network.advance(by: 0)
    sent = network.log
    return sent
  }

  /// A request of `source`; `withToken` adds the token that it would have got from us. `continues` repeats the last
  /// transaction id, as answers on their way back do.
  @discardableResult
  func request(
    _ command: Command, target: Bytes32? = nil, value: [UInt8]? = nil, from source: Endpoint, withToken: Bool = false,
    continues: Bool = false
  ) -> [VirtualNetwork.Packet] {
    if !continues { nextTID &+= 1 }
    let request = RequestDatagram(
      tid: nextTID, to: address, token: withToken ? token(for: source.host) : nil, command: command.rawValue,
      target: target, value: value)
    return deliver(request.encode(), from: source)
  }

  /// The transaction id of the last request.
  var lastTID: UInt16 { nextTID }

  /// The only datagram of the last step, if it is a response.
  var response: ResponseDatagram? {
    guard sent.count == 1, case .response(let response)? = decode(sent[0].bytes) else { return nil }
    return response
  }

  /// The only datagram of the last step, if it is a request.
  var forwarded: RequestDatagram? {
    guard sent.count == 1, case .request(let request)? = decode(sent[0].bytes) else { return nil }
    return request
  }

  private func decode(_ bytes: [UInt8]) -> Datagram? { bytes.withUnsafeBytes { Datagram($0) } }

  // MARK: Signed requests

  @discardableResult
  func announce(
    _ pair: KeyPair, target: Bytes32, relays: [Endpoint] = [], refresh: Bytes32? = nil, bump: UInt64 = 0,
    from source: Endpoint
  ) -> [VirtualNetwork.Packet] {
    let peer = PeerRecord(publicKey: pair.publicKey, relayAddresses: relays)
    let signable = Signables.announce(
      target: target, nodeID: id, token: token(for: source.host), peer: peer, refresh: refresh)
    let message = AnnounceMessage(peer: peer, refresh: refresh, signature: pair.sign(signable), bump: bump)
    return request(.announce, target: target, value: message.encoded, from: source, withToken: true)
  }

  @discardableResult
  func unannounce(_ pair: KeyPair, target: Bytes32, from source: Endpoint) -> [VirtualNetwork.Packet] {
    let peer = PeerRecord(publicKey: pair.publicKey)
    let signable = Signables.unannounce(target: target, nodeID: id, token: token(for: source.host), peer: peer)
    let message = AnnounceMessage(peer: peer, signature: pair.sign(signable))
    return request(.unannounce, target: target, value: message.encoded, from: source, withToken: true)
  }

  func lookup(_ target: Bytes32, from source: Endpoint) throws -> LookupReply? {
    request(.lookup, target: target, from: source)
    let response = try XCTUnwrap(self.response)
    return try response.value.map { try CompactReader.decode(LookupReply.self, from: $0) }
  }

  func findPeer(_ key: Bytes32, from source: Endpoint) throws -> PeerRecord? {
    request(.findPeer, target: Target.of(publicKey: key), from: source)
    let response = try XCTUnwrap(self.response)
    return try response.value.map { try CompactReader.decode(PeerRecord.self, from: $0) }
  }
}

/// A server that answers what it is told to, at once or when asked.
final class FakeServer: LocalServer {
  var handshakes: [HandshakeRequest] = []
  var holepunches: [HolepunchRequest] = []
  var handshakeReply: HandshakeReply?
  var holepunchReply: HolepunchReply?
  /// Keeps completions instead of calling them.
  var isLate = false
  var lateHandshakes: [(HandshakeReply?) -> Void] = []

  func handleHandshake(_ request: HandshakeRequest, _ completion: @escaping (HandshakeReply?) -> Void) {
    handshakes.append(request)
    if isLate { lateHandshakes.append(completion) } else { completion(handshakeReply) }
  }

  func handleHolepunch(_ request: HolepunchRequest, _ completion: @escaping (HolepunchReply?) -> Void) {
    holepunches.append(request)
    completion(holepunchReply)
  }
}
