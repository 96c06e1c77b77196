import HyperDHTEngine
import HyperEncoding
import HyperEnvironment
import HyperRPC
import HyperRuntime
import HyperUDX
import XCTest

@testable import HyperDHT

/// How far a connection is, as a property and as a sequence.
final class ConnectionStateTests: XCTestCase {
  private func pair(
    _ testnet: HyperDHT.Testnet
  ) async throws -> ([HyperDHT], HyperDHT.Connection, HyperDHT.Connection) {
    let options = HyperDHT.Options(bootstrap: testnet.bootstrap, port: 0, host: .loopback)
    let (a, b) = (try await HyperDHT(options), try await HyperDHT(options))
    let server = try await a.listen()
    let connection = try await b.connect(to: server.publicKey)
    let accepted = try await server.accept()
    return ([a, b], connection, try XCTUnwrap(accepted))
  }

  private func all(_ states: HyperDHT.Events<HyperDHT.Connection.State, Never>) async -> [HyperDHT.Connection.State] {
    var all: [HyperDHT.Connection.State] = []
    for await state in states { all.append(state) }
    return all
  }

  /// Not only that it has.
  func testFlushSaysWhyTheConnectionHasClosed() async throws {
    let testnet = try await HyperDHT.Testnet(size: 3)
    let (nodes, connection, accepted) = try await pair(testnet)
    // More than the windows of a peer that does not read.
    try connection.writeWithoutWaiting([UInt8](repeating: 1, count: 12 << 20))
    let flush = Task { try await connection.flush() }
    accepted.destroy()
    do {
      try await flush.value
      XCTFail("the peer has read nothing")
    } catch {
      XCTAssertEqual(error as? ConnectionError, .reset)
    }
    for node in nodes { await node.destroy() }
    await testnet.destroy()
  }

  func testTheStatesOfAConnection() async throws {
    let testnet = try await HyperDHT.Testnet(size: 3)
    let (nodes, connection, accepted) = try await pair(testnet)
    let address = await connection.remoteAddress()
    let remote = try XCTUnwrap(address)
    XCTAssertEqual(connection.path, .direct(remote))
    XCTAssertEqual(connection.state, .open(.direct(remote)))
    XCTAssertEqual(connection.path?.isRelayed, false)
    XCTAssertTrue(connection.description.contains("open, direct to \(remote)"), connection.description)
    let states = connection.states
    let others = accepted.states

    let relay = Endpoint(host: IPv4Address(9, 9, 9, 9), port: 9)
    let inner = connection.inner
    _ = await onLoop(inner.loop) {
      inner.stream.isRelayed = true
      inner.stream.onPathChange?(relay)
      inner.stream.isRelayed = false
      inner.stream.onPathChange?(remote)
    }
    XCTAssertEqual(connection.state, .moved(.direct(remote)))
    await connection.setKeepAliveAndRead()
    connection.end()
    XCTAssertEqual(connection.state, .closing)
    await accepted.close()
    _ = try await connection.waitUntilClosed()
    XCTAssertEqual(connection.state, .closed(nil))
    XCTAssertEqual(connection.path, .direct(remote))
    let seen = await all(states)
    XCTAssertEqual(
      seen, [.open(.direct(remote)), .moved(.relayed(relay)), .moved(.direct(remote)), .closing, .closed(nil)])
    let seenByOther = await all(others)
    XCTAssertEqual(seenByOther.suffix(2), [.closing, .closed(nil)])
    let late = await all(connection.states)
    XCTAssertEqual(late, [.closed(nil)])
    for node in nodes { await node.destroy() }
    await testnet.destroy()
  }

  func testADialTellsItsStates() async throws {
    let testnet = try await HyperDHT.Testnet(size: 3)
    let options = HyperDHT.Options(bootstrap: testnet.bootstrap, port: 0, host: .loopback)
    let (a, b) = (try await HyperDHT(options), try await HyperDHT(options))
    let server = try await a.listen()
    let dial = b.dial(server.publicKey)
    XCTAssertEqual(dial.publicKey, server.publicKey)
    let states = dial.states
    let connection = try await dial.connection()
    let same = try await dial.connection()
    XCTAssertTrue(connection === same)
    let path = try XCTUnwrap(connection.path)
    XCTAssertEqual(dial.state, .open(path))
    let accepted = try await server.accept()
    dial.cancel()
    _ = try await connection.waitUntilClosed()
    let seen = await all(states)
    XCTAssertEqual(seen, [.connecting, .open(path), .closing, .closed(nil)])
    withExtendedLifetime(accepted) {}

    // Nothing is announced under this key.
    let failing = b.dial(HyperDHT.keyPair().publicKey)
    do throws(DHTError) {
      _ = try await failing.connection()
      XCTFail("no such server")
    } catch {
      XCTAssertEqual(error, .peerNotFound)
    }
    let end = await all(failing.states)
    XCTAssertEqual(end.count, 1)
    guard case .closed(let reason?)? = end.first else { return XCTFail("\(end)") }
    XCTAssertEqual(reason.code, "PEER_NOT_FOUND")
    await a.destroy()
    await b.destroy()
    await testnet.destroy()
  }

  /// A connection that was aborted before it was asked for is none.
  func testADialThatIsCancelledBeforeItsConnectionIsTaken() async throws {
    let testnet = try await HyperDHT.Testnet(size: 3)
    let options = HyperDHT.Options(bootstrap: testnet.bootstrap, port: 0, host: .loopback)
    let (a, b) = (try await HyperDHT(options), try await HyperDHT(options))
    let server = try await a.listen()
    let dial = b.dial(server.publicKey)
    for await state in dial.states {
      if case .open = state { dial.cancel() }
    }
    XCTAssertEqual(dial.state, .closed(nil))
    do throws(DHTError) {
      _ = try await dial.connection()
      XCTFail("a connection that is aborted")
    } catch {
      XCTAssertEqual(error, .requestDestroyed)
    }
    for node in [a, b] { await node.destroy() }
    await testnet.destroy()
  }

  func testADialThatIsGivenUp() async throws {
    let dht = try await HyperDHT(.init(bootstrap: ["127.0.0.1:9"], port: 0, host: .loopback))
    let key = HyperDHT.keyPair().publicKey
    func outcome(_ dial: HyperDHT.Dial) async -> DHTError? {
      do throws(DHTError) {
        _ = try await dial.connection()
        return nil
      } catch {
        return error
      }
    }
    let cancelled = dht.dial(key)
    XCTAssertEqual(cancelled.state, .connecting)
    cancelled.cancel()
    let first = await outcome(cancelled)
    XCTAssertEqual(first, .requestDestroyed)

    let waiting = dht.dial(key)
    let task = Task { await outcome(waiting) }
    task.cancel()
    let second = await task.value
    XCTAssertEqual(second, .cancelled)
    XCTAssertEqual(waiting.state, .connecting, "the dial goes on")

    // Letting go of a dial gives it up.
    let states = dht.dial(key).states
    let seen = await all(states)
    XCTAssertEqual(seen.first, .connecting)
    if case .closed? = seen.last {} else { XCTFail("\(seen)") }
    await dht.destroy(force: true)
    let third = await outcome(waiting)
    XCTAssertEqual(third, .nodeDestroyed)
    let fourth = await outcome(dht.dial(key))
    XCTAssertEqual(fourth, .nodeDestroyed)
  }

  /// A node that takes itself to be behind a NAT, as no other on this host is.
  private func firewalled(_ testnet: HyperDHT.Testnet, _ loop: UVEventLoop) async throws -> HyperDHT {
    let bootstrap = testnet.bootstrap.compactMap { BootstrapNode($0) }
    let made = try await LoopPlace(loop).make { environment throws(DHTError) -> HyperDHT in
      var options = DHTOptions(bootstrap: bootstrap, host: .loopback, port: 0)
      options.ephemeral = true
      options.quickFirewall = false
      let node = DHTNode(environment: environment, options: options)
      node.start()
      return HyperDHT(loop: loop, node: node, environment: environment)
    }
    return made.value
  }

  func testAConnectionOverARelay() async throws {
    let testnet = try await HyperDHT.Testnet(size: 4)
    let loop = try UVEventLoop.startThread()
    let (a, b) = (try await firewalled(testnet, loop), try await firewalled(testnet, loop))
    let relayNode = try await HyperDHT(.init(bootstrap: testnet.bootstrap, port: 0, host: .loopback))
    let relay = try await relayNode.serveRelay()
    var serving = HyperDHT.ServerOptions()
    serving.allowsHolepunching = false
    serving.shareLocalAddress = false
    let server = try await a.listen(options: serving)
    var options = HyperDHT.ConnectOptions()
    options.allowsHolepunching = false
    options.localConnection = false
    options.relayThrough = .key(relay.publicKey)
    let connection = try await b.connect(to: server.publicKey, options: options)
    let next = try await server.accept()
    let accepted = try XCTUnwrap(next)
    try await connection.write("over the relay")
    let message = try await accepted.read()
    XCTAssertEqual(message, Array("over the relay".utf8))
    for side in [connection, accepted] {
      let address = await side.remoteAddress()
      let remote = try XCTUnwrap(address)
      XCTAssertEqual(side.path, .relayed(remote))
      XCTAssertEqual(side.state, .open(.relayed(remote)))
      XCTAssertTrue(side.description.contains("relayed by \(remote)"), side.description)
    }
    let statistics = await a.statistics()
    XCTAssertEqual([statistics.relayAttempts, statistics.relaySuccesses], [1, 1])
    for node in [a, b, relayNode] { await node.destroy() }
    await testnet.destroy()
    await loop.shutdown()
  }

  func testAnAbortNamesItsReason() async throws {
    let testnet = try await HyperDHT.Testnet(size: 3)
    let (nodes, connection, accepted) = try await pair(testnet)
    let states = accepted.states
    connection.destroy()
    let seen = await all(states)
    XCTAssertEqual(seen.last, .closed(.reset))
    for node in nodes { await node.destroy() }
    await testnet.destroy()
  }

  /// A reader that does not read misses changes, never the last one; too many readers push the oldest out.
  func testBounds() async {
    let board = StateBoard()
    let place = Endpoint(host: .loopback, port: 1)
    board.open(.relayed(place))
    board.reopen(.direct(place))
    let slow = board.reader()
    for port in 2...40 { board.moved(to: .direct(Endpoint(host: .loopback, port: UInt16(port)))) }
    board.closing()
    board.closing()
    let oldest = board.reader()
    let more = (0..<Limits.stateReaders).map { _ in board.reader() }
    board.closed(.timedOut)
    board.moved(to: .direct(place))
    let ofSlow = await all(HyperDHT.Events(slow))
    XCTAssertEqual(ofSlow.last, .closing)
    XCTAssertLessThanOrEqual(ofSlow.count, Limits.stateChanges)
    let ofOldest = await all(HyperDHT.Events(oldest))
    XCTAssertEqual(ofOldest, [.closing])
    for queue in more {
      let seen = await all(HyperDHT.Events(queue))
      XCTAssertEqual(seen, [.closing, .closed(.timedOut)])
    }
    XCTAssertEqual(board.current, .closed(.timedOut))

    let full = StateBoard()
    full.open(.direct(place))
    let queue = full.reader()
    for _ in 1..<Limits.stateChanges { full.moved(to: .direct(place)) }
    full.closed(nil)
    let seen = await all(HyperDHT.Events(queue))
    XCTAssertEqual(seen, [.closed(nil)])
  }
}

extension HyperDHT.Connection {
  fileprivate func setKeepAliveAndRead() async {
    setKeepAlive(.milliseconds(7500))
    setTimeout(.seconds(40))
    let values = await (keepAlive(), timeout())
    XCTAssertEqual(values.0, .milliseconds(7500))
    XCTAssertEqual(values.1, .seconds(40))
  }
}
