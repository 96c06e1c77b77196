import HyperCrypto
import HyperEncoding
import HyperEnvironment
import HyperRPC
import HyperSecretStream
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine

/// A network with a blind relay on a public host, and a server and a client behind NATs.
final class RelayWorld {
  let net: Net
  let service: RelayService
  let relayNode: DHTNode
  let server: DHTServer
  let accepted: Accepted
  let serverNode: DHTNode
  let clientNode: DHTNode
  let serverNAT: VirtualNAT
  let clientNAT: VirtualNAT

  var relayKey: Bytes32 { service.server.publicKey ?? Bytes32() }
  var relay: BlindRelayServer { service.relay }

  /// By default two NATs between which no direct path exists.
  init(
    seed: UInt64 = 1, serverMapping: VirtualNAT.Mapping = .addressAndPortDependent,
    clientMapping: VirtualNAT.Mapping = .addressAndPortDependent, bounds: BlindRelayServer.Bounds = .init(),
    echoes: Bool = true,
    node: (inout DHTOptions) -> Void = { _ in },
    server options: (inout ServerOptions, _ relay: Bytes32) -> Void = { _, _ in }
  ) {
    net = Net(8, seed: seed)
    relayNode = net.makeNode(firewalled: false)
    service = RelayService(node: relayNode, bounds: bounds)
    let service = service
    let result: Result<Void, DHTError>? = net.settle { service.listen(completion: $0) }
    XCTAssertEqual(result.map(isSuccess), true, "the relay listens")
    serverNAT = VirtualNAT(
      network: net.network, address: IPv4Address(5, 5, 5, 1), mapping: serverMapping, filter: .addressAndPortDependent)
    clientNAT = VirtualNAT(
      network: net.network, address: IPv4Address(5, 5, 5, 2), mapping: clientMapping, filter: .addressAndPortDependent)
    serverNode = net.makeNode(
      on: net.network.makeHost(IPv4Address(192, 168, 1, 10), behind: serverNAT), adjust: node)
    clientNode = net.makeNode(
      on: net.network.makeHost(IPv4Address(192, 168, 2, 10), behind: clientNAT), adjust: node)
    var serverOptions = ServerOptions()
    options(&serverOptions, service.server.publicKey ?? Bytes32())
    (server, accepted) = net.listen(on: serverNode, options: serverOptions, echoes: echoes)
  }

  func connect(_ adjust: (inout ConnectOptions) -> Void = { _ in }) -> Peer {
    var options = ConnectOptions()
    adjust(&options)
    return net.connect(clientNode, to: server, options: options)
  }

  func connectRelayed(_ adjust: (inout ConnectOptions) -> Void = { _ in }) -> Peer {
    connect {
      $0.relayThrough = .keys([relayKey])
      adjust(&$0)
    }
  }

  /// The connection runs over the relay now.
  func isRelayed(_ peer: Peer) -> Bool {
    guard let remote = peer.stream.transport?.remote else { return false }
    return remote.host == relayHost
  }

  var relayHost: IPv4Address {
    relayNode.environment.interfaces().first { !$0.isInternal }?.address ?? .any
  }

  /// Everything is given back.
  func assertQuiet(file: StaticString = #filePath, line: UInt = #line) {
    net.network.advance(by: 30_000)
    XCTAssertEqual(clientNode.relays.pathCount, 0, "client paths", file: file, line: line)
    XCTAssertEqual(clientNode.relays.controlCount, 0, "client controls", file: file, line: line)
    XCTAssertEqual(serverNode.relays.pathCount, 0, "server paths", file: file, line: line)
    XCTAssertEqual(serverNode.relays.controlCount, 0, "server controls", file: file, line: line)
    XCTAssertEqual(clientNode.connectors.count, 0, "connectors", file: file, line: line)
    XCTAssertEqual(relay.sessionCount, 0, "relay sessions", file: file, line: line)
    XCTAssertEqual(relay.linkCount, 0, "links", file: file, line: line)
    XCTAssertEqual(relay.pendingCount, 0, "pending tokens", file: file, line: line)
    XCTAssertEqual(server.handshakeCount, 0, "server sessions", file: file, line: line)
    XCTAssertEqual(clientNode.rawStreamCount, 0, "client streams", file: file, line: line)
    XCTAssertEqual(relayNode.rawStreamCount, 0, "relay streams", file: file, line: line)
    XCTAssertEqual(clientNode.sockets.count, 0, "client sockets", file: file, line: line)
    XCTAssertEqual(serverNode.sockets.count, 0, "server sockets", file: file, line: line)
  }

  func destroy() {
    let service = service
    net.settle { done in service.close { done(()) } }
    net.destroy()
  }
}
