import HyperCrypto
import HyperEncoding
import HyperSecretStream
import HyperTestVectors
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine

/// The relay's side of hyperdht.md 10.5, and its bounds (hyperdht.md B-18).
final class BlindRelayServerTests: XCTestCase {
  /// A relay, and clients that have nothing but a control connection.
  private final class Site {
    let net: Net
    let service: RelayService
    var relay: BlindRelayServer { service.relay }
    var relayKey: Bytes32 { service.server.publicKey ?? Bytes32() }

    init(_ bounds: BlindRelayServer.Bounds = .init()) {
      net = Net(4, seed: 18)
      let service = RelayService(node: net.makeNode(firewalled: false), bounds: bounds)
      self.service = service
      let _: Result<Void, DHTError>? = net.settle { service.listen(completion: $0) }
    }

    func client() -> (node: DHTNode, control: RelayControl) {
      let node = net.makeNode()
      let control = node.relays.control(of: relayKey)
      return (node, control)
    }

    func ticket(_ number: UInt8, _ isInitiator: Bool) -> RelayTicket {
      RelayTicket(publicKey: relayKey, token: Bytes32(repeating: number), isInitiator: isInitiator)
    }

    func destroy() {
      let service = service
      net.settle { done in service.close { done(()) } }
      net.destroy()
    }
  }

  func testDHT_105_pairAndUnpair() throws {
    let site = Site()
    let (a, b) = (site.client(), site.client())
    let first = try XCTUnwrap(a.control.pair(site.ticket(1, true), streamID: 11))
    XCTAssertNil(a.control.pair(site.ticket(1, true), streamID: 12), "one request for one side of a token")
    site.net.wait { site.relay.pendingCount == 1 }
    var ids: [UInt32] = []
    var losses: [DHTError] = []
    first.onPaired = { ids.append($0) }
    first.onLost = { losses.append($0) }
    let second = try XCTUnwrap(b.control.pair(site.ticket(1, false), streamID: 22))
    second.onPaired = { ids.append($0) }
    second.onLost = { losses.append($0) }
    site.net.wait { ids.count == 2 }
    XCTAssertNotEqual(ids[0], ids[1], "a stream for each side")
    XCTAssertEqual(site.relay.linkCount, 1)
    XCTAssertEqual(site.relay.pendingCount, 0)
    // Another pairing keeps the connection, so that leaving this one is an unpair.
    _ = try XCTUnwrap(a.control.pair(site.ticket(2, true), streamID: 13))
    site.net.wait { site.relay.pendingCount == 1 }
    first.release(gracefully: true)
    site.net.wait { site.relay.linkCount == 0 && losses.count == 1 }
    XCTAssertEqual(site.relay.sessionCount, 2)
    a.control.destroy()
    site.net.wait { site.relay.sessionCount == 1 }
    XCTAssertEqual(site.relay.pendingCount, 0, "gone with its session")
    XCTAssertEqual(site.relay.statistics.pairingsCancelled, 1)
    second.release(gracefully: true)
    site.net.wait(20_000) { site.relay.sessionCount == 0 }
    site.destroy()
  }

  func testDHT_B18_tokensExpire() throws {
    let site = Site()
    let a = site.client()
    var losses = 0
    let pairing = try XCTUnwrap(a.control.pair(site.ticket(1, true), streamID: 11))
    pairing.onLost = { _ in losses += 1 }
    site.net.wait { site.relay.pendingCount == 1 }
    site.net.network.advance(by: Limits.Relay.pendingToken - 1000)
    XCTAssertEqual(site.relay.pendingCount, 1)
    XCTAssertEqual(losses, 0)
    site.net.network.advance(by: 2000)
    XCTAssertEqual(site.relay.pendingCount, 0)
    XCTAssertEqual(site.relay.statistics.pairingsExpired, 1)
    XCTAssertEqual(losses, 1, "and the side that waits is told")
    site.net.wait(Limits.Relay.idleSession + 20_000, "an idle session is ended") { site.relay.sessionCount == 0 }
    site.destroy()
  }

  func testDHT_B18_pendingTokensAreCapped() throws {
    var bounds = BlindRelayServer.Bounds()
    bounds.pendingTokens = 5
    bounds.pendingTokensPerSession = 3
    let site = Site(bounds)
    let (a, b) = (site.client(), site.client())
    var lost: [UInt8] = []
    for (offset, client) in [a, b].enumerated() {
      for number in 0..<4 {
        let name = UInt8(10 * offset + number + 1)
        let pairing = try XCTUnwrap(client.control.pair(site.ticket(name, true), streamID: 1))
        pairing.onLost = { _ in lost.append(name) }
        site.net.network.advance(by: 500)
      }
    }
    XCTAssertEqual(site.relay.pendingCount, 5, "three at most of one session, five of both")
    XCTAssertEqual(site.relay.statistics.pairingsEvicted, 3)
    XCTAssertEqual(lost, [1, 2, 11], "the oldest of its own session, or of the one with most")
    // The other side of a waiting token always gets in.
    let partner = try XCTUnwrap(b.control.pair(site.ticket(3, false), streamID: 9))
    var isPaired = false
    partner.onPaired = { _ in isPaired = true }
    site.net.wait { isPaired }
    site.destroy()
  }

  func testDHT_B18_linksAndSessionsAreCapped() throws {
    var bounds = BlindRelayServer.Bounds()
    bounds.linksPerSession = 2
    bounds.sessions = 3
    let site = Site(bounds)
    let (a, b) = (site.client(), site.client())
    var paired = 0
    var lost = 0
    for number in UInt8(1)...3 {
      for (client, isInitiator) in [(a, true), (b, false)] {
        let pairing = try XCTUnwrap(client.control.pair(site.ticket(number, isInitiator), streamID: UInt32(number)))
        pairing.onPaired = { _ in paired += 1 }
        pairing.onLost = { _ in lost += 1 }
      }
      site.net.network.advance(by: 3000)
    }
    XCTAssertEqual(site.relay.linkCount, 2)
    XCTAssertEqual(paired, 4)
    XCTAssertEqual(lost, 2)
    let (c, d) = (site.client(), site.client())
    let third = try XCTUnwrap(c.control.pair(site.ticket(9, true), streamID: 1))
    var isThirdLost = false
    third.onLost = { _ in isThirdLost = true }
    site.net.wait { site.relay.sessionCount == 3 }
    // A session without a link makes room, those with one never.
    let fourth = try XCTUnwrap(d.control.pair(site.ticket(2, true), streamID: 1))
    site.net.wait { isThirdLost }
    XCTAssertEqual(site.relay.statistics.sessionsEvicted, 1)
    XCTAssertEqual(site.relay.statistics.sessionsRefused, 0)
    XCTAssertEqual(site.relay.linkCount, 2)
    withExtendedLifetime(fourth) {}
    site.destroy()
  }

  func testDHT_B18_sessionsWithLinksAreNotEvicted() throws {
    var bounds = BlindRelayServer.Bounds()
    bounds.sessions = 2
    let site = Site(bounds)
    let (a, b) = (site.client(), site.client())
    var paired = 0
    for (client, isInitiator) in [(a, true), (b, false)] {
      let pairing = try XCTUnwrap(client.control.pair(site.ticket(1, isInitiator), streamID: 1))
      pairing.onPaired = { _ in paired += 1 }
    }
    site.net.wait { paired == 2 }
    let late = try XCTUnwrap(site.client().control.pair(site.ticket(9, true), streamID: 1))
    var isRefused = false
    late.onLost = { _ in isRefused = true }
    site.net.wait { isRefused }
    XCTAssertEqual(site.relay.statistics.sessionsRefused, 1)
    XCTAssertEqual(site.relay.linkCount, 1)
    site.destroy()
  }

  /// Five strangers, each with an address and keys of its own, name as many tokens as they like (security notes: five
  /// sessions kept all others out). Every honest pair finds its partner, and links that live stay.
  func testDHT_B18_fiveHostileSessionsRefuseNoOther() throws {
    var bounds = BlindRelayServer.Bounds()
    bounds.pendingTokens = 100
    bounds.pendingTokensPerHost = 50
    bounds.pendingTokensPerSession = 30
    let site = Site(bounds)
    let strangers = (0..<5).map { _ in site.client() }
    var serial: UInt16 = 0
    func flood() {
      for stranger in strangers {
        for _ in 0..<40 {
          serial += 1
          let token = Bytes32([UInt8(serial >> 8), UInt8(serial & 0xff)] + [UInt8](repeating: 0xee, count: 30))
          let ticket = RelayTicket(publicKey: site.relayKey, token: token ?? Bytes32(), isInitiator: true)
          _ = stranger.control.pair(ticket, streamID: 1)
        }
      }
      site.net.network.advance(by: 300)
    }
    flood()
    flood()
    XCTAssertEqual(site.relay.pendingCount, 100)
    var links = 0
    for number in 1...10 as ClosedRange<UInt8> {
      let (a, b) = (site.client(), site.client())
      var paired = 0
      var isLost = false
      let first = try XCTUnwrap(a.control.pair(site.ticket(number, true), streamID: 1))
      first.onPaired = { _ in paired += 1 }
      first.onLost = { _ in isLost = true }
      for _ in 0..<10 { flood() }
      let second = try XCTUnwrap(b.control.pair(site.ticket(number, false), streamID: 2))
      second.onPaired = { _ in paired += 1 }
      second.onLost = { _ in isLost = true }
      site.net.wait { paired == 2 || isLost }
      XCTAssertFalse(isLost)
      links += 1
      XCTAssertEqual(site.relay.linkCount, links)
      XCTAssertLessThanOrEqual(site.relay.pendingCount, 100)
    }
    XCTAssertEqual(site.relay.statistics.pairingsRefused, 0)
    XCTAssertEqual(site.relay.statistics.sessionsRefused, 0)
    report(
      attack: "five sessions of a blind relay name \(serial) tokens", bound: "10 of 10 other pairs, none refused",
      measured: "\(links) of 10, \(site.relay.statistics.pairingsEvicted) tokens gave way")
    site.destroy()
  }

  /// Two strangers that pair with each other all the time, over as many sessions as they like, and keep their links
  /// (which are never ended for others): other pairs find places, of few links, too.
  func testDHT_B18_linksOfOneHostLeaveRoom() throws {
    var bounds = BlindRelayServer.Bounds()
    bounds.links = 40
    let site = Site(bounds)
    let (x, y) = (site.client(), site.client())
    for number in 0..<60 as Range<UInt8> {
      for (client, isInitiator) in [(x, true), (y, false)] {
        _ = client.control.pair(site.ticket(100 + number, isInitiator), streamID: UInt32(number) + 1)
      }
      site.net.network.advance(by: 200)
    }
    site.net.network.advance(by: 2000)
    XCTAssertEqual(site.relay.linkCount, 30, "three times what is left")
    var links = 0
    for number in 1...4 as ClosedRange<UInt8> {
      let (a, b) = (site.client(), site.client())
      var paired = 0
      for (client, isInitiator) in [(a, true), (b, false)] {
        let pairing = try XCTUnwrap(client.control.pair(site.ticket(number, isInitiator), streamID: 1))
        pairing.onPaired = { _ in paired += 1 }
      }
      site.net.wait { paired == 2 }
      links += 1
    }
    XCTAssertEqual(site.relay.linkCount, 34)
    report(
      attack: "two hosts take all links of a blind relay that they get", bound: "4 of 4 other pairs",
      measured: "\(links) of 4")
    site.destroy()
  }

  /// Sessions that have links make no room, so a host gets links for some of its sessions only: others find places.
  func testDHT_B18_sessionsWithLinksOfAFewHostsLeaveRoom() throws {
    var bounds = BlindRelayServer.Bounds()
    bounds.sessions = 20
    bounds.sessionsPerHost = 6
    let site = Site(bounds)
    // Two hosts, each with as many sessions as it gets, and a link between two of them for each pair.
    let hosts = (0..<4).map { _ in site.net.network.makeHost() }
    var pairings: [RelayPairing] = []
    var nodes: [DHTNode] = []
    for number in 0..<14 as Range<UInt8> {
      for (place, isInitiator) in [(0, true), (1, false)] {
        let node = site.net.makeNode(on: hosts[Int(number) / 7 * 2 + place])
        nodes.append(node)
        let control = node.relays.control(of: site.relayKey)
        if let pairing = control.pair(site.ticket(100 + number, isInitiator), streamID: 1) { pairings.append(pairing) }
      }
      site.net.network.advance(by: 1000)
    }
    let taken = site.relay.linkedSessions
    XCTAssertEqual(taken, 18, "six of each of two hosts, three of each of the others")
    for number in 1...2 as ClosedRange<UInt8> {
      let (a, b) = (site.client(), site.client())
      var paired = 0
      for (client, isInitiator) in [(a, true), (b, false)] {
        let pairing = try XCTUnwrap(client.control.pair(site.ticket(number, isInitiator), streamID: 1))
        pairing.onPaired = { _ in paired += 1 }
        pairings.append(pairing)
      }
      site.net.wait { paired == 2 }
      XCTAssertEqual(site.relay.linkedSessions, taken + 2)
      // What was taken is given back.
      a.control.destroy()
      b.control.destroy()
      site.net.wait { site.relay.linkedSessions == taken }
    }
    withExtendedLifetime(pairings) {}
    site.destroy()
  }

  /// Deployed swarms open a control connection for each relayed peer.
  func testManySessionsOfOneKeyAndHost() throws {
    XCTAssertGreaterThanOrEqual(Limits.Relay.sessionsPerKey, 128)
    var bounds = BlindRelayServer.Bounds()
    bounds.sessionsPerKey = 4
    let site = Site(bounds)
    let node = site.net.makeNode()
    var streams: [EncryptedStream] = []
    for count in 1...6 {
      let stream = node.connect(to: site.relayKey)
      streams.append(stream)
      site.net.wait { stream.isOpen }
      site.net.network.advance(by: 500)
      XCTAssertEqual(site.relay.sessionCount, min(count, 4))
    }
    XCTAssertEqual(site.relay.statistics.sessionsRefused, 0)
    XCTAssertEqual(site.relay.statistics.sessionsEvicted, 2)
    site.destroy()
  }

  func testStrangersCannotTakeATokenBack() throws {
    let site = Site()
    let (a, b) = (site.client(), site.client())
    let pairing = try XCTUnwrap(a.control.pair(site.ticket(1, true), streamID: 11))
    _ = try XCTUnwrap(b.control.pair(site.ticket(2, true), streamID: 12))
    // The same side again: the first one keeps it.
    let thief = try XCTUnwrap(b.control.pair(site.ticket(1, true), streamID: 13))
    site.net.wait { site.relay.pendingCount == 2 }
    thief.release(gracefully: true)
    site.net.network.advance(by: 3000)
    XCTAssertEqual(site.relay.pendingCount, 2)
    withExtendedLifetime(pairing) {}
    site.destroy()
  }
}
