import HyperEncoding
import HyperRPC
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine

/// What a node does while nothing is asked of it, counted over an hour, and that it is reachable nevertheless. The
/// bounds are those of docs/low-power.md.
final class LowPowerTests: XCTestCase {
  private static let minute: UInt64 = 60_000
  private static let hour = 60 * minute

  /// Wake-ups and bytes a minute over an hour, and what they may be.
  private func assertBudget(
    _ net: Net, _ host: VirtualHost, wakeUps: Double, bytes: Double, file: StaticString = #filePath, line: UInt = #line
  ) {
    let before = (host.activity.wakeUps, host.activity.bytes)
    net.network.advance(by: LowPowerTests.hour)
    let woken = Double(host.activity.wakeUps - before.0) / 60
    let moved = Double(host.activity.bytes - before.1) / 60
    XCTAssertLessThanOrEqual(woken, wakeUps, "wake-ups a minute", file: file, line: line)
    XCTAssertLessThanOrEqual(moved, bytes, "bytes a minute", file: file, line: line)
    // A mechanism that has stopped altogether is no saving.
    XCTAssertGreaterThan(woken, 0.5, "wake-ups a minute", file: file, line: line)
    XCTAssertGreaterThan(moved, bytes / 20, "bytes a minute", file: file, line: line)
  }

  private func makeNet() -> Net {
    let net = Net(40)
    net.network.conditions = LinkConditions(latency: .milliseconds(20), jitter: .milliseconds(20))
    return net
  }

  private func makeHost(_ net: Net, remembers: Duration) -> VirtualHost {
    let nat = VirtualNAT(
      network: net.network, address: IPv4Address(5, 5, 5, 1), mapping: .endpointIndependent,
      filter: .addressAndPortDependent)
    nat.mappingLifetime = remembers
    return net.network.makeHost(IPv4Address(192, 168, 1, 10), behind: nat)
  }

  func testANodeThatNothingIsAskedOf() {
    let net = makeNet()
    let host = net.network.makeHost()
    let node = net.makeNode(on: host) { options in
      options.isLowPower = true
      options.ephemeral = false
    }
    net.network.advance(by: LowPowerTests.minute)
    assertBudget(net, host, wakeUps: 2, bytes: 150)
    XCTAssertTrue(node.rpc.isEphemeral)
    XCTAssertGreaterThanOrEqual(node.rpc.nodeCount, HyperRPC.Limits.k)
    let (server, _) = net.listen(on: net.makeNode())
    let peer = net.connect(node, to: server)
    net.assertEcho(peer, within: 2000)
    peer.stream.destroy()
    net.destroy()
  }

  /// The usual node has a budget, too.
  func testTheUsualNode() {
    let net = makeNet()
    let host = net.network.makeHost()
    _ = net.makeNode(on: host)
    net.network.advance(by: LowPowerTests.minute)
    assertBudget(net, host, wakeUps: 30, bytes: 3000)
    net.destroy()
  }

  func testAServerBehindANATThatRemembersForHalfAMinute() {
    let net = makeNet()
    let host = makeHost(net, remembers: .seconds(30))
    let node = net.makeNode(on: host) { $0.isLowPower = true }
    let (server, accepted) = net.listen(on: node)
    net.network.advance(by: LowPowerTests.minute)
    let known = server.announcer?.relays.map(\.peerAddress) ?? []
    assertBudget(net, host, wakeUps: 16, bytes: 2500)
    // The NAT has never forgotten the port that the server was announced with.
    XCTAssertEqual(Set(known), Set(server.announcer?.relays.map(\.peerAddress) ?? []))
    for wait in [1000, 12_000, 24_000] as [UInt64] {
      net.network.advance(by: wait)
      let peer = net.connect(net.makeNode(), to: server)
      net.assertEcho(peer)
      peer.stream.destroy()
    }
    XCTAssertEqual(accepted.peers.count, 3)
    net.destroy()
  }

  /// One that forgets within ten seconds: the server finds out, and asks as often as it takes.
  func testAServerBehindAForgetfulNAT() {
    let net = makeNet()
    let host = makeHost(net, remembers: .seconds(10))
    let (server, _) = net.listen(on: net.makeNode(on: host) { $0.isLowPower = true })
    net.network.advance(by: 2 * LowPowerTests.minute)
    let known = server.announcer?.relays.map(\.peerAddress) ?? []
    net.network.advance(by: 5 * LowPowerTests.minute)
    XCTAssertEqual(Set(known), Set(server.announcer?.relays.map(\.peerAddress) ?? []), "the port stays open")
    let peer = net.connect(net.makeNode(), to: server)
    net.assertEcho(peer)
    net.destroy()
  }

  /// Another address that the system does not tell of is announced with the next round of pings.
  func testAServerWhoseNATHasForgotten() {
    let net = makeNet()
    let host = makeHost(net, remembers: .seconds(600))
    let (server, _) = net.listen(on: net.makeNode(on: host) { $0.isLowPower = true })
    let before = Set(server.announcer?.relays.map(\.peerAddress) ?? [])
    net.network.advance(by: 5 * LowPowerTests.minute)
    host.nat?.reset()
    net.network.advance(by: Limits.Announce.lowPowerPause + 5000)
    let after = Set(server.announcer?.relays.map(\.peerAddress) ?? [])
    XCTAssertTrue(before.isDisjoint(with: after))
    net.assertEcho(net.connect(net.makeNode(), to: server))
    net.destroy()
  }

  /// Without a network the pauses between probes grow; a report of the system ends them.
  func testWithoutANetwork() {
    let net = makeNet()
    let host = net.network.makeHost()
    let node = net.makeNode(on: host) { $0.isLowPower = true }
    host.isDown = true
    node.rpc.findNode(target: node.rpc.tableID).start()
    net.network.advance(by: 30 * LowPowerTests.minute)
    let before = host.activity.wakeUps
    net.network.advance(by: 30 * LowPowerTests.minute)
    XCTAssertTrue(node.rpc.isOffline)
    XCTAssertLessThanOrEqual(host.activity.wakeUps - before, 4 * 30)
    host.isDown = false
    host.move(to: IPv4Address(9, 9, 9, 9))
    net.wait(3000, "online") { node.rpc.isOnline }
    // And without a report, within a minute.
    host.isDown = true
    net.network.advance(by: LowPowerTests.hour)
    XCTAssertTrue(node.rpc.isOffline)
    host.isDown = false
    net.wait(62_000, "online") { node.rpc.isOnline }
    net.destroy()
  }

  /// A sleep of the machine is noticed by what begins after it, and by a tick at the latest.
  func testSleepIsNoticedOnUse() {
    let net = makeNet()
    let host = net.network.makeHost()
    let node = net.makeNode(on: host) { $0.isLowPower = true }
    var awake = 0
    _ = node.onAwake.add { awake += 1 }
    net.network.advance(by: 3 * LowPowerTests.minute)
    XCTAssertEqual(awake, 0)
    host.wallClockOffset += LowPowerTests.hour
    node.rpc.findNode(target: node.rpc.tableID).start()
    net.network.advance(by: 1)
    XCTAssertEqual(awake, 1)
    net.network.advance(by: 3 * LowPowerTests.minute)
    XCTAssertEqual(awake, 1)
    host.wallClockOffset += LowPowerTests.hour
    net.network.advance(by: HyperRPC.Limits.LowPower.tickInterval)
    XCTAssertEqual(awake, 2)
    net.destroy()
  }
}
