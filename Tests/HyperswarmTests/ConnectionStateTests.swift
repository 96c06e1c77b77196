import HyperEncoding
import HyperRuntime
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
