import HyperEncoding
import HyperRuntime
import HyperUDX
import Hyperswarm
import XCTest

/// Calls of a task that is cancelled: one error, once, and nothing that goes on without a caller.
final class CancellationTests: XCTestCase {
  private typealias Call = (name: String, body: @Sendable () async throws -> Void)

  private let key = Bytes32.hash(of: "nobody")

  /// Calls that wait for a node that does not answer.
  private func calls(_ dht: HyperDHT, _ silent: Endpoint) -> [Call] {
    let start = HyperDHT.StartingPoints(nodes: [silent], onlyNodes: true)
    let (key, pair) = (key, HyperDHT.keyPair())
    let options = {
      var options = HyperDHT.ConnectOptions()
      options.relayAddresses = [silent]
      return options
    }()
    let pool = dht.pool()
    let query = {
      var options = HyperDHT.QueryOptions()
      options.nodes = [silent]
      options.onlyNodes = true
      return options
    }()
    return [
      ("ping", { _ = try await dht.ping(silent) }),
      ("delayedPing", { _ = try await dht.delayedPing(silent, delay: .seconds(5)) }),
      ("request", { _ = try await dht.request(.init(77), to: silent) }),
      ("announce", { _ = try await dht.announce(key, keyPair: pair, from: start) }),
      ("unannounce", { try await dht.unannounce(key, keyPair: pair, from: start) }),
      ("immutablePut", { _ = try await dht.immutablePut([1], from: start) }),
      ("immutableGet", { _ = try await dht.immutableGet(key, from: start) }),
      ("mutablePut", { _ = try await dht.mutablePut([1], keyPair: pair, from: start) }),
      ("mutableGet", { _ = try await dht.mutableGet(key, from: start) }),
      ("query", { _ = try await dht.query(77, target: key, options: query).finished() }),
      ("connect", { _ = try await dht.connect(to: key, options: options) }),
      ("dial", { _ = try await dht.dial(key, options: options).connection() }),
      ("pool", { _ = try await pool.connect(to: key, options: options) }),
    ]
  }

  func testCallsOfANode() async throws {
    let testnet = try await HyperDHT.Testnet(size: 3)
    let dht = try await HyperDHT(.init(bootstrap: testnet.bootstrap, port: 0, host: .loopback))
    try await dht.bootstrapped()
    let transport = try await UDXTransport()
    let timeouts = await dht.statistics().timeouts
    let names = calls(dht, Endpoint(host: .loopback, port: 1)).map(\.name)
    for (index, name) in names.enumerated() {
      for isUnderWay in [false, true] {
        let port = try await transport.bind(host: .loopback)
        let call = calls(dht, port.address)[index].body
        let task = Task {
          if !isUnderWay { withUnsafeCurrentTask { $0?.cancel() } }
          return await code(call)
        }
        // Its first packet says that it has begun.
        if isUnderWay { _ = await port.nextDatagram() }
        task.cancel()
        let result = await task.value
        XCTAssertEqual(result, "CANCELLED", "\(name), under way: \(isUnderWay)")
        while true {
          let status = await dht.status()
          if status.activeRequests == 0, status.activeQueries == 0, status.streams == 0 { break }
          await Task.yield()
        }
      }
    }
    let after = await dht.statistics().timeouts
    XCTAssertEqual(after, timeouts, "requests were withdrawn, none has timed out")
    await dht.destroy()
    await transport.close()
    await testnet.destroy()
  }

  func testCallsOfASwarm() async throws {
    let testnet = try await HyperDHT.Testnet(size: 3)
    let swarm = try await Hyperswarm(.init(bootstrap: testnet.bootstrap))
    let discovery = try await swarm.join(Hyperswarm.topic("cancellation"))
    let calls: [Call] = [
      ("flush", { _ = try await swarm.flush() }),
      ("flush within", { _ = try await swarm.flush(within: .seconds(60)) }),
      ("flushed", { _ = try await discovery.flushed() }),
      ("refresh", { _ = try await discovery.refresh() }),
      ("accept", { _ = try await swarm.accept() }),
      ("listen", { try await swarm.listen() }),
      ("join", { _ = try await swarm.join(Hyperswarm.topic("another")) }),
      ("leave", { try await swarm.leave(Hyperswarm.topic("cancellation")) }),
      ("clear", { try await swarm.clear() }),
      ("suspend", { try await swarm.suspend() }),
      ("resume", { try await swarm.resume() }),
    ]
    for (name, body) in calls {
      let result = await Task {
        withUnsafeCurrentTask { $0?.cancel() }
        return await code(body)
      }.value
      XCTAssertEqual(result, "CANCELLED", name)
    }
    let topics = await swarm.topics()
    XCTAssertEqual(topics, [Hyperswarm.topic("cancellation")])
    let isSuspended = await swarm.isSuspended
    XCTAssertFalse(isSuspended)
    // As long as it has nothing to give.
    let accepting = Task { await code { _ = try await swarm.accept() } }
    accepting.cancel()
    let accepted = await accepting.value
    XCTAssertEqual(accepted, "CANCELLED")
    await swarm.destroy()
    await testnet.destroy()
  }

  func testCallsOfAConnectionAndAServer() async throws {
    let testnet = try await HyperDHT.Testnet(size: 3)
    let a = try await HyperDHT(.init(bootstrap: testnet.bootstrap, port: 0, host: .loopback))
    let b = try await HyperDHT(.init(bootstrap: testnet.bootstrap, port: 0, host: .loopback))
    let server = try await b.listen()
    let connection = try await a.connect(to: server.publicKey)
    let accepted = try await server.accept()
    let peer = try XCTUnwrap(accepted)
    let raw = try await a.makeRawStream()
    let calls: [Call] = [
      ("read", { _ = try await connection.read() }),
      ("withNextSpan", { _ = try await connection.withNextSpan { $0.byteCount } }),
      ("inbound", { for try await _ in connection.inbound {} }),
      ("waitUntilClosed", { _ = try await connection.waitUntilClosed() }),
      ("accept", { _ = try await server.accept() }),
      ("raw accept", { _ = try await raw.accept(remoteID: 1) }),
    ]
    for (name, body) in calls {
      for isBefore in [true, false] {
        let task = Task {
          if isBefore { withUnsafeCurrentTask { $0?.cancel() } }
          return await code(body)
        }
        if !isBefore { await Task.yield() }
        task.cancel()
        let result = await task.value
        XCTAssertEqual(result, "CANCELLED", "\(name), before: \(isBefore)")
      }
    }
    // Nothing was lost by it.
    try await peer.write("for the next reader")
    let message = try await connection.read()
    XCTAssertEqual(message, Array("for the next reader".utf8))
    // A scope closes what it was given.
    let scope = Task { await code { try await connection.run { inbound, _ in for try await _ in inbound {} } } }
    scope.cancel()
    let result = await scope.value
    XCTAssertEqual(result, "CANCELLED")
    _ = try await connection.waitUntilClosed()
    for node in [a, b] { await node.destroy() }
    await testnet.destroy()
  }
}

/// The code of what `body` throws.
private func code(_ body: () async throws -> Void) async -> String? {
  do {
    try await body()
    return nil
  } catch let error as ConnectionError {
    return error.code
  } catch let error as HyperswarmError {
    return error.code
  } catch {
    return (error as? DHTError)?.code ?? "\(error)"
  }
}
