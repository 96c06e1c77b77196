import HyperEncoding
import XCTest

@testable import HyperDHTEngine

/// of hyperdht.md, and the rules that no vector states.
final class NATTests: XCTestCase {
  private let hostA = IPv4Address(11, 22, 33, 44)
  private let hostB = IPv4Address(11, 22, 33, 45)

  private func seen(_ host: IPv4Address, _ port: UInt16) -> Endpoint { Endpoint(host: host, port: port) }

  /// Referrers are distinct ports of one host.
  private func referrer(_ index: UInt16) -> Endpoint { Endpoint(host: IPv4Address(9, 9, 9, 9), port: 1000 + index) }

  private func analyze(_ samples: [Endpoint], firewalled: Bool = true) -> NATAnalyzer {
    var analyzer = NATAnalyzer(isFirewalled: firewalled)
    for (index, sample) in samples.enumerated() {
      analyzer.add(sample, from: referrer(UInt16(index)), isFirewalled: firewalled)
    }
    return analyzer
  }

  func testDHT_76_notFirewalledIsOpen() {
    let analyzer = NATAnalyzer(isFirewalled: false)
    XCTAssertEqual(analyzer.firewall, .open)
    XCTAssertEqual(analyzer.sampleCount, 0)
  }

  func testDHT_77_differentPortsAreRandom() {
    var analyzer = NATAnalyzer(isFirewalled: true)
    XCTAssertTrue(analyzer.add(seen(hostA, 1), from: referrer(0), isFirewalled: true))
    XCTAssertFalse(analyzer.add(seen(hostA, 1), from: referrer(0), isFirewalled: true))
    analyzer.add(seen(hostA, 2), from: referrer(1), isFirewalled: true)
    XCTAssertEqual(analyzer.firewall, .unknown)
    analyzer.add(seen(hostA, 3), from: referrer(2), isFirewalled: true)
    XCTAssertEqual(analyzer.sampleCount, 3)
    XCTAssertEqual(analyzer.firewall, .random)
    XCTAssertEqual(analyzer.addresses, [NATSample(address: seen(hostA, 0), hits: 3)])
  }

  func testDHT_78_threeEqualAreConsistent() {
    let two = analyze([seen(hostA, 1), seen(hostA, 1)])
    XCTAssertEqual(two.firewall, .unknown)
    XCTAssertNil(two.addresses)
    let three = analyze([seen(hostA, 1), seen(hostA, 1), seen(hostA, 1)])
    XCTAssertEqual(three.firewall, .consistent)
    XCTAssertEqual(three.addresses, [NATSample(address: seen(hostA, 1), hits: 3)])
  }

  func testDHT_79_oneStray() {
    let samples = [seen(hostA, 1), seen(hostA, 2), seen(hostA, 1), seen(hostA, 1)]
    XCTAssertEqual(analyze(Array(samples.prefix(3))).firewall, .unknown)
    let analyzer = analyze(samples)
    XCTAssertEqual(analyzer.firewall, .consistent)
    XCTAssertEqual(
      analyzer.addresses,
      [NATSample(address: seen(hostA, 1), hits: 3), NATSample(address: seen(hostA, 2), hits: 1)])
  }

  func testDHT_80_twoConsistentHosts() {
    let samples = [seen(hostA, 1), seen(hostB, 2), seen(hostA, 1), seen(hostB, 2)]
    XCTAssertEqual(analyze(Array(samples.prefix(3))).firewall, .unknown)
    let analyzer = analyze(samples)
    XCTAssertEqual(analyzer.firewall, .consistent)
    XCTAssertEqual(
      analyzer.addresses,
      [NATSample(address: seen(hostA, 1), hits: 2), NATSample(address: seen(hostB, 2), hits: 2)])
  }

  func testDHT_81_oneHostTwoHitsOfFour() {
    let samples = [seen(hostA, 1), seen(hostA, 1), seen(hostA, 2), seen(hostA, 3)]
    XCTAssertEqual(analyze(Array(samples.prefix(3))).firewall, .unknown)
    let analyzer = analyze(samples)
    XCTAssertEqual(analyzer.firewall, .random)
    XCTAssertEqual(analyzer.addresses, [NATSample(address: seen(hostA, 0), hits: 4)])
  }

  func testFrozenAnalyzerCountsButKeepsItsClass() {
    var analyzer = analyze([seen(hostA, 1), seen(hostA, 2), seen(hostA, 3)])
    analyzer.freeze()
    for index in 10..<20 { analyzer.add(seen(hostA, 1), from: referrer(UInt16(index)), isFirewalled: true) }
    XCTAssertEqual(analyzer.firewall, .random)
    XCTAssertEqual(analyzer.sampleCount, 13)
  }

  /// A node that turns out to be open after the start keeps known addresses to offer (hyperdht.md Part C, 9; the
  /// reference has none), and one that turns out to be firewalled is analysed from the samples it has.
  func testDHT_C9_openNodeStillKnowsItsAddresses() {
    var analyzer = NATAnalyzer(isFirewalled: true)
    analyzer.add(seen(hostA, 1), from: referrer(0), isFirewalled: true)
    analyzer.add(seen(hostA, 1), from: referrer(1), isFirewalled: false)
    XCTAssertEqual(analyzer.firewall, .open)
    XCTAssertNil(analyzer.addresses)
    XCTAssertEqual(analyzer.knownAddresses, [seen(hostA, 1)])
    analyzer.add(seen(hostA, 1), from: referrer(2), isFirewalled: true)
    XCTAssertEqual(analyzer.firewall, .consistent)
  }

  /// BETTER: a NAT that maps per destination address would look consistent to three ports of one host.
  func testDHT_C7_threeSamplesSettleOnlyFromThreeHosts() {
    let one = analyze([seen(hostA, 1), seen(hostA, 1), seen(hostA, 1)])
    XCTAssertEqual(one.firewall, .consistent)
    XCTAssertFalse(one.isSettled)
    XCTAssertTrue(analyze([seen(hostA, 1), seen(hostA, 1), seen(hostA, 1), seen(hostA, 1)]).isSettled)
    var several = NATAnalyzer(isFirewalled: true)
    for index in 1...3 {
      several.add(
        seen(hostA, 1), from: Endpoint(host: IPv4Address(9, 9, 9, UInt8(index)), port: 9), isFirewalled: true)
    }
    XCTAssertTrue(several.isSettled)
  }

  func testReferrersAreBounded() {
    var analyzer = NATAnalyzer(isFirewalled: true)
    for index in 0..<1000 {
      analyzer.add(seen(hostA, UInt16(index + 1)), from: referrer(UInt16(index)), isFirewalled: true)
    }
    XCTAssertEqual(analyzer.sampleCount, Limits.Punch.maximumReferrers)
  }

  // MARK: A-9

  private func match(_ own: [String], _ other: [String]) -> String? {
    let endpoints = other.compactMap { Endpoint("\($0):80") }
    return AddressMatch.best(own: own.compactMap { IPv4Address($0) }, other: endpoints)?.host.description
  }

  func testDHT_82to88_addressMatch() {
    XCTAssertNil(match([], ["10.0.0.1"]))
    XCTAssertNil(match(["10.0.0.1"], []))
    XCTAssertNil(match(["192.168.122.238"], ["172.16.1.1", "10.0.0.5"]))
    let home = ["192.168.0.23", "192.168.122.1", "172.17.0.1"]
    XCTAssertEqual(match(home, home), "192.168.0.23")
    XCTAssertEqual(
      match(["67.205.156.23", "10.10.0.6", "10.116.0.3"], ["10.10.0.6", "10.116.0.3"]), "10.10.0.6")
    XCTAssertEqual(
      match(["192.168.0.23", "192.168.122.1"], ["192.168.122.238", "172.17.0.1"]), "192.168.122.238")
    XCTAssertEqual(match(["192.168.122.238"], ["192.168.0.23", "192.168.122.1", "172.16.1.1"]), "192.168.122.1")
    XCTAssertEqual(match(["172.17.0.2"], home), "172.17.0.1")
    XCTAssertEqual(match(["172.17.0.3"], ["172.17.0.2"]), "172.17.0.2")
    XCTAssertEqual(match(["10.1.2.3"], ["192.168.0.23", "172.16.1.1", "10.4.5.6", "192.168.122.1"]), "10.4.5.6")
    XCTAssertEqual(match(["10.0.2.3"], ["192.168.0.23", "10.4.5.6", "10.0.5.6", "172.16.1.1"]), "10.0.5.6")
  }

  // MARK: Remote view

  func testDHT_82_verifiedHostsStayVerified() {
    var view = RemoteView(firewall: .unknown)
    view.update(
      firewall: .consistent, isPunching: false, addresses: [seen(hostA, 1), seen(hostB, 2)], verifiedHost: hostA,
      observedHost: hostA)
    XCTAssertEqual(view.addresses.map(\.isVerified), [true, false])
    view.update(
      firewall: .consistent, isPunching: true, addresses: [seen(hostA, 9)], verifiedHost: nil, observedHost: hostA)
    XCTAssertTrue(view.isPunching)
    XCTAssertEqual(view.firstVerified, seen(hostA, 9))
    XCTAssertTrue(view.isVerified(hostA))
    XCTAssertFalse(view.isVerified(hostB))
  }

  /// hyperdht.md Part B, 5: the list is capped, and a public peer cannot aim probes at our own network.
  func testDHT_B5_addressListIsCappedAndFiltered() {
    var view = RemoteView(firewall: .unknown)
    let many = (1...100).map { seen(hostA, UInt16($0)) }
    view.update(firewall: .consistent, isPunching: false, addresses: many, verifiedHost: nil, observedHost: hostA)
    XCTAssertEqual(view.addresses.count, Limits.Punch.peerAddresses)
    let lan = [
      seen(IPv4Address(192, 168, 1, 1), 80), seen(.loopback, 22), seen(IPv4Address(255, 255, 255, 255), 9),
      seen(hostA, 7),
    ]
    view.update(firewall: .consistent, isPunching: false, addresses: lan, verifiedHost: nil, observedHost: hostA)
    XCTAssertEqual(view.addresses.map(\.endpoint), [seen(hostA, 7)])
    view.update(
      firewall: .consistent, isPunching: false, addresses: lan, verifiedHost: nil, observedHost: .loopback)
    XCTAssertEqual(view.addresses.map(\.endpoint.port), [80, 22, 7])
  }

  func testUnknownFirewallValuesActAsRandom() {
    let later = Firewall(rawValue: 9)
    XCTAssertTrue(later.isRandom)
    XCTAssertFalse(PunchStrategy.isStable(local: later, remote: .random))
    let verified = [RemoteAddress(endpoint: seen(hostA, 1), isVerified: true)]
    XCTAssertEqual(
      PunchStrategy.decide(local: .consistent, remote: later, remoteAddresses: verified), .randomProbes)
  }
}
