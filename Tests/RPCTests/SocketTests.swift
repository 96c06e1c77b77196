import HyperEncoding
import HyperEnvironment
import HyperswarmTesting
import XCTest

@testable import HyperRPC

/// Items 49-56 of dht-rpc.md Part A: sockets and addresses.
final class SocketTests: RPCTestCase {
  private var network = VirtualNetwork(seed: 1, isLogging: true)

  override func setUp() { network = VirtualNetwork(seed: 49, isLogging: true) }

  private func occupy(_ host: VirtualHost, _ ports: ClosedRange<UInt16>) throws {
    for port in ports { try host.makeSocket().bind(host: .any, port: port) }
  }

  func testRPC_49_portRange() throws {
    XCTAssertEqual(PortRange(49737).ports, [49737, 49738, 49739, 49740, 49741])
    XCTAssertEqual(PortRange(0).ports, [])
    XCTAssertEqual(PortRange(65534).ports, [65534, 65535])
    XCTAssertEqual(PortRange(5..<7).ports, [5, 6])
    for taken in 0...5 {
      let host = network.makeHost()
      if taken > 0 { try occupy(host, 49737...(49736 + UInt16(taken))) }
      let node = makeNode(network, bootstrap: [], host: host) { $0.port = 49737 }
      try node.bind()
      let port = try XCTUnwrap(node.serverSocket?.localEndpoint?.port)
      if taken < 5 {
        XCTAssertEqual(port, 49737 + UInt16(taken))
      } else {
        XCTAssertFalse((49737...49741).contains(port))
      }
      XCTAssertNotEqual(node.clientSocket?.localEndpoint?.port, port)
    }
  }

  func testRPC_50_takenPortWithoutAnyPortFails() throws {
    let host = network.makeHost()
    try occupy(host, 49737...49737)
    let node = makeNode(network, bootstrap: [], host: host) {
      $0.port = 49737
      $0.anyPort = false
    }
    XCTAssertThrowsError(try node.bind())
    let other = makeNode(network, bootstrap: [], host: host) {
      $0.port = 49737
      $0.anyPort = false
    }
    var results: [Result<Void, RPCError>] = []
    other.onListening = { XCTFail("listening") }
    other.whenBootstrapped { results.append($0) }
    other.start()
    network.advance(by: 100)
    other.whenBootstrapped { results.append($0) }
    network.advance(by: 100)
    XCTAssertEqual(results.count, 2)
    for result in results {
      guard case .failure(.bind(let error)) = result else { return XCTFail("\(result)") }
      XCTAssertEqual(error.description, "address already in use")
    }
    XCTAssertEqual(host.openSocketCount, 1, "nothing is left open")
    destroyQuietly([node, other])
  }

  private func destroyQuietly(_ nodes: [RPCNode]) {
    for node in nodes { node.destroy() }
    network.advance(by: 100)
  }

  func testRPC_51_52_addresses() throws {
    let host = network.makeHost()
    let node = makeNode(network, bootstrap: [], host: host)
    XCTAssertNil(node.localAddress)
    XCTAssertNil(node.address)
    XCTAssertNil(node.socket)
    try node.bind()
    XCTAssertTrue(node.socket === node.clientSocket)
    XCTAssertEqual(node.address, node.clientSocket?.localEndpoint)
    let port = try XCTUnwrap(node.serverSocket?.localEndpoint?.port)
    XCTAssertEqual(node.localAddress, Endpoint(host: host.address, port: port))
    node.isFirewalled = false
    XCTAssertTrue(node.socket === node.serverSocket)
    XCTAssertEqual(node.address, node.serverSocket?.localEndpoint)
    host.setInterfaces([InterfaceAddress(name: "lo", address: .loopback, isInternal: true)])
    XCTAssertEqual(node.localAddress?.host, .loopback)
    host.setInterfaces([
      InterfaceAddress(name: "eth0", address: IPv4Address(1, 2, 3, 4), isInternal: false),
      InterfaceAddress(name: "en0", address: IPv4Address(5, 6, 7, 8), isInternal: false),
    ])
    XCTAssertEqual(node.localAddress?.host, IPv4Address(5, 6, 7, 8))
    destroy([node], network)
  }

  func testRPC_53_remoteAddress() throws {
    // Both on one host, over loopback, as in a local test network.
    let host = network.makeHost()
    let first = RPCNode(
      environment: host, configuration: try .bootstrapper(port: 49737, publicHost: "127.0.0.1"))
    first.start()
    XCTAssertNil(first.remoteAddress)
    network.run(within: 1000) { first.isBootstrapped }
    let second = makeNode(network, bootstrap: [Endpoint(host: .loopback, port: 49737)], host: host) {
      $0.ephemeral = false
    }
    second.start()
    XCTAssertNil(second.remoteAddress)
    XCTAssertTrue(network.run(within: 10_000) { second.isBootstrapped })
    XCTAssertEqual(first.remoteAddress, Endpoint(host: .loopback, port: 49737))
    let port = try XCTUnwrap(second.serverSocket?.localEndpoint?.port)
    XCTAssertEqual(second.remoteAddress, Endpoint(host: .loopback, port: port))
    destroyQuietly([first, second])
  }

  func testRPC_54_boundAndListeningAfterBootstrap() {
    let node = makeNode(network, bootstrap: [])
    var events: [String] = []
    node.onListening = { events.append("listening") }
    node.onReady = { events.append("ready") }
    node.start()
    node.start()
    XCTAssertEqual(events, [], "not before callers could attach callbacks")
    network.advance(by: 1000)
    XCTAssertEqual(events, ["listening", "ready"])
    XCTAssertNotNil(node.address)
    destroy([node], network)
  }

  func testRPC_55_56_suspendAndResume() throws {
    let server = try makeBootstrapper(network)
    let host = network.makeHost()
    let node = makeNode(network, bootstrap: [try endpoint(of: server)], host: host)
    node.start()
    XCTAssertTrue(network.run(within: 10_000) { node.isBootstrapped })
    let ports = [node.serverSocket, node.clientSocket].map { $0?.localEndpoint?.port }
    var events: [String] = []
    node.onSuspend = { events.append("suspend") }
    node.onResume = { events.append("resume") }
    node.onWakeup = { events.append("wakeup") }
    node.suspend { events.append("done") }
    network.advance(by: 10)
    XCTAssertEqual(events, ["suspend", "done"])
    XCTAssertTrue(node.isSuspended)
    XCTAssertEqual(host.openSocketCount, 0)
    XCTAssertEqual(host.interfaceWatchCount, 0)
    server.destroy()
    network.advance(by: 10)
    XCTAssertTrue(network.runUntilIdle(within: 20_000), "no timer keeps running")
    events = []
    node.resume { _ in events.append("done") }
    network.advance(by: 10)
    XCTAssertEqual(events, ["wakeup", "resume", "done"])
    XCTAssertEqual([node.serverSocket, node.clientSocket].map { $0?.localEndpoint?.port }, ports)
    // One wakeup only, however long the pause (dht-rpc.md E-9).
    network.advance(by: 6000)
    XCTAssertEqual(events, ["wakeup", "resume", "done"])
    destroy([node], network)
  }

  func testRPC_55_streamsKeepTheirSocketThroughASuspend() throws {
    let host = network.makeHost()
    let node = makeNode(network, bootstrap: [], host: host)
    try node.bind()
    let stream = host.makeStream(localID: 1)
    try stream.connect(
      socket: try XCTUnwrap(node.serverSocket), remoteID: 2, to: Endpoint(host: IPv4Address(9, 9, 9, 9), port: 9))
    var isSuspended = false
    var isResumed = false
    node.suspend { isSuspended = true }
    node.resume { _ in isResumed = true }
    network.advance(by: 100)
    XCTAssertFalse(isSuspended)
    XCTAssertFalse(isResumed)
    stream.destroy()
    network.advance(by: 100)
    XCTAssertTrue(isSuspended)
    XCTAssertTrue(isResumed)
    XCTAssertNotNil(node.serverSocket?.localEndpoint)
    destroy([node], network)
  }

  func testRPC_113_networkChangeThenNetworkUpdate() throws {
    let host = network.makeHost()
    let node = makeNode(network, bootstrap: [], host: host)
    try node.bind()
    var events: [String] = []
    node.onNetworkChange = { events.append("change \($0.count)") }
    node.onNetworkUpdate = { events.append("update") }
    host.setInterfaces([])
    network.advance(by: 10)
    XCTAssertEqual(events, ["change 0", "update"])
    destroy([node], network)
  }

  func testStrayDatagramsGoToTheUpperLayer() throws {
    let node = makeNode(network, bootstrap: [])
    try node.bind()
    let peer = try RawPeer(network)
    var strays: [[UInt8]] = []
    node.onStrayDatagram = { bytes, source, socket in
      XCTAssertEqual(source, peer.endpoint)
      XCTAssertTrue(socket === node.serverSocket)
      strays.append(Array(bytes))
    }
    let host = try XCTUnwrap(node.environment as? VirtualHost)
    let server = Endpoint(host: host.address, port: try XCTUnwrap(node.serverSocket?.localEndpoint?.port))
    for bytes in [[0], [0xff, 1, 2, 3], [3, 0xff]] as [[UInt8]] { peer.socket.send(bytes, to: server) }
    network.advance(by: 100)
    XCTAssertEqual(Set(strays), [[0], [0xff, 1, 2, 3]])
    XCTAssertEqual(node.statistics.drops.malformed, 1)
    destroy([node], network)
  }
}
