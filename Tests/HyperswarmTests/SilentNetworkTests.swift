import HyperDHT
import HyperRuntime
import Hyperswarm
import XCTest

/// A network that does not answer: what the Swift faces say, over real sockets on 127.0.0.1.
final class SilentNetworkTests: XCTestCase {
  /// D14 of the interface audit: no node at the bootstrap address, and then there is one.
  func testSilenceIsAnEventAndAState() async throws {
    // A port that was free a moment ago.
    let probe = try await HyperDHT(HyperDHT.Options(bootstrap: [], host: .loopback))
    let address = await probe.localAddress()
    let port = try XCTUnwrap(address?.port)
    await probe.destroy()
    var options = Hyperswarm.Options(bootstrap: ["127.0.0.1:\(port)"])
    options.dhtOptions.host = .loopback
    let swarm = try await Hyperswarm(options)
    let events = swarm.events()
    let discovery = try await swarm.join(Hyperswarm.topic("silence"), client: false)
    let start = await swarm.dht.status()
    XCTAssertFalse(start.isOnline, "no node has answered yet")
    let flushed = [try await discovery.flushed(), try await swarm.flush()]
    XCTAssertEqual(flushed, [false, false])
    var seen: [Bool] = []
    for await event in events {
      guard case .network(let isOnline) = event else { continue }
      seen.append(isOnline)
      break
    }
    XCTAssertEqual(seen, [false])
    let silent = await swarm.dht.status()
    XCTAssertEqual([silent.isOnline, silent.isOffline], [false, true])
    let testnet = try await HyperDHT.Testnet(size: 1, host: .loopback, port: port)
    let begun = ContinuousClock.now
    for await event in events {
      guard case .network(let isOnline) = event else { continue }
      seen.append(isOnline)
      break
    }
    XCTAssertEqual(seen, [false, true])
    XCTAssertLessThan(ContinuousClock.now - begun, .seconds(3), "one probe a second")
    // Announced by itself, for a server alone.
    var isAnnounced = false
    while !isAnnounced, ContinuousClock.now - begun < .seconds(60) {
      isAnnounced = try await discovery.flushed()
      if !isAnnounced { try await Task.sleep(for: .milliseconds(50)) }
    }
    XCTAssertTrue(isAnnounced)
    XCTAssertLessThan(ContinuousClock.now - begun, .seconds(10))
    let back = [try await discovery.flushed(), try await swarm.flush()]
    XCTAssertEqual(back, [true, true])
    let online = await swarm.dht.status()
    XCTAssertEqual([online.isOnline, online.isOffline], [true, false])
    await swarm.destroy()
    await testnet.destroy()
  }

  /// The address of the sockets is gone between suspend and resume: not tried here (see EnteringTests); what can be
  /// seen without namespaces is that a resume of a node that needs no repair succeeds, and settles after destroy.
  func testResumeSettlesAroundDestroy() async throws {
    let testnet = try await HyperDHT.Testnet(size: 1)
    var options = Hyperswarm.Options(bootstrap: testnet.bootstrap)
    options.dhtOptions.host = .loopback
    let swarm = try await Hyperswarm(options)
    try await swarm.suspend()
    try await swarm.resume()
    try await swarm.suspend()
    async let resumed: Void = swarm.resume()
    await swarm.destroy(force: true)
    _ = try? await resumed
    await testnet.destroy()
  }
}
