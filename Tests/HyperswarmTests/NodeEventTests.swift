import HyperDHT
import HyperRuntime
import XCTest

/// What a node tells of its life.
final class NodeEventTests: XCTestCase {
  func testTheLifeOfANode() async throws {
    let testnet = try await HyperDHT.Testnet(size: 4)
    let dht = try await HyperDHT(.init(bootstrap: testnet.bootstrap, port: 0, host: .loopback))
    let events = dht.events()
    let other = dht.events()
    let table = dht.tableChanges()
    try await dht.bootstrapped()
    let knows = await dht.nodeCount()
    try await dht.suspend()
    try await dht.resume()
    await dht.destroy()
    var seen: [HyperDHT.Event] = []
    for await event in events { seen.append(event) }
    for expected in [HyperDHT.Event.online, .networkUpdated, .ready, .suspended, .resumed, .wakeup] {
      XCTAssertTrue(seen.contains(expected), "\(expected) in \(seen)")
    }
    XCTAssertEqual(seen.last, .closed)
    XCTAssertEqual(seen.count { $0 == .closed }, 1)
    let index: (HyperDHT.Event) -> Int = { seen.firstIndex(of: $0) ?? -1 }
    XCTAssertLessThan(index(.online), index(.suspended))
    XCTAssertLessThan(index(.suspended), index(.resumed))
    XCTAssertTrue(
      seen.contains { if case .natChanged(host: .loopback?, _) = $0 { true } else { false } }, "\(seen)")
    var copy: [HyperDHT.Event] = []
    for await event in other { copy.append(event) }
    // The first reader also has what happened before the second one came.
    XCTAssertEqual(copy, Array(seen.suffix(copy.count)))
    XCTAssertTrue(copy.contains(.resumed), "\(copy)")
    var added = 0
    for await change in table { if case .added = change { added += 1 } }
    XCTAssertGreaterThan(added, 0, "of \(knows) nodes")
    // A reader of a node that is gone ends at once.
    for await event in dht.events() { XCTFail("\(event)") }
    await testnet.destroy()
  }

  func testAPermanentNodeSaysSo() async throws {
    var options = HyperDHT.Options.bootstrapper(host: .loopback, port: 0)
    options.knownAddress = nil
    let testnet = try await HyperDHT.Testnet(size: 2)
    options.bootstrap = testnet.bootstrap
    options.anyPort = true
    let dht = try await HyperDHT(options)
    try await dht.bootstrapped()
    // Also for a reader that comes late.
    let events = dht.events()
    for await event in events where event == .persistent { break }
    let status = await dht.status()
    XCTAssertFalse(status.isEphemeral)
    XCTAssertNotNil(status.id)
    await dht.destroy()
    await testnet.destroy()
  }

  func testSilenceIsAnEvent() async throws {
    let dht = try await HyperDHT(.init(bootstrap: ["127.0.0.1:9"], port: 0, host: .loopback))
    let events = dht.events()
    var seen: [HyperDHT.Event] = []
    for await event in events {
      seen.append(event)
      if event == .offline { break }
    }
    XCTAssertFalse(seen.contains(.online))
    await dht.destroy(force: true)
  }
}
