import CHyperAllocations
import HyperEncoding
import HyperEnvironment
import XCTest

@testable import HyperRPC

/// How many objects a step of a query makes, in the debug build: a request, its answer with 20 nodes, and what the
/// query does with it.
final class QueryAllocationTests: RPCTestCase {
  /// 28 were counted, the same in every run; a closure for a step that holds something weakly is two or three.
  private static let limit = 30.0

  /// Without time and without a network: requests are kept until the test answers them.
  private final class QuietEnvironment: Environment {
    private final class Never: ScheduledAction { func cancel() {} }

    private let never = Never()
    private var state: UInt64 = 1
    private(set) lazy var sharedTicks = SharedTicks(self)
    let now: UInt64 = 1_000_000_000
    let wallClock: UInt64 = 1_000_000
    var sent: [(bytes: [UInt8], to: Endpoint)] = []

    func schedule(after milliseconds: UInt64, _ action: @escaping () -> Void) -> any ScheduledAction { never }
    func `defer`(_ action: @escaping () -> Void) { action() }
    func randomBytes(_ bytes: UnsafeMutableRawBufferPointer) {
      for index in bytes.indices {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        bytes[index] = UInt8(truncatingIfNeeded: state >> 33)
      }
    }
    func resolve(_ name: String, _ completion: @escaping ([IPv4Address]) -> Void) { completion([]) }
    func makeSocket() -> any DatagramSocket { QuietSocket(self) }
    func makeStream(localID: UInt32) -> any TransportStream { preconditionFailure("no streams here") }
    func interfaces() -> [InterfaceAddress] { [] }
    func watchInterfaces(
      every milliseconds: UInt64, _ onChange: @escaping ([InterfaceAddress]) -> Void
    ) -> any ScheduledAction { never }
  }

  private final class QuietSocket: DatagramSocket {
    var onMessage: ((UnsafeRawBufferPointer, Endpoint) -> Void)?
    var onRebind: (() -> Void)?
    var onIdle: (() -> Void)?
    private(set) var localEndpoint: Endpoint?
    private(set) var isClosed = false
    let streamCount = 0
    private unowned let environment: QuietEnvironment

    init(_ environment: QuietEnvironment) { self.environment = environment }
    func bind(host: IPv4Address, port: UInt16) { localEndpoint = Endpoint(host: host, port: 49_737) }
    func send(_ bytes: [UInt8], to destination: Endpoint, ttl: UInt8) { environment.sent.append((bytes, destination)) }
    func send(_ bytes: UnsafeRawBufferPointer, to destination: Endpoint, ttl: UInt8) {}
    func close(_ completion: (() -> Void)?) { isClosed = true }
  }

  private let environment = QuietEnvironment()
  private let target = Bytes32(repeating: 0x5a)
  /// Nearest to the target first, and what each of them answers.
  private var endpoints: [Endpoint] = []
  private var answers: [Endpoint: [UInt8]] = [:]

  /// Each node names 20 that are half as far, as nodes with tables do.
  private func makeNetwork(_ size: Int) {
    endpoints = (1...size).map { number in
      Endpoint(host: IPv4Address(value: 0x2000_0000 + UInt32(number) * 0x0001_0101), port: 49_737)
    }
    endpoints.sort { NodeAddress.id(of: $0).distance(to: target) < NodeAddress.id(of: $1).distance(to: target) }
    for (rank, endpoint) in endpoints.enumerated() {
      let first = max(0, rank / 2 - 10)
      var answer = ResponseDatagram(to: Endpoint(host: .loopback, port: 49_737), id: NodeAddress.id(of: endpoint))
      answer.closerNodes = Array(endpoints[first..<(first + 20)])
      answers[endpoint] = answer.encode()
    }
  }

  /// A look-up from the farthest nodes on. Returns how many have answered.
  private func lookUp(_ node: RPCNode) throws -> Int {
    var isFinished = false
    let query = node.findNode(target: target, options: QueryOptions(seeds: endpoints.suffix(20)))
    query.onFinished = { _ in isFinished = true }
    query.start()
    let socket = try XCTUnwrap(node.serverSocket)
    var next = 0
    while next < environment.sent.count {
      let (request, to) = environment.sent[next]
      next += 1
      answers[to]?.withUnsafeMutableBytes { answer in
        answer[2] = request[2]
        answer[3] = request[3]
        node.receive(UnsafeRawBufferPointer(answer), from: to, on: socket)
      }
    }
    environment.sent.removeAll(keepingCapacity: true)
    XCTAssertTrue(isFinished)
    XCTAssertEqual(query.closestNodes, Array(endpoints.prefix(20)))
    return query.answers
  }

  func testSteps() throws {
    makeNetwork(400)
    var configuration = RPCConfiguration(bootstrap: [])
    configuration.ephemeral = false
    configuration.firewalled = false
    let node = RPCNode(environment: environment, configuration: configuration)
    try node.bind()
    // The routing table knows them then, and tables have their sizes.
    for _ in 0..<3 { _ = try lookUp(node) }
    let before = hyper_objects()
    try XCTSkipIf(before < 0, "not counted here")
    let steps = try lookUp(node)
    let perStep = Double(hyper_objects() - before) / Double(steps)
    XCTAssertGreaterThan(steps, 40)
    XCTAssertLessThanOrEqual(perStep, Self.limit)
    node.destroy()
  }
}
