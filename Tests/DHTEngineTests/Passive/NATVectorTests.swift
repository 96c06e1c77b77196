import HyperEncoding
import HyperTestVectors
import XCTest

@testable import HyperDHTEngine

/// The groups of `hyperdht-state.json` about addresses, NATs and punching, and.
final class NATVectorTests: XCTestCase {
  private func cases(_ group: String, expected: Int) throws -> [Fields] {
    let tests = try Vectors.cases("hyperdht-state").filter { $0["group"] as? String == group }
    print("hyperdht-state \(group): \(tests.count) cases")
    XCTAssertEqual(tests.count, expected, group)
    return tests.map { Fields($0) }
  }

  func testNoGroupIsLeftOut() throws {
    let groups = Set(try Vectors.cases("hyperdht-state").compactMap { $0["group"] as? String })
    XCTAssertEqual(
      groups, ["nat-classification", "address-class", "match-address", "filter-node", "punch-decision", "node"])
  }

  func testDHT_81_natClassification() throws {
    var steps = 0
    for test in try cases("nat-classification", expected: 19) {
      let isFirewalled = try test.bool("firewalled")
      var analyzer = NATAnalyzer(isFirewalled: isFirewalled)
      XCTAssertFalse(analyzer.isSettled, test.id)
      for (index, step) in try test.objects("steps").enumerated() {
        let label = "\(test.id) step \(index)"
        analyzer.add(try step.endpoint("address"), from: try step.endpoint("from"), isFirewalled: isFirewalled)
        XCTAssertEqual(analyzer.sampleCount, Int(try step.uint("sampled")), label)
        XCTAssertEqual(analyzer.firewall.rawValue, try step.uint("firewall"), label)
        XCTAssertEqual(analyzer.isSettled, try step.bool("resolved"), label)
        let expected =
          step.has("addresses")
          ? try step.objects("addresses").map { NATSample(address: try $0.endpoint(), hits: Int(try $0.uint("hits"))) }
          : nil
        XCTAssertEqual(analyzer.addresses, expected, label)
        steps += 1
      }
    }
    print("hyperdht-state nat-classification: \(steps) steps")
    XCTAssertGreaterThan(steps, 80)
  }

  func testDHT_146_addressClasses() throws {
    for test in try cases("address-class", expected: 53) {
      let text = try test.string("host")
      let host = try XCTUnwrap(IPAddress(text), text)
      let actual: (Bool, Bool, Bool) =
        switch host {
        case .v4(let address): (address.isPrivate, address.isReserved, address.isBogon)
        case .v6(let address): (address.isPrivate, address.isReserved, address.isBogon)
        }
      XCTAssertEqual(actual.0, try test.bool("isPrivate"), text)
      XCTAssertEqual(actual.1, try test.bool("isReserved"), text)
      XCTAssertEqual(actual.2, try test.bool("isBogon"), text)
    }
  }

  func testDHT_145_addressMatch() throws {
    for test in try cases("match-address", expected: 12) {
      let match = AddressMatch.best(own: try test.endpoints("local"), other: try test.endpoints("remote"))
      XCTAssertEqual(match, try test.optionalEndpoint("match"), test.id)
    }
  }

  func testDHT_148_filteredNodes() throws {
    for test in try cases("filter-node", expected: 7) {
      XCTAssertEqual(NodeFilter.accepts(try test.endpoint()), try test.bool("accepted"), test.id)
    }
  }

  func testDHT_86_punchDecisions() throws {
    let address = try XCTUnwrap(Endpoint("5.6.7.8:9"))
    for test in try cases("punch-decision", expected: 48) {
      let local = Firewall(rawValue: try test.uint("localFirewall"))
      let remote = Firewall(rawValue: try test.uint("remoteFirewall"))
      let addresses: [RemoteAddress] =
        switch try test.string("remoteAddress") {
        case "verified": [RemoteAddress(endpoint: address, isVerified: true)]
        case "unverified": [RemoteAddress(endpoint: address, isVerified: false)]
        default: []
        }
      let names: [PunchStrategy: String] = [
        .consistentProbes: "consistent-probe", .randomProbes: "random-probes", .birthdaySockets: "birthday-sockets",
      ]
      let strategy = PunchStrategy.decide(local: local, remote: remote, remoteAddresses: addresses)
      XCTAssertEqual(strategy != nil, try test.bool("punches"), test.id)
      XCTAssertEqual(strategy.flatMap { names[$0] }, test.has("action") ? try test.string("action") : nil, test.id)
      XCTAssertEqual(!PunchStrategy.isStable(local: local, remote: remote), try test.bool("unstable"), test.id)
    }
  }
}
