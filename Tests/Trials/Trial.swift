import HyperEncoding
import HyperSecretStream
import HyperswarmEngine
import HyperswarmTesting

/// Swarms of one topic in a world where hosts lose their network, move, sleep and die, and what must hold all the time:
/// no hang, no connection that is none, no leak, and every pair connected soon after the last disturbance.
///
/// Disturbances come in phases; after each one all are over, and the pairs are counted.
final class Trial {
  struct Outcome {
    var seed: UInt64
    var virtualTime: Duration
    var phases = 0
    var counts: [Disturbance: Int] = [:]
    var reports = 0
    var settled = 0
    var datagrams = 0
    var digest: UInt64
    /// Empty where all is well.
    var violations: [String]
  }

  let network: VirtualNetwork
  let testnet: VirtualTestnet
  let topic = VirtualSwarm.topic("a trial")
  /// Places that a member may be at: behind a NAT box, or on a public address.
  let sites: [VirtualNAT?]
  private(set) var members: [Member] = []
  private var membersByKey: [Bytes32: Member] = [:]
  var counts: [Disturbance: Int] = [:]
  var addressCount = 0
  /// No disturbance lasts longer.
  private(set) var phaseEnd = Duration.zero

  private let settlements: Settlements
  private let relayHost: VirtualHost
  private var relays: [Bytes32] = []
  private var violations: [String] = []
  private var phases = 0
  private var datagrams = 0
  /// Mean of the pause between two disturbances.
  private let pause: Duration
  private let onLine: ((String) -> Void)?
  /// Tells disturbances, dials and connections, too.
  private let isVerbose: Bool

  /// Violations after which a trial ends: the rest would only repeat them.
  private static let maximumViolations = 20

  init(
    seed: UInt64, size: Int = 20, pause: Duration = .seconds(15), isVerbose: Bool = false,
    onLine: ((String) -> Void)? = nil
  ) throws {
    self.isVerbose = isVerbose
    self.onLine = onLine
    network = VirtualNetwork(seed: seed)
    self.pause = pause
    testnet = try VirtualTestnet(network: network, size: 8)
    network.conditions = LinkConditions(
      latency: .milliseconds(20), jitter: .milliseconds(20), loss: 0.005, duplication: 0.002, reordering: 0.005)
    settlements = Settlements(network: network)
    relayHost = network.makeHost()
    let kinds: [(VirtualNAT.Mapping, VirtualNAT.Filter)] = [
      (.portPreserving, .addressAndPortDependent), (.endpointIndependent, .addressAndPortDependent),
      (.endpointIndependent, .addressDependent), (.portPreserving, .endpointIndependent),
      (.portPreserving, .addressDependent),
    ]
    var sites: [VirtualNAT?] = (0..<size).map { [network] in
      let nat = network.makeNAT(mapping: kinds[$0 % kinds.count].0, filter: kinds[$0 % kinds.count].1)
      nat.mappingLifetime = .seconds(60)
      return nat
    }
    sites += [VirtualNAT?](repeating: nil, count: size / 4)
    self.sites = sites
    settlements.onViolation = { [unowned self] in violate($0) }
    network.shouldDrop = { [unowned self] _ in
      datagrams += 1
      return false
    }
    testnet.makeRelay(on: relayHost) { [unowned self] in relays = $0.map { [$0] } ?? [] }
    network.advance(by: .seconds(20))
    for number in 0..<size { makeMember(number) }
  }

  private func makeMember(_ number: Int) {
    let site = sites[(number * 7) % sites.count]
    let host =
      if let site {
        network.makeHost(freshAddress(isPrivate: true), behind: site)
      } else {
        network.makeHost(freshAddress(isPrivate: false))
      }
    let member = Member(name: "member \(number)", host: host, network: network, settlements: settlements)
    member.onViolation = { [unowned self] in violate($0) }
    if isVerbose {
      member.onEvent = { [unowned self, name = member.name] in tell("\(name): \($0)") }
      tell("\(member.name) is \(Member.short(member.keyPair.publicKey))")
    }
    member.onEnd = { [unowned self] in pair($0) }
    members.append(member)
    membersByKey[member.keyPair.publicKey] = member
    start(member)
  }

  func start(_ member: Member) {
    do {
      try member.start(testnet, relays: relays, topic: topic)
    } catch {
      violate("\(member.name): \(error)")
    }
  }

  private func violate(_ what: String) {
    let line = "\(network.elapsed): \(what)"
    violations.append(line)
    onLine?("  " + line)
  }

  func tell(_ what: @autoclosure () -> String) {
    if isVerbose { onLine?("    \(network.elapsed): \(what())") }
  }

  private var hasFailed: Bool { violations.count >= Trial.maximumViolations }

  // MARK: Time

  /// Lets time pass in steps; a step that does not end is a hang.
  private func pass(_ duration: Duration) {
    let end = network.elapsed + duration
    while network.elapsed < end, !hasFailed {
      let step = min(.seconds(1), end - network.elapsed)
      var last = network.now
      var events = 0
      let isStuck = network.run(within: step) { [network] in
        if network.now != last {
          last = network.now
          events = 0
        }
        events += 1
        return events > Bounds.eventsAtOnce
      }
      if isStuck {
        violate("hang: events without end, and no time passes")
        return
      }
      settlements.check()
      checkEnds()
    }
  }

  // MARK: The run

  func run(for duration: Duration) -> Outcome {
    phaseEnd = network.elapsed
    rest()
    while network.elapsed < duration, !hasFailed {
      phases += 1
      phaseEnd = network.elapsed + .seconds(Int.random(in: 60...600, using: &network.random))
      while network.elapsed < phaseEnd, !hasFailed {
        disturb()
        talk()
        let wait = Duration.milliseconds(Int.random(in: 1...Int(pause / .milliseconds(1)) * 2, using: &network.random))
        pass(min(wait, phaseEnd - network.elapsed))
      }
      // A kill takes some milliseconds more.
      while members.contains(where: \.isDisturbed), network.elapsed < phaseEnd + Bounds.destroy {
        pass(.milliseconds(10))
      }
      rest()
    }
    let reports = members.reduce(0) { $0 + $1.reports }
    tearDown()
    return Outcome(
      seed: network.seed, virtualTime: network.elapsed, phases: phases, counts: counts, reports: reports,
      settled: settlements.settledCount, datagrams: datagrams, digest: network.traceDigest, violations: violations)
  }

  /// Some messages over connections here and there.
  private func talk() {
    for member in members {
      guard let end = member.ends.randomElement(using: &network.random) else { continue }
      end.write(size: Int.random(in: 0...20_000, using: &network.random))
    }
  }

  /// Nothing happens for a while: then all pairs are connected, and messages pass.
  private func rest() {
    pass(Bounds.reunion)
    guard !hasFailed else { return }
    var missing: [String] = []
    for (index, a) in members.enumerated() {
      for b in members[(index + 1)...] where !isPaired(a, b) { missing.append("\(a.name) and \(b.name)") }
    }
    if !missing.isEmpty {
      violate("\(missing.count) pairs are not connected: \(missing.prefix(5).joined(separator: ", "))")
      for member in members { tell("\(member.name): \(member.state)") }
    }
    let before = datagrams
    let start = network.elapsed
    for member in members { for end in member.ends { end.write(size: 100) } }
    pass(Bounds.message)
    for member in members { for end in member.ends where end.openedAt < start { checkDelivery(end, of: member) } }
    checkTables()
    let rate = (datagrams - before) / members.count / Int(Bounds.message.components.seconds)
    if rate > Bounds.quietDatagrams { violate("\(rate) datagrams a second and swarm while nothing happens") }
  }

  private func isPaired(_ a: Member, _ b: Member) -> Bool {
    a.ends.contains { end in end.connection.remotePublicKey == b.keyPair.publicKey && other(of: end) != nil }
  }

  private func other(of end: End) -> End? { end.other.flatMap { $0.connection.isClosed ? nil : $0 } }

  private func member(_ key: Bytes32) -> Member? { membersByKey[key] }

  /// Both ends know each other as long as both are there.
  private func pair(_ end: End) {
    guard let peer = member(end.connection.remotePublicKey) else { return }
    end.peer = peer
    guard let other = peer.ends.first(where: { $0.session == end.session && $0 !== end }) else { return }
    end.other = other
    other.other = end
  }

  private func checkDelivery(_ end: End, of member: Member) {
    guard let peer = end.peer, let other = other(of: end) else { return }
    if other.received != end.sent {
      violate("\(member.name) to \(peer.name): \(other.received) of \(end.sent) messages have arrived")
    }
  }

  // MARK: Oracles

  /// A connection has its other end, and both are in reach, or it ends soon.
  private func checkEnds() {
    let now = network.elapsed
    for member in members {
      for end in member.ends {
        guard let peer = end.peer else { continue }
        let isWhole = !member.isCutOff && !peer.isCutOff && other(of: end) != nil
        if isWhole {
          end.loneSince = nil
        } else if end.loneSince == nil {
          end.loneSince = now
        } else if let since = end.loneSince, now - since > bound(of: member, since), !end.isReported {
          end.isReported = true
          violate(
            "\(member.name): a connection with \(peer.name), \(now - end.openedAt) old, without its other end for "
              + "\(now - since)")
          tell(end.state)
        }
      }
    }
  }

  private func bound(of member: Member, _ since: Duration) -> Duration {
    member.disturbedAt > since - .seconds(5) ? Bounds.loneOnANewPath : Bounds.lone
  }

  /// What is kept is bounded by what is there.
  private func checkTables() {
    for member in members {
      guard let swarm = member.swarm else { continue }
      let node = swarm.engine.dht
      let statistics = swarm.engine.statistics
      let bounds = [
        ("known peers", statistics.known, members.count), ("connections", swarm.connections.count, members.count),
        ("dials", statistics.connecting, 3), ("streams", node.rawStreamCount, 3 * members.count),
        ("handshakes", swarm.engine.server.server?.handshakeCount ?? 0, 4 * members.count),
        ("sockets", member.host.openSocketCount, 4 + 2 * members.count),
      ]
      for (what, count, bound) in bounds where count > bound { violate("\(member.name): \(count) \(what)") }
    }
  }

  /// After the end of all swarms nothing is left of them.
  private func tearDown() {
    weak let engine = members.first?.swarm?.engine
    for member in members {
      if member.isCutOff { member.cutOff(false) }
      member.stop {}
    }
    network.advance(by: .seconds(15))
    for member in members { checkGone(member.name, member.host) }
    if engine != nil { violate("a swarm is still in memory") }
    let done = settlements.expect("testnet: destroy", within: .seconds(60))
    testnet.destroy(done)
    network.runUntilIdle(within: 120_000)
    settlements.check()
    for name in settlements.openNames { violate("\(name) has never settled") }
    for host in testnet.hosts { checkGone("a node", host) }
    checkGone("the relay", relayHost)
    if network.pendingEventCount > 0 { violate("\(network.pendingEventCount) timers are left") }
  }

  private func checkGone(_ name: String, _ host: VirtualHost) {
    let left = [
      ("sockets", host.openSocketCount), ("streams", host.openStreamCount),
      ("interface watches", host.interfaceWatchCount),
    ]
    for (what, count) in left where count > 0 { violate("\(name): \(count) \(what) are left") }
  }
}
