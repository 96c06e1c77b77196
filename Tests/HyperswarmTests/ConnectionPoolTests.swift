import HyperEncoding
import HyperRuntime
import HyperSecretStream
import XCTest

@testable import HyperDHT

/// One connection per peer.
final class ConnectionPoolTests: XCTestCase {
  private func node(_ testnet: HyperDHT.Testnet) async throws -> HyperDHT {
    try await HyperDHT(.init(bootstrap: testnet.bootstrap, port: 0, host: .loopback))
  }

  func testDHT_89_dialsShareAConnection() async throws {
    let testnet = try await HyperDHT.Testnet(size: 3)
    let a = try await node(testnet)
    let b = try await node(testnet)
    let server = try await a.listen()
    let pool = b.pool()
    async let one = pool.connect(to: server.publicKey)
    async let two = pool.connect(to: server.publicKey)
    let (first, second) = try await (one, two)
    XCTAssertTrue(first === second)
    let third = try await pool.connect(to: server.publicKey)
    XCTAssertTrue(first === third)
    XCTAssertTrue(pool[server.publicKey] === first)
    XCTAssertEqual([pool.count, pool.connecting], [1, 0])
    XCTAssertEqual(pool.connections.map(\.remotePublicKey), [server.publicKey])
    let accepted = try await server.accept()
    first.destroy()
    _ = try await first.waitUntilClosed()
    XCTAssertNil(pool[server.publicKey])
    let next = try await pool.connect(to: server.publicKey)
    XCTAssertFalse(next === first)
    withExtendedLifetime(accepted) {}
    await b.destroy()
    await a.destroy()
    await testnet.destroy()
  }

  func testFailuresAndCancellation() async throws {
    let testnet = try await HyperDHT.Testnet(size: 3)
    let dht = try await node(testnet)
    let pool = dht.pool()
    let nobody = HyperDHT.keyPair().publicKey
    do throws(DHTError) {
      _ = try await pool.connect(to: nobody)
      XCTFail("the key is not announced")
    } catch {
      XCTAssertEqual(error, .peerNotFound)
    }
    let silent = try await HyperDHT(.init(bootstrap: ["127.0.0.1:9"], port: 0, host: .loopback))
    let waiting = silent.pool()
    let dial = Task { () -> DHTError? in
      do throws(DHTError) {
        _ = try await waiting.connect(to: nobody)
        return nil
      } catch {
        return error
      }
    }
    while waiting.connecting == 0 { try await Task.sleep(for: .milliseconds(1)) }
    dial.cancel()
    let error = await dial.value
    XCTAssertEqual(error, .cancelled)
    while waiting.connecting > 0 { try await Task.sleep(for: .milliseconds(1)) }
    var options = HyperDHT.ServerOptions()
    options.pool = waiting
    do throws(DHTError) {
      _ = try await dht.listen(options: options)
      XCTFail("another loop")
    } catch {
      XCTAssertEqual(error.code, "ERROR")
    }
    await silent.destroy(force: true)
    await dht.destroy()
    await testnet.destroy()
  }

  func testDHT_90_theSecondConnectionOfAPeerReplacesTheFirst() async throws {
    let testnet = try await HyperDHT.Testnet(size: 3)
    let a = try await node(testnet)
    let b = try await node(testnet)
    let pool = a.pool()
    var options = HyperDHT.ServerOptions()
    options.pool = pool
    let server = try await a.listen(options: options)
    let one = try await b.connect(to: server.publicKey)
    let first = try await server.accept()
    let two = try await b.connect(to: server.publicKey)
    let second = try await server.accept()
    let reason = try await first?.waitUntilClosed()
    XCTAssertEqual(reason?.code, "DUPLICATE_CONNECTION")
    let seen = try await one.waitUntilClosed()
    XCTAssertEqual(seen, .reset)
    XCTAssertTrue(pool[b.defaultKeyPair.publicKey] === second)
    XCTAssertEqual(pool.count, 1)
    try await two.write("still here")
    let message = try await second?.read()
    XCTAssertEqual(message, Array("still here".utf8))
    await b.destroy()
    await a.destroy()
    await testnet.destroy()
  }

  /// A recorded handshake that is sent again makes a stream without the peer: the connection that works stays until the
  /// newcomer has proved the key.
  func testDHT_90_aNewcomerThatHasProvedNothingWaits() async throws {
    let testnet = try await HyperDHT.Testnet(size: 3)
    let a = try await node(testnet)
    let b = try await node(testnet)
    let pool = a.pool()
    var options = HyperDHT.ServerOptions()
    options.pool = pool
    let server = try await a.listen(options: options)
    let one = try await b.connect(to: server.publicKey)
    let accepted = try await server.accept()
    let first = try XCTUnwrap(accepted)
    try await first.waitUntilPeerProven()
    // As deployed peers: nothing follows the header before the first message.
    let (core, node, key) = (pool.core, b.node, server.publicKey)
    let made = await onLoop(b.loop) { () -> LoopBound<EncryptedStream> in
      let stream = node.value.connect(to: key)
      stream.sendsConfirmation = false
      stream.keepAlive = 0
      return LoopBound(stream)
    }
    let quiet = try XCTUnwrap(made)
    var isHeld = false
    for _ in 0..<20_000 where !isHeld {
      isHeld = await onLoop(a.loop) { !core.value.newcomers.isEmpty } ?? false
      if !isHeld { try await Task.sleep(for: .milliseconds(1)) }
    }
    XCTAssertTrue(isHeld)
    XCTAssertFalse(first.isClosed)
    XCTAssertTrue(pool[b.defaultKeyPair.publicKey] === first)
    try await one.write("still here")
    let message = try await first.read()
    XCTAssertEqual(message, Array("still here".utf8))
    _ = await onLoop(b.loop) { quiet.value.write([7]) }
    let second = try await server.accept()
    let proof = try await second?.read()
    XCTAssertEqual(proof, [7])
    let reason = try await first.waitUntilClosed()
    XCTAssertEqual(reason?.code, "DUPLICATE_CONNECTION")
    XCTAssertTrue(pool[b.defaultKeyPair.publicKey] === second)
    let waiting = await onLoop(a.loop) { core.value.newcomers.count }
    XCTAssertEqual(waiting, 0)
    await b.destroy()
    await a.destroy()
    await testnet.destroy()
  }

  /// A second dial past the pool gives way, or makes the first one do so, by the keys.
  func testDHT_91_poolsOnBothEnds() async throws {
    let testnet = try await HyperDHT.Testnet(size: 3)
    let a = try await node(testnet)
    let b = try await node(testnet)
    let (poolA, poolB) = (a.pool(), b.pool())
    var options = HyperDHT.ServerOptions()
    options.pool = poolA
    let serverA = try await a.listen(options: options)
    options.pool = poolB
    let serverB = try await b.listen(options: options)
    let toB = try await poolA.connect(to: serverB.publicKey)
    let fromA = try await serverB.accept()
    XCTAssertTrue(fromA === poolB[serverA.publicKey])
    let same = try await poolB.connect(to: serverA.publicKey)
    XCTAssertTrue(same === fromA, "what has come in needs no dial")
    // A program that dials past the pool: the pool of the other side decides by the keys.
    let past = try await b.connect(to: serverA.publicKey)
    var accepted: HyperDHT.Connection?
    if serverA.publicKey > serverB.publicKey {
      accepted = try await serverA.accept()
      XCTAssertTrue(accepted === poolA[serverB.publicKey])
      let reason = try await toB.waitUntilClosed()
      XCTAssertEqual(reason?.code, "DUPLICATE_CONNECTION")
    } else {
      let reason = try await past.waitUntilClosed()
      XCTAssertEqual(reason, .reset)
      XCTAssertTrue(poolA[serverB.publicKey] === toB)
      XCTAssertFalse(toB.isClosed)
    }
    XCTAssertEqual(poolA.count, 1)
    withExtendedLifetime((toB, fromA, past, accepted)) {}
    await a.destroy()
    await b.destroy()
    await testnet.destroy()
  }
}
