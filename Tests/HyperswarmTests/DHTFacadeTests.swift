import HyperDHTEngine
import HyperEncoding
import HyperRuntime
import Hyperswarm
import XCTest

@testable import HyperDHT

/// The public `HyperDHT` over real sockets on 127.0.0.1.
final class DHTFacadeTests: XCTestCase {
  private func options(_ testnet: HyperDHT.Testnet) -> HyperDHT.Options {
    HyperDHT.Options(bootstrap: testnet.bootstrap, port: 0, host: .loopback)
  }

  func testListenAndConnectByKey() async throws {
    let testnet = try await HyperDHT.Testnet(size: 5)
    let a = try await HyperDHT(options(testnet))
    let b = try await HyperDHT(options(testnet))
    let server = try await a.listen()
    XCTAssertEqual(server.publicKey, a.defaultKeyPair.publicKey)
    let relays = await server.relayAddresses()
    XCTAssertFalse(relays.isEmpty)
    let connection = try await b.connect(to: server.publicKey)
    let accepted = try await first(server.connections)
    XCTAssertEqual(accepted.remotePublicKey, b.defaultKeyPair.publicKey)
    XCTAssertNil(connection.peer)
    for timeline in await [connection.pathTimeline(), accepted.pathTimeline()] {
      XCTAssertTrue(timeline.last?.contains("-> over: won by ") ?? false, "\(timeline)")
    }
    try await connection.write("ping")
    let message = try await accepted.read()
    XCTAssertEqual(message.map { String(decoding: $0, as: UTF8.self) }, "ping")
    await server.close()
    // A closed server ends its sequence; connections go on.
    let nobody = await first(server.connections, orNil: true)
    XCTAssertNil(nobody)
    try await accepted.write("pong")
    let answer = try await connection.read()
    XCTAssertEqual(answer.map { String(decoding: $0, as: UTF8.self) }, "pong")
    async let closing: Void = connection.close()
    await accepted.close()
    await closing
    XCTAssertTrue(connection.isClosed)
    await b.destroy()
    await a.destroy()
    await testnet.destroy()
  }

  /// How streams move is tested in the engine: here it is what the application sees.
  func testPathChangesAreEvents() async throws {
    let testnet = try await HyperDHT.Testnet(size: 5)
    let a = try await HyperDHT(options(testnet))
    let b = try await HyperDHT(options(testnet))
    let server = try await a.listen()
    let connection = try await b.connect(to: server.publicKey)
    let accepted = try await first(server.connections)
    let places = (1...20).map { Endpoint(host: IPv4Address(1, 1, 1, 1), port: $0) }
    let state = connection.inner
    _ = await onLoop(state.loop) { for place in places { state.stream.onPathChange?(place) } }
    // Further ones found no room.
    for place in places.prefix(16) {
      let change = try await first(connection.pathChanges)
      XCTAssertEqual(change, place)
    }
    async let closing: Void = connection.close()
    await accepted.close()
    await closing
    let end = await first(connection.pathChanges, orNil: true)
    XCTAssertNil(end, "ends with the connection")
    await b.destroy()
    await a.destroy()
    await testnet.destroy()
  }

  func testAddressesThatNoNodeCanHaveAreRefused() async {
    var unusable = ["not an address", "127.0.0.1:0", "0.0.0.0:49737", "224.0.0.1@node.example:49737"].map {
      HyperDHT.Options(bootstrap: [$0], port: 0, host: .loopback)
    }
    unusable.append(.bootstrapper(host: .any, port: 49_737))
    unusable.append(.bootstrapper(host: .loopback, port: 0))
    for address in [Endpoint(host: .loopback, port: 0), Endpoint(host: .any, port: 1)] {
      var options = HyperDHT.Options(bootstrap: [], port: 0, host: .loopback)
      options.nodes = [Endpoint(host: .loopback, port: 9), address]
      unusable.append(options)
      options.nodes = []
      options.knownAddress = address
      unusable.append(options)
    }
    for options in unusable {
      do throws(DHTError) {
        let made = try await HyperDHT(options)
        await made.destroy(force: true)
        XCTFail("\(options)")
      } catch {
        XCTAssertEqual(error, .invalidAddress, "\(options)")
      }
    }
  }

  func testANodeMayConnectAsDeployedOnes() throws {
    var options = HyperDHT.Options(bootstrap: [])
    XCTAssertTrue(try LoopBound<DHTOptions>(options).value.showsTokens)
    options.showsTokens = false
    XCTAssertFalse(try LoopBound<DHTOptions>(options).value.showsTokens)
  }

  func testErrorsSayWhatIsWrong() async throws {
    let testnet = try await HyperDHT.Testnet(size: 5)
    let a = try await HyperDHT(options(testnet))
    do throws(DHTError) {
      _ = try await a.connect(to: HyperDHT.keyPair().publicKey)
      XCTFail("nobody has this key")
    } catch {
      XCTAssertEqual(error.code, "PEER_NOT_FOUND")
    }
    let server = try await a.listen()
    do throws(DHTError) {
      _ = try await a.listen()
      XCTFail("one server per key pair")
    } catch {
      XCTAssertEqual(error, .keyPairAlreadyUsed)
    }
    await server.close()
    // A port that was bound a moment ago and is free now: no node answers there.
    let gone = try await HyperDHT.Testnet(size: 1)
    let nowhere = gone.bootstrap
    await gone.destroy()
    let lost = try await HyperDHT(HyperDHT.Options(bootstrap: nowhere))
    do throws(DHTError) {
      _ = try await lost.connect(to: HyperDHT.keyPair().publicKey)
      XCTFail("there is no network")
    } catch {
      XCTAssertEqual(error, .networkUnreachable)
    }
    do throws(DHTError) {
      for try await reply in lost.lookup(HyperDHT.keyPair().publicKey) { XCTFail("\(reply)") }
      XCTFail("there is no network")
    } catch {
      XCTAssertEqual(error, .networkUnreachable)
    }
    do throws(DHTError) {
      for try await reply in lost.findPeer(HyperDHT.keyPair().publicKey) { XCTFail("\(reply)") }
      XCTFail("there is no network")
    } catch {
      XCTAssertEqual(error, .networkUnreachable)
    }
    await lost.destroy()
    var fixed = HyperDHT.Options(bootstrap: [], port: (await a.localAddress())?.port ?? 0, host: .loopback)
    fixed.anyPort = false
    do throws(DHTError) {
      _ = try await HyperDHT(fixed)
      XCTFail("the port is taken")
    } catch {
      XCTAssertEqual(error.code, "BIND_FAILED")
    }
    await a.destroy()
    do throws(DHTError) {
      _ = try await a.connect(to: testnetKey)
      XCTFail("destroyed")
    } catch {
      XCTAssertEqual(error, .nodeDestroyed)
    }
    await a.destroy()
    await testnet.destroy()
  }

  private var testnetKey: Bytes32 { HyperDHT.hash([1, 2, 3]) }

  func testFirewallDecidesAsynchronously() async throws {
    let testnet = try await HyperDHT.Testnet(size: 5)
    let a = try await HyperDHT(options(testnet))
    let welcome = try await HyperDHT(options(testnet))
    let unwelcome = try await HyperDHT(options(testnet))
    let key = welcome.defaultKeyPair.publicKey
    let asked = Counter()
    var serverOptions = HyperDHT.ServerOptions()
    serverOptions.firewall = { peer in
      asked.increment()
      await Task.yield()
      return peer.publicKey == key
    }
    let server = try await a.listen(options: serverOptions)
    let connection = try await welcome.connect(to: server.publicKey)
    do throws(DHTError) {
      _ = try await unwelcome.connect(to: server.publicKey)
      XCTFail("must be refused")
    } catch {
      XCTAssertEqual(error.code, "PEER_CONNECTION_FAILED")
    }
    XCTAssertGreaterThanOrEqual(asked.value, 2)
    connection.destroy()
    await a.destroy()
    await welcome.destroy()
    await unwelcome.destroy()
    await testnet.destroy()
  }

  func testAnnounceLookupFindPeerUnannounce() async throws {
    let testnet = try await HyperDHT.Testnet(size: 5)
    let a = try await HyperDHT(options(testnet))
    let b = try await HyperDHT(options(testnet))
    let topic = Hyperswarm.topic("announced")
    let keyPair = HyperDHT.keyPair()
    let nodes = try await a.announce(topic, keyPair: keyPair)
    XCTAssertFalse(nodes.isEmpty)
    var found: Set<Bytes32> = []
    for try await reply in b.lookup(topic) { found.formUnion(reply.peers.map(\.publicKey)) }
    XCTAssertEqual(found, [keyPair.publicKey])
    // Leaving early ends the search without harm.
    for try await _ in b.lookup(topic) { break }
    try await a.unannounce(topic, keyPair: keyPair)
    found = []
    for try await reply in b.lookup(topic) { found.formUnion(reply.peers.map(\.publicKey)) }
    XCTAssertEqual(found, [])

    let server = try await a.listen()
    var holders = 0
    for try await reply in b.findPeer(server.publicKey) {
      XCTAssertEqual(reply.peer.publicKey, server.publicKey)
      holders += 1
    }
    XCTAssertGreaterThan(holders, 0)
    await a.destroy()
    await b.destroy()
    await testnet.destroy()
  }

  func testPingFindNodeAndStatus() async throws {
    let testnet = try await HyperDHT.Testnet(size: 5)
    let a = try await HyperDHT(options(testnet))
    try await a.bootstrapped()
    let entry = try XCTUnwrap(testnet.bootstrap.first.flatMap { Endpoint($0) })
    let pong = try await a.ping(entry)
    XCTAssertEqual(pong.from.endpoint, entry)
    let nodes = try await a.findNode(Hyperswarm.topic("x"))
    XCTAssertGreaterThanOrEqual(nodes.count, 4)
    let status = await a.status()
    XCTAssertTrue(status.isBootstrapped)
    XCTAssertGreaterThan(status.nodeCount, 0)
    await a.destroy()
    await testnet.destroy()
  }

  func testValues() async throws {
    let testnet = try await HyperDHT.Testnet(size: 5)
    let a = try await HyperDHT(options(testnet))
    let b = try await HyperDHT(options(testnet))
    let stored = try await a.immutablePut(Array("immutable".utf8))
    XCTAssertEqual(stored.key, HyperDHT.hash(Array("immutable".utf8)))
    XCTAssertGreaterThan(stored.stored, 0)
    let value = try await b.immutableGet(stored.key)
    XCTAssertEqual(value?.value, Array("immutable".utf8))
    let nothing = try await b.immutableGet(Hyperswarm.topic("nothing"))
    XCTAssertNil(nothing)
    let keyPair = HyperDHT.keyPair()
    _ = try await a.mutablePut([1], keyPair: keyPair, sequence: 1)
    _ = try await a.mutablePut([2], keyPair: keyPair, sequence: 2)
    let latest = try await b.mutableGet(keyPair.publicKey)
    XCTAssertEqual(latest?.value, [2])
    XCTAssertEqual(latest?.sequence, 2)
    do throws(DHTError) {
      _ = try await a.immutablePut([UInt8](repeating: 0, count: 1 << 20))
      XCTFail("too large")
    } catch {
      XCTAssertEqual(error.code, "VALUE_TOO_LARGE")
    }
    await a.destroy()
    await b.destroy()
    await testnet.destroy()
  }

  func testSuspendResume() async throws {
    let testnet = try await HyperDHT.Testnet(size: 5)
    let a = try await HyperDHT(options(testnet))
    let b = try await HyperDHT(options(testnet))
    let server = try await a.listen()
    try await a.suspend()
    do throws(DHTError) {
      _ = try await a.connect(to: testnetKey)
      XCTFail("suspended")
    } catch {
      XCTAssertEqual(error, .suspended)
    }
    try await a.resume()
    // The server announces itself again in its own time.
    var connection: HyperDHT.Connection?
    for _ in 0..<50 where connection == nil {
      connection = try? await b.connect(to: server.publicKey)
      if connection == nil { try await Task.sleep(for: .milliseconds(100)) }
    }
    XCTAssertEqual(connection?.remotePublicKey, server.publicKey)
    await b.destroy()
    await a.destroy()
    await testnet.destroy()
  }
}
