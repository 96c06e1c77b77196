import HyperEncoding
import HyperEnvironment
import HyperSecretStream
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine

/// What stands between a host and the network.
enum Access: CaseIterable {
  /// A public address.
  case open
  /// A NAT that admits everything to a mapped port.
  case cone
  /// A NAT that admits hosts that were sent to.
  case addressRestricted
  /// A NAT that admits endpoints that were sent to.
  case portRestricted
}

/// Two connected nodes that can change their place in the network, and what they send each other.
final class MovingWorld {
  let net: Net
  let seed: UInt64
  let server: Site
  let client: Site
  let listener: DHTServer
  private(set) var clientEnd: TransferEnd
  private(set) var serverEnd: TransferEnd
  private let accepted: Accepted
  private var places: UInt8 = 0

  final class Site {
    let node: DHTNode
    let host: VirtualHost
    fileprivate(set) var nat: VirtualNAT?

    fileprivate init(node: DHTNode, host: VirtualHost, nat: VirtualNAT?) {
      self.node = node
      self.host = host
      self.nat = nat
    }
  }

  /// `nil` if they cannot be connected in the first place.
  init?(
    seed: UInt64, client clientAccess: Access = .open, server serverAccess: Access = .open,
    adjustClient: (inout DHTOptions) -> Void = { _ in }, adjustServer: (inout DHTOptions) -> Void = { _ in },
    clientListens: Bool = false, handshake: HandshakeHook? = nil
  ) {
    self.seed = seed
    net = Net(8, seed: seed)
    var conditions = LinkConditions()
    conditions.latency = .milliseconds(10)
    conditions.jitter = .milliseconds(2)
    net.network.conditions = conditions
    server = MovingWorld.site(net, 1, serverAccess, adjustServer)
    client = MovingWorld.site(net, 2, clientAccess, adjustClient)
    var serving = ServerOptions()
    serving.handshake = handshake
    (listener, accepted) = net.listen(on: server.node, options: serving, echoes: false)
    if clientListens { _ = net.listen(on: client.node, keyPair: client.node.defaultKeyPair, options: serving) }
    var options = ConnectOptions()
    options.localConnection = false
    options.handshake = handshake
    let peer = net.connect(client.node, to: listener, options: options)
    net.network.run(within: 60_000) { [accepted] in peer.isClosed || peer.opened > 0 && !accepted.peers.isEmpty }
    guard let other = accepted.peers.first, !peer.isClosed else { return nil }
    clientEnd = TransferEnd(peer, net.network, seed: seed &* 2)
    serverEnd = TransferEnd(other, net.network, seed: seed &* 2 &+ 1)
    clientEnd.expect(serverEnd)
    serverEnd.expect(clientEnd)
    places = 10
  }

  private static func nat(_ net: Net, _ place: UInt8, _ access: Access) -> VirtualNAT? {
    let filter: VirtualNAT.Filter
    switch access {
    case .open: return nil
    case .cone: filter = .endpointIndependent
    case .addressRestricted: filter = .addressDependent
    case .portRestricted: filter = .addressAndPortDependent
    }
    return VirtualNAT(
      network: net.network, address: IPv4Address(5, 5, 5, place), mapping: .endpointIndependent, filter: filter)
  }

  private static func address(_ place: UInt8, isPublic: Bool) -> IPv4Address {
    isPublic ? IPv4Address(9, 9, place, 1) : IPv4Address(192, 168, place, 10)
  }

  private static func site(
    _ net: Net, _ place: UInt8, _ access: Access, _ adjust: (inout DHTOptions) -> Void
  ) -> Site {
    let nat = nat(net, place, access)
    let address = address(place, isPublic: nat == nil)
    let host = nat.map { net.network.makeHost(address, behind: $0) } ?? net.network.makeHost(address)
    return Site(node: net.makeNode(on: host, adjust: adjust), host: host, nat: nat)
  }

  /// To another network. `access` says how it is connected.
  func move(_ site: Site, _ access: Access) {
    places += 1
    site.nat = MovingWorld.nat(net, places, access)
    site.host.move(to: MovingWorld.address(places, isPublic: site.nat == nil), behind: site.nat)
  }

  var isAlive: Bool { !clientEnd.peer.isClosed && !serverEnd.peer.isClosed }

  /// Both sides send, all the time.
  func startTransfer() {
    clientEnd.start()
    serverEnd.start()
  }

  /// Stops sending, waits until everything has arrived and compares.
  func finishTransfer(_ what: String = "", file: StaticString = #filePath, line: UInt = #line) {
    clientEnd.isSending = false
    serverEnd.isSending = false
    net.network.run(within: 60_000) { [self] in
      !isAlive || clientEnd.received == serverEnd.sent && serverEnd.received == clientEnd.sent
    }
    XCTAssertTrue(isAlive, "seed \(seed) \(what): \(closeReasons)", file: file, line: line)
    XCTAssertEqual(clientEnd.received, serverEnd.sent, "seed \(seed) \(what)", file: file, line: line)
    XCTAssertEqual(serverEnd.received, clientEnd.sent, "seed \(seed) \(what)", file: file, line: line)
    XCTAssertEqual(clientEnd.mismatches + serverEnd.mismatches, 0, "seed \(seed) \(what)", file: file, line: line)
  }

  var closeReasons: [String] {
    [clientEnd, serverEnd].map { "\($0.peer.closed) \(String(describing: $0.peer.closeError))" }
  }

  func destroy() {
    clientEnd.isSending = false
    serverEnd.isSending = false
    clientEnd.peer.stream.destroy()
    serverEnd.peer.stream.destroy()
    net.network.advance(by: 1_000)
    net.destroy()
  }
}

/// One end of a connection: sends numbered messages of known content, checks those that arrive.
final class TransferEnd {
  let peer: Peer
  private let network: VirtualNetwork
  private let seed: UInt64
  private(set) var sent = 0
  private(set) var received = 0
  private(set) var mismatches = 0
  /// Microseconds: since the latest message, and the longest time without one.
  private(set) var lastHeard: UInt64 = 0
  private(set) var longestGap: UInt64 = 0
  private(set) var pathChanges: [Endpoint] = []
  var isSending = false
  private var remoteSeed: UInt64 = 0

  init(_ peer: Peer, _ network: VirtualNetwork, seed: UInt64) {
    self.peer = peer
    self.network = network
    self.seed = seed
    peer.received = []
    peer.onMessage = { [weak self] in self?.receive($0) }
    peer.stream.onPathChange = { [weak self] in self?.pathChanges.append($0) }
  }

  func expect(_ other: TransferEnd) { remoteSeed = other.seed }

  private static func message(_ seed: UInt64, _ number: Int) -> [UInt8] {
    var random = SeededRandom(seed: seed &* 1_000_003 &+ UInt64(number))
    return random.bytes(1 + Int(random.next() % 600))
  }

  func start() {
    isSending = true
    lastHeard = network.now
    longestGap = 0
    send()
  }

  private func send() {
    guard isSending, !peer.isClosed else { return }
    peer.stream.write(TransferEnd.message(seed, sent))
    sent += 1
    _ = network.schedule(afterMicroseconds: 10_000) { [weak self] in self?.send() }
  }

  private func receive(_ bytes: [UInt8]) {
    if bytes != TransferEnd.message(remoteSeed, received) { mismatches += 1 }
    received += 1
    longestGap = max(longestGap, network.now - lastHeard)
    lastHeard = network.now
    peer.received = []
  }
}
