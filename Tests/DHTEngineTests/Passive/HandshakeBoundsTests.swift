import HyperCollections
import HyperEncoding
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine

/// The bounds of a server's handshakes as values: order of eviction, shares and rates, each at its edge.
final class HandshakeBoundsTests: XCTestCase {
  private typealias Entry = SessionQueue.Entry

  private func host(_ number: Int) -> IPv4Address { IPv4Address(value: 0x4400_0000 | UInt32(number)) }

  // MARK: Order of eviction

  func testTheHostWithMostIsFoundAndItsOldest() {
    var queue = HostQueue()
    XCTAssertNil(queue.heaviest)
    for (order, number) in [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (6, 1)] {
      queue.insert(UInt64(order), of: host(number))
    }
    XCTAssertEqual(queue.count, 6)
    // Three hosts with two each: the one whose oldest is older.
    XCTAssertEqual(queue.heaviest?.oldest, 1)
    queue.remove(1, of: host(1))
    XCTAssertEqual(queue.heaviest?.oldest, 2, "one is less than two")
    XCTAssertEqual(queue.heaviest?.address, host(2))
    queue.remove(3, of: host(2))
    XCTAssertEqual(queue.heaviest?.oldest, 4)
    queue.remove(4, of: host(2))
    queue.remove(99, of: host(3))
    XCTAssertEqual(queue.count, 4, "what is not there is not removed")
    for (order, number) in [(2, 2), (4, 3), (5, 3), (6, 1)] { queue.remove(UInt64(order), of: host(number)) }
    XCTAssertEqual(queue.count, 0)
    XCTAssertNil(queue.heaviest)
  }

  /// Against a list that is searched anew each time.
  func testTheQueueAgreesWithAList() {
    for seed in 1...20 as ClosedRange<UInt64> {
      var random = SeededRandom(seed: seed)
      var queue = HostQueue()
      var list: [(order: UInt64, host: IPv4Address)] = []
      for order in 0..<400 as Range<UInt64> {
        if random.next() % 3 > 0 || list.isEmpty {
          let host = host(Int(random.next() % 12))
          queue.insert(order, of: host)
          list.append((order, host))
        } else {
          let gone = list.remove(at: Int(random.next() % UInt64(list.count)))
          queue.remove(gone.order, of: gone.host)
        }
        let groups = Dictionary(grouping: list, by: \.host).values
        let best = groups.max { ($0.count, $1[0].order) < ($1.count, $0[0].order) }
        XCTAssertEqual(queue.heaviest?.oldest, best?.first?.order, "seed \(seed)")
        XCTAssertEqual(queue.count, list.count)
      }
    }
  }

  /// Fills the table with sessions of one origin, each of another client and sender.
  private func fill(_ waiting: inout WaitingSessions, _ counts: [HandshakeOrigin: Int], from order: UInt64 = 0) {
    var order = order
    for origin in HandshakeOrigin.allCases {
      for _ in 0..<(counts[origin] ?? 0) {
        waiting.insert(
          Entry(order: order, origin: origin, sender: host(Int(order)), client: host(Int(order))))
        order += 1
      }
    }
  }

  func testNoSessionMakesRoomBeforeTheTableIsFull() {
    var waiting = WaitingSessions()
    fill(&waiting, [.direct: Limits.Server.waitingHandshakes - 1])
    XCTAssertNil(waiting.victim(for: .direct))
    fill(&waiting, [.direct: 1], from: 5000)
    XCTAssertEqual(waiting.victim(for: .direct), 0, "the oldest of equals")
    waiting.remove(Entry(order: 0, origin: .direct, sender: host(0), client: host(0)))
    XCTAssertEqual(waiting.count, Limits.Server.waitingHandshakes - 1)
    XCTAssertNil(waiting.victim(for: .direct))
  }

  func testEachOriginKeepsItsShare() {
    let all = Limits.Server.waitingHandshakes
    let reserve = Limits.Server.reservedHandshakes
    // At its share nothing is taken from relays, one above it the newcomer's own kind is.
    var waiting = WaitingSessions()
    fill(&waiting, [.direct: all - reserve, .relay: reserve])
    XCTAssertEqual(waiting.victim(for: .relay), 0, "direct ones are far above theirs")
    XCTAssertEqual(waiting.victim(for: .stranger), 0)
    // Two origins above their shares: the one that is further above; of equals the newcomer's own.
    let rest = all - 2 * reserve
    var even = WaitingSessions()
    fill(&even, [.direct: reserve + rest / 2, .relay: reserve + rest / 2])
    XCTAssertEqual(even.count, all)
    XCTAssertEqual(even.victim(for: .direct), 0)
    XCTAssertEqual(even.victim(for: .relay), UInt64(reserve + rest / 2))
    XCTAssertEqual(even.victim(for: .stranger), 0, "the first of equals, when it has less than its share itself")
    // With the newcomer both are equally far above: its own kind makes room.
    var odd = WaitingSessions()
    fill(&odd, [.direct: reserve + rest / 2, .relay: reserve + rest / 2 - 1, .stranger: 1])
    XCTAssertEqual(odd.count, all)
    XCTAssertEqual(odd.victim(for: .relay), UInt64(reserve + rest / 2))
    var strangers = WaitingSessions()
    let few = Limits.Server.reservedStrangerHandshakes
    fill(&strangers, [.direct: reserve, .relay: reserve, .stranger: all - 2 * reserve])
    XCTAssertGreaterThan(all - 2 * reserve, few)
    for newcomer in [HandshakeOrigin.direct, .relay, .stranger] {
      XCTAssertEqual(strangers.victim(for: newcomer), UInt64(2 * reserve), "\(newcomer)")
    }
  }

  func testTheHeaviestSenderAndItsHeaviestClientLose() {
    var waiting = WaitingSessions()
    var order: UInt64 = 0
    func insert(_ count: Int, sender: Int, client: (Int) -> Int) {
      for index in 0..<count {
        waiting.insert(Entry(order: order, origin: .relay, sender: host(sender), client: host(client(index))))
        order += 1
      }
    }
    let third = Limits.Server.waitingHandshakes / 3
    insert(third, sender: 1) { 100 + $0 }
    // The heaviest relay, where one client has ten sessions among many with one.
    insert(third - 9, sender: 2) { 5000 + $0 }
    insert(10, sender: 2) { _ in 7 }
    insert(third, sender: 3) { 9000 + $0 }
    // Behind a lighter relay even a client with more is left alone.
    while waiting.count < Limits.Server.waitingHandshakes { insert(1, sender: 4) { _ in 8 } }
    XCTAssertEqual(waiting.victim(for: .relay), UInt64(third + third - 9))
    waiting.remove(Entry(order: UInt64(third + third - 9), origin: .relay, sender: host(2), client: host(7)))
    insert(1, sender: 4) { _ in 8 }
    // Now all relays are equal: the one with the oldest session, of clients with one each.
    XCTAssertEqual(waiting.victim(for: .relay), 0)
  }

  // MARK: Rates

  /// Messages of `count` that are admitted at once, each of another client if `clients`, and sender if `senders`.
  private func admitted(
    _ budget: inout HandshakeBudget, _ origin: HandshakeOrigin, _ count: Int, clients: Bool = true,
    senders: Bool = false, base: Int = 0, now: UInt64 = 0
  ) -> UInt64 {
    var admitted: UInt64 = 0
    for index in 0..<count {
      let client = host(base + (clients ? index : 0))
      let sender = host(0x10_0000 + base + (senders ? index : 0))
      if budget.take(origin, client: client, sender: origin == .direct ? client : sender, now: now) { admitted += 1 }
    }
    return admitted
  }

  func testOneClientHasItsRateOnEveryWay() {
    for origin in HandshakeOrigin.allCases {
      var budget = HandshakeBudget(now: 0)
      XCTAssertEqual(
        admitted(&budget, origin, 3000, clients: false, senders: true), Limits.Server.handshakeBurst, "\(origin)")
      let later = admitted(&budget, origin, 3000, clients: false, senders: true, now: 1000)
      XCTAssertEqual(later, Limits.Server.handshakesPerSecond, "\(origin)")
      // An address that many clients share: what it has used up on one way does not shut the others.
      for other in HandshakeOrigin.allCases where other != origin {
        XCTAssertEqual(admitted(&budget, other, 1, clients: false, base: 0, now: 1000), 1)
      }
    }
  }

  func testOneSenderHasItsRate() {
    var relays = HandshakeBudget(now: 0)
    XCTAssertEqual(admitted(&relays, .relay, 5000), Limits.Server.relayBurst)
    XCTAssertEqual(admitted(&relays, .relay, 5000, now: 1000), Limits.Server.relayPerSecond)
    // The next relay is served.
    XCTAssertEqual(admitted(&relays, .relay, 1, base: 6000, now: 1000), 1)
    var strangers = HandshakeBudget(now: 0)
    XCTAssertEqual(admitted(&strangers, .stranger, 5000), Limits.Server.handshakeBurst)
    XCTAssertEqual(admitted(&strangers, .stranger, 5000, now: 1000), Limits.Server.handshakesPerSecond)
  }

  func testAllOfOneKindHaveTheirRateAndLeaveTheOthersTheirs() {
    let totals: [(HandshakeOrigin, UInt64, UInt64)] = [
      (.direct, Limits.Server.directBurst, Limits.Server.directPerSecond),
      (.relay, Limits.Server.relayedBurst, Limits.Server.relayedPerSecond),
      (.stranger, Limits.Server.strangerBurst, Limits.Server.strangersPerSecond),
    ]
    for (origin, burst, perSecond) in totals {
      var budget = HandshakeBudget(now: 0)
      XCTAssertEqual(admitted(&budget, origin, 5000, senders: true), burst, "\(origin)")
      XCTAssertEqual(admitted(&budget, origin, 5000, senders: true, base: 8000, now: 1000), perSecond, "\(origin)")
      for other in HandshakeOrigin.allCases where other != origin {
        XCTAssertEqual(admitted(&budget, other, 1, base: 20_000, now: 1000), 1, "\(origin) leaves \(other)")
      }
    }
  }

  /// A client above its rate costs the relay that passes it on nothing.
  func testAClientAboveItsRateDoesNotChargeItsRelay() {
    var budget = HandshakeBudget(now: 0)
    XCTAssertEqual(admitted(&budget, .relay, 5000, clients: false), Limits.Server.handshakeBurst)
    let left = Limits.Server.relayBurst - Limits.Server.handshakeBurst
    var others: UInt64 = 0
    for index in 1...5000 {
      if budget.take(.relay, client: host(index), sender: host(0x10_0000), now: 0) { others += 1 }
    }
    XCTAssertEqual(others, left)
  }

  // MARK: Messages that come again, and time

  private func request(_ number: Int, from sender: Int = 0x10_0000) throws -> HandshakeRequest {
    let noise = withUnsafeBytes(of: UInt64(number)) { Array($0) } + [UInt8](repeating: 7, count: 8)
    let client = Endpoint(host: host(number), port: 1)
    return HandshakeRequest(
      noise: noise, isDirect: false, clientAddress: client, from: Endpoint(host: host(sender), port: 1), to: client,
      socket: VirtualNetwork(seed: 1).makeHost().makeSocket())
  }

  /// While all that is new is refused, a message that was refused and comes again is looked at.
  func testAMessageThatComesAgainIsLookedAt() throws {
    var budget = HandshakeBudget(now: 0)
    let flood = Int(Limits.Server.relayBurst)
    for number in 0..<flood { XCTAssertTrue(budget.admits(try request(number), .relay, now: 0)) }
    let first = try request(flood)
    XCTAssertFalse(budget.admits(first, .relay, now: 0))
    let age = Limits.Router.refusalAge * 1000
    // What the relay may have looked at meanwhile is used up by others.
    for number in 0..<flood { _ = budget.admits(try request(10_000 + number), .relay, now: age - 1000) }
    XCTAssertFalse(budget.admits(first, .relay, now: age - 1000), "a client does not repeat itself so soon")
    for number in 0..<flood { _ = budget.admits(try request(20_000 + number), .relay, now: age) }
    XCTAssertFalse(budget.admits(try request(flood + 1), .relay, now: age), "another one")
    XCTAssertTrue(budget.admits(first, .relay, now: age))
    let memory = 2 * Limits.Router.refusalMemory * 1000
    for number in 0..<flood { _ = budget.admits(try request(30_000 + number), .relay, now: memory) }
    XCTAssertFalse(budget.admits(try request(10_000 + flood - 1), .relay, now: memory), "forgotten")
  }

  /// Those that come again have a rate, all together and those of one client.
  func testMessagesThatComeAgainHaveARate() throws {
    for isOneClient in [false, true] {
      var budget = HandshakeBudget(now: 0)
      let flood = Int(Limits.Server.relayBurst)
      for number in 0..<flood { _ = budget.admits(try request(number), .relay, now: 0) }
      let waiting = try (0..<2000).map { number in
        var message = try request(40_000 + number)
        if isOneClient { message.clientAddress = Endpoint(host: host(5), port: 1) }
        return message
      }
      for message in waiting { XCTAssertFalse(budget.admits(message, .relay, now: 0)) }
      let now: UInt64 = 1_000_000
      for number in 0..<flood { _ = budget.admits(try request(50_000 + number), .relay, now: now) }
      let admitted = waiting.count { budget.admits($0, .relay, now: now) }
      let bound = isOneClient ? Limits.Server.repetitionBurst : Limits.Server.relayedBurst / 4
      XCTAssertEqual(admitted, Int(bound))
    }
  }

  /// Where a handshake takes twice the time, a host has half as many looked at; over relays as many, and however long
  /// one takes, an eighth.
  func testSlowHandshakesCountAsMore() {
    for origin in HandshakeOrigin.allCases {
      for (factor, share) in [(1, 1), (2, 2), (100, 8)] as [(UInt64, UInt64)] {
        var budget = HandshakeBudget(now: 0)
        for _ in 0..<200 { budget.spent(factor * Limits.Server.handshakeWork, origin) }
        let count = admitted(&budget, origin, 3000, clients: false, senders: true)
        let expected = Limits.Server.handshakeBurst / (origin == .relay ? 1 : share)
        XCTAssertEqual(Double(count), Double(expected), accuracy: 2, "\(origin), \(factor)")
        for _ in 0..<200 { budget.spent(0, origin) }
        let later = admitted(&budget, origin, 3000, clients: false, senders: true, now: 1000)
        XCTAssertEqual(Double(later), Double(Limits.Server.handshakesPerSecond), accuracy: 8, "\(origin), fast again")
      }
    }
  }

  /// Where a handshake takes ten milliseconds, about half of a hundred are looked at, and the last of the time is for
  /// those that come again.
  func testNewMessagesHaveAShareOfTheTime() throws {
    var budget = HandshakeBudget(now: 0)
    var admitted = 0
    var refused: HandshakeRequest?
    for number in 0..<5000 {
      let now = UInt64(number) * 2000
      let message = try request(number)
      if budget.admits(message, .relay, now: now) {
        budget.spent(10_000, .relay)
        admitted += 1
      } else if refused == nil {
        refused = message
      }
    }
    let all = Limits.Server.workBurst + 10 * Limits.Server.workPerSecond
    XCTAssertLessThanOrEqual(admitted, Int(all / 10_000))
    XCTAssertGreaterThan(admitted, Int(9 * all / 100_000))
    let now: UInt64 = 10_000_000
    XCTAssertFalse(budget.admits(try request(6000), .relay, now: now))
    XCTAssertNotNil(refused)
    for message in [try request(4999), try request(4990)] { XCTAssertFalse(budget.admits(message, .relay, now: now)) }
    let later = now + Limits.Router.refusalAge * 1000
    budget.spent(Limits.Router.refusalAge * Limits.Server.workPerSecond / 1000, .relay)
    XCTAssertFalse(budget.admits(try request(6001), .relay, now: later))
    XCTAssertTrue(budget.admits(try request(6000), .relay, now: later))
    // Clients on other ways have their own, and loopback is exempt.
    XCTAssertTrue(budget.admits(try request(6002), .direct, now: later))
    var local = try request(6003)
    local.from = Endpoint(host: .loopback, port: 1)
    XCTAssertTrue(budget.admits(local, .relay, now: later))
  }

  /// What was spent beyond the share is owed, but for no longer than a burst takes.
  func testTimeIsOwedForABurstAtMost() {
    var share = WorkShare(now: 0)
    XCTAssertTrue(share.hasRoom(above: 0, now: 0))
    share.spend(100 * Limits.Server.workBurst)
    let refill = Limits.Server.workBurst * 1_000_000 / Limits.Server.workPerSecond
    XCTAssertFalse(share.hasRoom(above: 0, now: refill))
    XCTAssertTrue(share.hasRoom(above: 0, now: refill + 10))
    XCTAssertFalse(share.hasRoom(above: 250, now: refill + 10))
    XCTAssertTrue(share.hasRoom(above: 999, now: 100 * refill))
    XCTAssertFalse(share.hasRoom(above: 1000, now: 100 * refill))
  }

  // MARK: Random punches

  private func makePunchBudget(
    interval: UInt64 = 20_000, startsRunning: Bool = false
  ) -> (VirtualNetwork, PunchBudget) {
    let network = VirtualNetwork(seed: 1)
    let budget = PunchBudget(environment: network.makeHost(), interval: interval, startsRunning: startsRunning)
    return (network, budget)
  }

  func testRandomPunchesAreChargedInSockets() {
    XCTAssertNil(PunchBudget.cost(local: .consistent, remote: .open))
    XCTAssertEqual(PunchBudget.cost(local: .consistent, remote: .random), Limits.Punch.randomPortSockets)
    XCTAssertEqual(PunchBudget.cost(local: .random, remote: .consistent), Limits.Punch.birthdaySockets)
    let (network, budget) = makePunchBudget()
    let cost = Limits.Punch.randomPortSockets
    let count = Limits.Punch.randomSockets / cost
    for number in 0..<count {
      XCTAssertTrue(budget.isAvailable(for: host(number << 8), sockets: cost))
      _ = budget.begin(for: host(number << 8), sockets: cost) { XCTFail("has not had its turn") }
    }
    XCTAssertEqual(budget.socketCount, Limits.Punch.randomSockets)
    XCTAssertFalse(budget.isAvailable(for: host(99 << 8), sockets: 1))
    network.advance(by: Limits.Punch.randomPunchTurn - 1)
    XCTAssertFalse(budget.isAvailable(for: host(99 << 8), sockets: 1))
  }

  func testAPunchThatHasHadItsTurnMakesRoom() {
    let (network, budget) = makePunchBudget()
    let cost = Limits.Punch.birthdaySockets
    var stopped: [Int] = []
    _ = budget.begin(for: host(1 << 8), sockets: cost) { stopped.append(1) }
    network.advance(by: 1)
    _ = budget.begin(for: host(2 << 8), sockets: cost) { stopped.append(2) }
    network.advance(by: Limits.Punch.randomPunchTurn - 1)
    XCTAssertTrue(budget.isAvailable(for: host(3 << 8), sockets: cost))
    XCTAssertFalse(budget.isAvailable(for: host(3 << 8), sockets: 2 * cost), "only one has")
    _ = budget.begin(for: host(3 << 8), sockets: cost) { stopped.append(3) }
    XCTAssertEqual(stopped, [1])
    XCTAssertEqual(budget.socketCount, 2 * cost)
    XCTAssertFalse(budget.isAvailable(for: host(1 << 8), sockets: 1), "its network pauses")
  }

  func testAPunchGoesOnWhileThereAreSockets() {
    let (network, budget) = makePunchBudget()
    let cost = Limits.Punch.randomSockets / 2
    _ = budget.begin(for: host(1 << 8), sockets: cost) { XCTFail("there was room") }
    network.advance(by: 2 * Limits.Punch.randomPunchTurn)
    _ = budget.begin(for: host(2 << 8), sockets: cost) {}
    XCTAssertEqual(budget.socketCount, Limits.Punch.randomSockets)
  }

  func testOneNetworkIsAimedAtOnceAndThenPauses() {
    let (network, budget) = makePunchBudget(interval: 5000)
    let aim = host(1 << 8)
    let ticket = budget.begin(for: aim, sockets: 1) {}
    XCTAssertFalse(budget.isAvailable(for: aim, sockets: 1))
    XCTAssertTrue(budget.isAvailable(for: host(2 << 8), sockets: 1))
    budget.end(ticket)
    network.advance(by: 1000)
    budget.end(ticket)
    XCTAssertEqual(budget.socketCount, 0)
    network.advance(by: 3999)
    XCTAssertFalse(budget.isAvailable(for: aim, sockets: 1))
    network.advance(by: 1)
    XCTAssertTrue(budget.isAvailable(for: aim, sockets: 1))
  }

  func testAfterAResumeAllNetworksPause() {
    let (network, budget) = makePunchBudget(interval: 5000, startsRunning: true)
    network.advance(by: 4999)
    XCTAssertFalse(budget.isAvailable(for: host(1), sockets: 1))
    network.advance(by: 1)
    XCTAssertTrue(budget.isAvailable(for: host(1), sockets: 1))
  }

  func testNetworksThatPauseAreBounded() {
    let (_, budget) = makePunchBudget()
    for number in 0...Limits.Punch.punchedNetworks {
      budget.end(budget.begin(for: host(number << 8), sockets: 1) {})
    }
    XCTAssertTrue(budget.isAvailable(for: host(0), sockets: 1), "the oldest is forgotten")
    XCTAssertFalse(budget.isAvailable(for: host(1 << 8), sockets: 1))
    XCTAssertFalse(budget.isAvailable(for: host(Limits.Punch.punchedNetworks << 8), sockets: 1))
  }
}
