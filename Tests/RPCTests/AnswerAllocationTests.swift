import CHyperAllocations
import HyperEncoding
import HyperEnvironment
import HyperswarmTesting
import XCTest

@testable import HyperRPC

/// How much memory from the heap an answer takes, in the debug build.
final class AnswerAllocationTests: RPCTestCase {
  private final class DropSocket: DatagramSocket {
    var onMessage: ((UnsafeRawBufferPointer, Endpoint) -> Void)?
    var onRebind: (() -> Void)?
    var onIdle: (() -> Void)?
    let localEndpoint: Endpoint? = nil
    let streamCount = 0
    let isClosed = false
    private(set) var bytesSent = 0

    func bind(host: IPv4Address, port: UInt16) {}
    func send(_ bytes: [UInt8], to destination: Endpoint, ttl: UInt8) { bytesSent += bytes.count }
    func send(_ bytes: UnsafeRawBufferPointer, to destination: Endpoint, ttl: UInt8) { bytesSent += bytes.count }
    func close(_ completion: (() -> Void)?) {}
  }

  func testAnswers() throws {
    let network = VirtualNetwork(seed: 1)
    let node = try makeBootstrapper(network)
    defer { destroy([node], network) }
    for value in 1...UInt32(300) {
      node.addNode(Endpoint(host: IPv4Address(value: value &* 0x1234_5679), port: 49_737))
    }
    XCTAssertGreaterThan(node.nodeCount, 40)
    node.onRequest = { request in
      request.reply(nil)
      return true
    }
    let socket = DropSocket()
    let address = try endpoint(of: node)
    let source = Endpoint(host: .loopback, port: 7)
    let target = Bytes32(repeating: 0x5a)
    for (name, request, limit) in [
      ("PING", RequestDatagram(to: address, isInternal: true, command: 0), 0.0),
      ("FIND_NODE", RequestDatagram(to: address, isInternal: true, command: 2, target: target), 0.0),
      // The request as the layer above sees it, and its reference to the node.
      ("LOOKUP", RequestDatagram(to: address, command: 3, target: target), 4.0),
    ] {
      let bytes = request.encode()
      let perAnswer = try bytes.withUnsafeBytes { bytes -> Double in
        node.receive(bytes, from: source, on: socket)
        let before = hyper_allocations()
        try XCTSkipIf(before < 0, "not counted here")
        for _ in 0..<100 { node.receive(bytes, from: source, on: socket) }
        return Double(hyper_allocations() - before) / 100
      }
      XCTAssertLessThanOrEqual(perAnswer, limit, name)
    }
    XCTAssertGreaterThan(socket.bytesSent, 0)
  }
}
