import HyperDHT
import HyperEncoding
import HyperRuntime
import Hyperswarm
import XCTest

/// Scopes end what they have begun, whatever the way out.
final class ScopeTests: XCTestCase {
  private struct Failure: Error {}

  private func options(_ testnet: HyperDHT.Testnet) -> Hyperswarm.Options {
    var options = Hyperswarm.Options(bootstrap: testnet.bootstrap)
    options.dhtOptions.host = .loopback
    return options
  }

  func testSwarmsMeetInScopes() async throws {
    let testnet = try await HyperDHT.Testnet(size: 3)
    let topic = Bytes32.padded("scopes")
    let kept = Locked<[Hyperswarm]>([])
    let text = try await withHyperswarm(options(testnet)) { server in
      kept.withLock { $0.append(server) }
      try await server.join(topic, client: false).flushed()
      return try await withHyperswarm(options(testnet)) { client in
        kept.withLock { $0.append(client) }
        try await client.join(topic, server: false)
        async let answered: Void = {
          let connection = try await server.accept()
          try await connection?.run { inbound, outbound in
            for try await message in inbound { try await outbound.write(message.reversed()) }
          }
        }()
        let connection = try await client.accept()
        let reply = try await connection?.run { inbound, outbound in
          try await outbound.write("abc")
          outbound.end()
          var all: [UInt8] = []
          for try await message in inbound { all += message }
          return String(decoding: all, as: UTF8.self)
        }
        try await answered
        XCTAssertEqual(connection?.state, .closed(nil))
        return reply
      }
    }
    XCTAssertEqual(text, "cba")
    for swarm in kept.withLock({ $0 }) { XCTAssertTrue(swarm.isDestroyed) }
    await testnet.destroy()
  }

  func testAScopeThatThrowsOrIsCancelledEndsTheSwarm() async throws {
    let testnet = try await HyperDHT.Testnet(size: 2)
    let kept = Locked<[Hyperswarm]>([])
    let options = options(testnet)
    do {
      try await withHyperswarm(options) { swarm in
        kept.withLock { $0.append(swarm) }
        throw Failure()
      }
      XCTFail("the body throws")
    } catch {
      XCTAssertTrue(error is Failure)
    }
    let task = Task {
      try await withHyperswarm(options) { swarm in
        kept.withLock { $0.append(swarm) }
        do throws(HyperswarmError) {
          _ = try await swarm.accept()
          XCTFail("there is no connection")
        } catch {
          XCTAssertEqual(error, .cancelled)
        }
      }
    }
    while kept.withLock({ $0.count }) < 2 { try await Task.sleep(for: .milliseconds(1)) }
    task.cancel()
    try await task.value
    for swarm in kept.withLock({ $0 }) {
      XCTAssertTrue(swarm.isDestroyed)
      let status = await swarm.dht.status()
      XCTAssertTrue(status.isDestroyed)
      let none = try await swarm.accept()
      XCTAssertNil(none)
    }
    await testnet.destroy()
  }

  func testAConnectionInAScope() async throws {
    let testnet = try await HyperDHT.Testnet(size: 3)
    let bootstrap = testnet.bootstrap
    try await withHyperDHT(.init(bootstrap: bootstrap, port: 0, host: .loopback)) { server in
      try await withHyperDHT(.init(bootstrap: bootstrap, port: 0, host: .loopback)) { client in
        let listening = try await server.listen()
        let connection = try await client.connect(to: listening.publicKey)
        let accepted = try await listening.accept()
        let peer = try XCTUnwrap(accepted)
        do {
          try await connection.run { _, _ in throw Failure() }
          XCTFail("the body throws")
        } catch {
          XCTAssertTrue(error is Failure)
        }
        let reason = try await peer.waitUntilClosed()
        XCTAssertEqual(reason, .reset)
        // Closing ends the wait for connections.
        async let next = listening.accept()
        await listening.close()
        let none = try await next
        XCTAssertNil(none)
      }
    }
    await testnet.destroy()
  }

  func testOneCodeForCancellation() {
    XCTAssertEqual(
      Set([DHTError.cancelled.code, HyperswarmError.cancelled.code, ConnectionError.cancelled.code]), ["CANCELLED"])
  }
}
