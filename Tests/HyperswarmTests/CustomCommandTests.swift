import HyperDHT
import HyperEncoding
import HyperRuntime
import XCTest

/// Requests, queries and handlers of an application's own protocol.
final class CustomCommandTests: XCTestCase {
  private let command: UInt64 = 77

  private func node(_ testnet: HyperDHT.Testnet, isPermanent: Bool = false) async throws -> HyperDHT {
    var options = HyperDHT.Options(bootstrap: testnet.bootstrap, port: 0, host: .loopback)
    if isPermanent {
      options.isEphemeral = false
      options.isFirewalled = false
    }
    return try await HyperDHT(options)
  }

  private func address(_ dht: HyperDHT) async throws -> Endpoint {
    let address = await dht.localAddress()
    return try XCTUnwrap(address)
  }

  func testRequestAndReply() async throws {
    let testnet = try await HyperDHT.Testnet(size: 3)
    let a = try await node(testnet)
    let b = try await node(testnet)
    try await a.bootstrapped()
    try await b.bootstrapped()
    try await b.onRequest(command) { request in
      switch request.value {
      case [1]?: request.reply([2] + (request.target?.bytes ?? []))
      case [3]?: request.fail(16, to: request.from.endpoint)
      case [4]?: request.reply(request.token == nil ? [0] : [1])
      default: break
      }
    }
    let endpoint = try await address(b)
    let target = Bytes32.hash(of: "target")
    let reply = try await a.request(.init(command, target: target, value: [1]), to: endpoint)
    XCTAssertEqual(reply.value, [2] + target.bytes)
    XCTAssertEqual(reply.error, 0)
    XCTAssertEqual(reply.from.endpoint, endpoint)
    XCTAssertFalse(reply.closerNodes.isEmpty)
    let token = try XCTUnwrap(reply.token)
    let failed = try await a.request(.init(command, target: target, value: [3]), to: endpoint)
    XCTAssertEqual(failed.error, 16)
    XCTAssertNil(failed.value)
    let proved = try await a.request(.init(command, token: token, value: [4]), to: endpoint)
    XCTAssertEqual(proved.value, [1])
    let near = try await a.request(.init(command, value: [1]), to: endpoint, timeToLive: 5)
    XCTAssertEqual(near.value, [2])
    // Not served: error 1.
    let unknown = try await a.request(.init(command + 1), to: endpoint)
    XCTAssertEqual(unknown.error, 1)
    try await b.onRequest(command, nil)
    let removed = try await a.request(.init(command, value: [1]), to: endpoint)
    XCTAssertEqual(removed.error, 1)
    for own in 0..<HyperDHT.firstFreeCommand {
      do throws(DHTError) {
        try await b.onRequest(own) { $0.reply() }
        XCTFail("command \(own)")
      } catch {
        XCTAssertEqual(error.code, "ERROR")
      }
    }
    await a.destroy()
    await b.destroy()
    do throws(DHTError) {
      try await b.onRequest(command) { $0.reply() }
      XCTFail("the node is destroyed")
    } catch {
      XCTAssertEqual(error, .nodeDestroyed)
    }
    await testnet.destroy()
  }

  func testARequestWithoutAnAnswerSettlesOnce() async throws {
    let testnet = try await HyperDHT.Testnet(size: 2)
    let a = try await node(testnet)
    let b = try await node(testnet)
    try await b.bootstrapped()
    try await b.onRequest(command) { _ in }
    let endpoint = try await address(b)
    func outcome(_ body: @Sendable () async throws(DHTError) -> HyperDHT.Response) async -> DHTError? {
      do throws(DHTError) {
        _ = try await body()
        return nil
      } catch {
        return error
      }
    }
    let command = command
    let silent = await outcome { () async throws(DHTError) in
      try await a.request(.init(command), to: endpoint, retries: 0)
    }
    XCTAssertEqual(silent, .requestTimeout)
    let cancelled = Task {
      await outcome { () async throws(DHTError) in try await a.request(.init(command), to: endpoint) }
    }
    cancelled.cancel()
    let error = await cancelled.value
    XCTAssertEqual(error, .cancelled)
    XCTAssertEqual(error?.code, ConnectionError.cancelled.code)
    let destroyed = Task {
      await outcome { () async throws(DHTError) in try await a.request(.init(command), to: endpoint) }
    }
    try await Task.sleep(for: .milliseconds(50))
    await a.destroy()
    let end = await destroyed.value
    XCTAssertTrue([.requestDestroyed, .nodeDestroyed].contains(end), "\(String(describing: end))")
    let late = await outcome { () async throws(DHTError) in try await a.request(.init(command), to: endpoint) }
    XCTAssertEqual(late, .nodeDestroyed)
    await b.destroy()
    await testnet.destroy()
  }

  /// Nodes that serve the command store what a query commits to them.
  func testQueryWithCommit() async throws {
    let testnet = try await HyperDHT.Testnet(size: 3)
    let stored = Locked<[Endpoint: Int]>([:])
    var servers: [HyperDHT] = []
    for _ in 0..<4 {
      let server = try await node(testnet, isPermanent: true)
      try await server.onRequest(command) { request in
        if request.token != nil { stored.withLock { $0[request.to, default: 0] += 1 } }
        request.reply(request.value)
      }
      servers.append(server)
    }
    for server in servers {
      try await server.bootstrapped()
      while await server.status().isEphemeral { try await Task.sleep(for: .milliseconds(5)) }
    }
    let client = try await node(testnet)
    try await client.bootstrapped()
    let target = Bytes32.hash(of: "a query")

    let plain = client.query(command, target: target, value: [9])
    var values: [[UInt8]?] = []
    for try await reply in plain { values.append(reply.value) }
    XCTAssertEqual(values, Array(repeating: [9], count: values.count))
    let found = try await plain.finished()
    XCTAssertEqual(found.successes, values.count)
    XCTAssertGreaterThanOrEqual(found.successes, 4)
    XCTAssertEqual(Set(found.closest.map(\.from.endpoint)).count, found.closest.count)
    XCTAssertTrue(stored.withLock { $0.isEmpty })

    var options = HyperDHT.QueryOptions()
    options.commit = .token
    let committed = try await client.query(command, target: target, value: [8], options: options).finished()
    XCTAssertEqual(stored.withLock { $0.count }, 4)
    XCTAssertGreaterThanOrEqual(committed.closest.count, 4)

    let seen = Locked(0)
    options.commit = .custom { reply async throws(DHTError) in
      seen.withLock { $0 += 1 }
      if reply.token == nil { throw .remote(20) }
    }
    _ = try await client.query(command, target: target, options: options).finished()
    XCTAssertGreaterThanOrEqual(seen.withLock { $0 }, 4)
    options.commit = .custom { _ async throws(DHTError) in throw .remote(21) }
    do throws(DHTError) {
      _ = try await client.query(command, target: target, options: options).finished()
      XCTFail("every commit has failed")
    } catch {
      XCTAssertEqual(error, .remote(21))
    }
    // Letting go of a query ends it.
    do { _ = client.query(command, target: target) }
    while await client.statistics().queriesActive > 0 { try await Task.sleep(for: .milliseconds(2)) }
    for server in servers { await server.destroy() }
    await client.destroy()
    do throws(DHTError) {
      _ = try await client.query(command, target: target).finished()
      XCTFail("the node is destroyed")
    } catch {
      XCTAssertEqual(error, .nodeDestroyed)
    }
    await testnet.destroy()
  }

  func testARequestThatIsRelayed() async throws {
    let testnet = try await HyperDHT.Testnet(size: 2)
    let a = try await node(testnet)
    let middle = try await node(testnet)
    let end = try await node(testnet)
    for dht in [a, middle, end] { try await dht.bootstrapped() }
    let destination = try await address(end)
    let arrived = Locked<[UInt8]?>(nil)
    try await middle.onRequest(command) { $0.relay([2], to: destination) }
    try await end.onRequest(command) { request in arrived.withLock { $0 = request.value } }
    let endpoint = try await address(middle)
    // The answer would come from another address than the one that was asked: nothing takes it.
    do throws(DHTError) {
      _ = try await a.request(.init(command, value: [1]), to: endpoint, retries: 0)
      XCTFail("no answer")
    } catch {
      XCTAssertEqual(error, .requestTimeout)
    }
    XCTAssertEqual(arrived.withLock { $0 }, [2])
    for dht in [a, middle, end] { await dht.destroy() }
    await testnet.destroy()
  }
}
