import HyperDHTEngine
import HyperEncoding
import HyperswarmEngine
import HyperswarmTesting
import XCTest

/// Swarms whose hosts go from one network to another.
final class MovingSwarmTests: XCTestCase {
  enum Access: CaseIterable {
    case open
    case cone
    case portRestricted
  }

  /// Two swarms on one topic.
  private final class World {
    let network: VirtualNetwork
    let testnet: VirtualTestnet
    private(set) var swarms: [VirtualSwarm] = []
    private var places: UInt8 = 0
    /// Connections that were reported, for each swarm.
    var reported = [0, 0]
    var received = [0, 0]
    var pathChanges = [0, 0]
    /// Microseconds.
    var lastHeard: [UInt64] = [0, 0]

    init(_ seed: UInt64, _ access: [Access], migrates: Bool) throws {
      network = VirtualNetwork(seed: seed)
      network.conditions = LinkConditions(latency: .milliseconds(10), jitter: .milliseconds(2))
      testnet = try VirtualTestnet(network: network)
      for index in 0..<2 {
        let nat = makeNAT(access[index])
        let address = makeAddress(isPublic: nat == nil)
        let host = nat.map { network.makeHost(address, behind: $0) } ?? network.makeHost(address)
        let swarm = testnet.makeSwarm(on: host, options: SwarmOptions()) { $0.migration = migrates }
        swarm.onConnection = { [weak self] connection in
          guard let self else { return }
          reported[index] += 1
          connection.onMessage = { [weak self] _ in self?.heard(index) }
          connection.onPathChange = { [weak self] _ in self?.pathChanges[index] += 1 }
        }
        swarms.append(swarm)
      }
      // The second one is the client of the first.
      var isReady = false
      try swarms[0].join(VirtualSwarm.topic("moving"), client: false) { isReady = $0 }
      network.run(within: .seconds(60)) { isReady }
      try swarms[1].join(VirtualSwarm.topic("moving"))
      network.run(within: .seconds(60)) { [self] in swarms.allSatisfy { $0.connections.count == 1 } }
      network.advance(by: .seconds(30))
      talk()
      network.advance(by: .seconds(1))
    }

    private func heard(_ index: Int) {
      received[index] += 1
      lastHeard[index] = network.now
    }

    private func talk() {
      for swarm in swarms { for connection in swarm.connections { connection.write([1, 2, 3]) } }
      network.schedule(after: .milliseconds(20)) { [weak self] in self?.talk() }
    }

    private func makeNAT(_ access: Access) -> VirtualNAT? {
      switch access {
      case .open: nil
      case .cone: network.makeNAT(mapping: .endpointIndependent, filter: .endpointIndependent)
      case .portRestricted: network.makeNAT(mapping: .endpointIndependent, filter: .addressAndPortDependent)
      }
    }

    private func makeAddress(isPublic: Bool) -> IPv4Address {
      places += 1
      return isPublic ? IPv4Address(9, 9, places, 1) : IPv4Address(192, 168, places, 10)
    }

    func move(_ index: Int, _ access: Access) {
      let nat = makeNAT(access)
      swarms[index].host.move(to: makeAddress(isPublic: nat == nil), behind: nat)
    }

    /// Microseconds until both hear each other again, `nil` if they do not.
    func timeToTalk() -> UInt64? {
      let start = network.now
      // What was under way before does not count.
      network.advance(by: .milliseconds(30))
      let before = received
      guard network.run(within: .seconds(60), until: { [self] in received[0] > before[0] && received[1] > before[1] })
      else { return nil }
      return network.now - start
    }

    func destroy() {
      for swarm in swarms { swarm.destroy() }
      testnet.destroy()
      network.advance(by: .seconds(60))
    }
  }

  private func check(_ seed: UInt64, _ access: [Access], movers: [Int], migrates: Bool) throws {
    let what = "seed \(seed), movers \(movers), server \(access[0]), client \(access[1])"
    let world = try World(seed, access, migrates: migrates)
    XCTAssertEqual(world.swarms.map(\.connections.count), [1, 1], what)
    let before = world.swarms.map { $0.connections.first?.stream }
    for mover in movers { world.move(mover, access[mover]) }
    let time = try XCTUnwrap(world.timeToTalk(), what)
    XCTAssertLessThan(time, migrates ? 1_000_000 : 2_000_000, what)
    world.network.advance(by: .seconds(20))
    XCTAssertEqual(world.swarms.map(\.connections.count), [1, 1], what)
    let pathsChanged = world.pathChanges.map { $0 > 0 }
    // Without migration the side that stays follows what decrypts, where that reaches it; else they connect again.
    let goesOn = migrates || world.reported == [1, 1]
    XCTAssertEqual(world.reported, goesOn ? [1, 1] : [2, 2], "\(what): without flapping")
    XCTAssertEqual(pathsChanged, [0, 1].map { migrates || goesOn && !movers.contains($0) }, what)
    if goesOn {
      XCTAssertTrue(world.swarms.map { $0.connections.first?.stream }.elementsEqual(before, by: ===), what)
    }
    world.destroy()
  }

  private func checkAll(migrates: Bool, seed first: UInt64) throws {
    var seed = first
    for movers in [[1], [0], [0, 1]] {
      for server in Access.allCases {
        for client in Access.allCases {
          try check(seed, [server, client], movers: movers, migrates: migrates)
          seed += 1
        }
      }
    }
    print("moving swarms, streams move: \(migrates), seeds \(first)...\(seed - 1)")
  }

  /// The client, the server, both: connected again within two seconds, also with peers that cannot move streams.
  func testConnectedAgainWithinTwoSeconds() throws { try checkAll(migrates: false, seed: 1) }

  /// Between two of ours the connections go on.
  func testConnectionsGoOn() throws { try checkAll(migrates: true, seed: 101) }
}
