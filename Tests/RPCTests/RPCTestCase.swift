import HyperCrypto
import HyperEncoding
import HyperEnvironment
import HyperTestVectors
import HyperswarmTesting
import XCTest

@testable import HyperRPC

/// Short hands for tests on a virtual network.
class RPCTestCase: XCTestCase {
  func hex(_ text: String) -> [UInt8] { Vectors.bytes(text) }

  func endpoint(_ object: Any?) throws -> Endpoint {
    let object = try XCTUnwrap(object as? [String: Any])
    let host = try XCTUnwrap(IPv4Address(try XCTUnwrap(object["host"] as? String)))
    let port = try XCTUnwrap(object["port"] as? Int)
    return Endpoint(host: host, port: UInt16(truncatingIfNeeded: port))
  }

  func bytes32(_ value: Any?) -> Bytes32? { (value as? String).flatMap { Bytes32(hex: $0) } }

  /// `nil` where the vector says `null`.
  func optionalBytes(_ value: Any?) -> [UInt8]? { (value as? String).map { Vectors.bytes($0) } }

  func decode(_ bytes: [UInt8]) -> Datagram? { bytes.withUnsafeBytes { Datagram($0) } }

  func request(_ bytes: [UInt8]) -> RequestDatagram? {
    if case .request(let request) = decode(bytes) { return request }
    return nil
  }

  func response(_ bytes: [UInt8]) -> ResponseDatagram? {
    if case .response(let response) = decode(bytes) { return response }
    return nil
  }

  /// A node on its own host that is persistent from the start, the first of a network.
  func makeBootstrapper(_ network: VirtualNetwork, port: UInt16 = 49737) throws -> RPCNode {
    let host = network.makeHost()
    let configuration = try RPCConfiguration.bootstrapper(port: port, publicHost: host.address.description)
    let node = RPCNode(environment: host, configuration: configuration)
    node.start()
    XCTAssertTrue(network.run(within: 10_000) { node.isBootstrapped })
    XCTAssertFalse(node.isEphemeral)
    return node
  }

  func endpoint(of node: RPCNode) throws -> Endpoint {
    let environment = try XCTUnwrap(node.environment as? VirtualHost)
    return Endpoint(host: environment.address, port: try XCTUnwrap(node.serverSocket?.localEndpoint?.port))
  }

  func makeNode(
    _ network: VirtualNetwork, bootstrap: [Endpoint], host: VirtualHost? = nil,
    _ configure: (inout RPCConfiguration) -> Void = { _ in }
  ) -> RPCNode {
    var configuration = RPCConfiguration(bootstrap: bootstrap.map { .endpoint($0) })
    configure(&configuration)
    return RPCNode(environment: host ?? network.makeHost(), configuration: configuration)
  }

  /// A network of persistent nodes, the first one a bootstrapper, all bootstrapped.
  func makeSwarm(
    _ network: VirtualNetwork, size: Int, _ configure: (inout RPCConfiguration) -> Void = { _ in }
  ) throws -> [RPCNode] {
    var nodes = [try makeBootstrapper(network)]
    let bootstrap = try endpoint(of: nodes[0])
    while nodes.count < size {
      let node = makeNode(network, bootstrap: [bootstrap]) {
        $0.ephemeral = false
        configure(&$0)
      }
      node.start()
      nodes.append(node)
      XCTAssertTrue(network.run(within: 30_000) { node.isBootstrapped }, "node \(nodes.count) not bootstrapped")
      XCTAssertFalse(node.isEphemeral, "node \(nodes.count) is ephemeral")
    }
    return nodes
  }

  func destroy(_ nodes: [RPCNode], _ network: VirtualNetwork) {
    for node in nodes { node.destroy() }
    network.advance(by: 100)
    for node in nodes {
      XCTAssertEqual(node.statistics.requestsActive, 0)
      XCTAssertEqual(node.statistics.queriesActive, 0)
      XCTAssertEqual((node.environment as? VirtualHost)?.openSocketCount ?? 0, 0)
    }
  }
}

/// A bare socket that records what it gets and can answer by hand.
final class RawPeer {
  let environment: VirtualHost
  let socket: any DatagramSocket
  private(set) var received: [(bytes: [UInt8], from: Endpoint, at: UInt64)] = []
  /// Called for every datagram.
  var onDatagram: (([UInt8], Endpoint) -> Void)?

  init(_ network: VirtualNetwork, host: VirtualHost? = nil, port: UInt16 = 0) throws {
    environment = host ?? network.makeHost()
    socket = environment.makeSocket()
    try socket.bind(host: .any, port: port)
    socket.onMessage = { [weak self] bytes, source in
      guard let self else { return }
      received.append((Array(bytes), source, environment.now))
      onDatagram?(Array(bytes), source)
    }
  }

  var endpoint: Endpoint { Endpoint(host: environment.address, port: socket.localEndpoint?.port ?? 0) }
  var id: Bytes32 { NodeAddress.id(of: endpoint) }

  func send(_ request: RequestDatagram, to destination: Endpoint) { socket.send(request.encode(), to: destination) }
  func send(_ response: ResponseDatagram, to destination: Endpoint) { socket.send(response.encode(), to: destination) }

  var requests: [RequestDatagram] {
    received.compactMap { entry in
      if case .request(let request) = entry.bytes.withUnsafeBytes({ Datagram($0) }) { return request }
      return nil
    }
  }

  var responses: [ResponseDatagram] {
    received.compactMap { entry in
      if case .response(let response) = entry.bytes.withUnsafeBytes({ Datagram($0) }) { return response }
      return nil
    }
  }

  func clear() { received = [] }

  /// Answers every request like a node: with its id if asked to, and the given closer nodes.
  func answerAll(withID: Bool = true, closerNodes: [Endpoint] = [], error: UInt64 = 0) {
    onDatagram = { [weak self] bytes, source in
      guard let self, case .request(let request) = bytes.withUnsafeBytes({ Datagram($0) }) else { return }
      var response = ResponseDatagram(tid: request.tid, to: source)
      if withID { response.id = id }
      response.closerNodes = closerNodes
      response.error = error
      if !request.isInternal { response.token = Bytes32(repeating: 7) }
      send(response, to: source)
    }
  }
}
