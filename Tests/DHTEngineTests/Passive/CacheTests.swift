import HyperEncoding
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine

/// The two-generation caches of hyperdht.md 5.1 and 12.1.
final class CacheTests: XCTestCase {
  private typealias Cache = TwoGenerationCache<Int, String>
  private let hostA = IPv4Address(1, 1, 1, 1)
  private let hostB = IPv4Address(2, 2, 2, 2)

  func testDHT_51_untouchedEntriesLiveTwoThirdsToFourThirdsOfTheAge() {
    // Rotations at 800, 1600, 2400, ...
    var cache = Cache(limits: .init(maximumEntries: 100, maximumAge: 1200), now: 0)
    cache.set(1, "at 0", now: 0)
    cache.set(2, "at 799", now: 799)
    XCTAssertEqual(cache.peek(1, now: 1599), "at 0")
    XCTAssertNil(cache.peek(1, now: 1600))
    XCTAssertNil(cache.peek(2, now: 1600), "0.67 of the age")
    cache.set(3, "at 1600", now: 1600)
    XCTAssertEqual(cache.peek(3, now: 3199), "at 1600")
    XCTAssertNil(cache.peek(3, now: 3200), "1.33 of the age")
  }

  func testDHT_51_useExtendsLife() {
    var cache = Cache(limits: .init(maximumEntries: 100, maximumAge: 1200), now: 0)
    cache.set(1, "x", now: 0)
    for now in stride(from: UInt64(700), through: 20_000, by: 700) { XCTAssertEqual(cache.get(1, now: now), "x") }
  }

  func testLongSilenceForgetsEverything() {
    var cache = Cache(limits: .init(maximumEntries: 100, maximumAge: 1200), now: 0)
    cache.set(1, "x", now: 0)
    XCTAssertNil(cache.get(1, now: UInt64.max / 2))
    cache.set(1, "y", now: UInt64.max / 2)
    XCTAssertEqual(cache.get(1, now: UInt64.max / 2 + 10), "y")
  }

  func testDHT_51_fullGenerationRotatesAndSkipsTheNextTick() {
    var cache = Cache(limits: .init(maximumEntries: 4, maximumAge: 1200), now: 0)
    for key in 0..<4 { cache.set(key, "x", now: 0) }
    // The fourth filled the young generation: all four are old now, and the tick at 800 does nothing.
    XCTAssertEqual(cache.peek(0, now: 900), "x")
    XCTAssertEqual(cache.peek(0, now: 1599), "x")
    XCTAssertNil(cache.peek(0, now: 1600))
    for key in 0..<1000 {
      cache.set(key, "y", now: 1601)
      XCTAssertLessThanOrEqual(cache.count, 8)
    }
    XCTAssertEqual(cache.peek(999, now: 1601), "y")
  }

  func testDHT_57_pinnedEntries() {
    var cache = Cache(limits: .init(maximumEntries: 2, maximumAge: 1200), now: 0)
    cache.set(1, "announced", now: 0)
    cache.pin(1, "local")
    XCTAssertFalse(cache.set(1, "announced again", now: 0))
    cache.remove(1)
    for key in 2..<50 { cache.set(key, "x", now: 0) }
    XCTAssertEqual(cache.get(1, now: 1_000_000), "local")
    cache.unpin(1)
    XCTAssertNil(cache.get(1, now: 1_000_000))
    XCTAssertTrue(cache.set(1, "announced", now: 1_000_000))
  }

  func testDHT_B10_byteBudget() {
    var cache = Cache(limits: .init(maximumEntries: 1000, maximumBytes: 100, maximumAge: 1200), now: 0)
    XCTAssertFalse(cache.set(0, "too large", bytes: 101, now: 0))
    for key in 1...50 {
      XCTAssertTrue(cache.set(key, "x", bytes: 30, now: 0))
      XCTAssertLessThanOrEqual(cache.bytes, 200)
    }
    // Rewriting replaces the weight.
    for _ in 1...50 { cache.set(1, "x", bytes: 90, now: 0) }
    XCTAssertLessThanOrEqual(cache.bytes, 200)
    cache.removeAll()
    XCTAssertEqual(cache.bytes, 0)
  }

  func testDHT_B10_oneHostCannotFillTheCache() {
    var cache = Cache(limits: .init(maximumEntries: 100, maximumEntriesPerHost: 10, maximumAge: 1200), now: 0)
    XCTAssertTrue(cache.set(1000, "other", host: hostB, now: 0))
    for key in 0..<10 { XCTAssertTrue(cache.set(key, "x", host: hostA, now: 0)) }
    for key in 10..<500 { XCTAssertFalse(cache.set(key, "x", host: hostA, now: 0)) }
    XCTAssertTrue(cache.set(5, "rewritten", host: hostA, now: 0))
    XCTAssertEqual(cache.peek(1000, now: 0), "other")
    XCTAssertTrue(cache.set(1001, "x", host: hostB, now: 0))
    // A freed place can be used again.
    cache.remove(3)
    XCTAssertTrue(cache.set(700, "x", host: hostA, now: 0))
  }

  func testNoAgeMeansNoExpiry() {
    var cache = Cache(limits: .init(maximumEntries: 10, maximumAge: 0), now: 0)
    cache.set(1, "x", now: 0)
    XCTAssertEqual(cache.get(1, now: .max), "x")
  }

  func testSourceBudget() {
    var budget = SourceBudget(burst: 10, perSecond: 5, maximumHosts: 8, now: 0)
    for _ in 0..<10 { XCTAssertTrue(budget.take(hostA, now: 0)) }
    XCTAssertFalse(budget.take(hostA, now: 0))
    XCTAssertFalse(budget.take(hostA, now: 199))
    XCTAssertTrue(budget.take(hostA, now: 200))
    XCTAssertTrue(budget.take(hostB, now: 200))
    for _ in 0..<1000 { XCTAssertTrue(budget.take(.loopback, now: 200)) }
    var granted = 0
    for _ in 0..<100 where budget.take(hostA, now: 1_000_000) { granted += 1 }
    XCTAssertEqual(granted, 10)
    XCTAssertFalse(budget.take(hostB, cost: 11, now: 1_000_000))
    XCTAssertTrue(budget.take(hostB, cost: 10, now: 1_000_000))
  }

  func testSourceBudgetOverAllHosts() {
    var budget = SourceBudget(burst: 10, perSecond: 1, total: (20, 1), maximumHosts: 100, now: 0)
    var granted = 0
    for host in 1...50 {
      for _ in 0..<10 where budget.take(IPv4Address(5, 5, 5, UInt8(host)), now: 0) { granted += 1 }
    }
    XCTAssertEqual(granted, 20)
  }

  // MARK: Record store

  private func key(_ index: Int) -> Bytes32 {
    Bytes32((0..<32).map { UInt8(truncatingIfNeeded: index >> ($0 % 4 * 8)) }) ?? Bytes32()
  }

  private func makeStore(_ change: (inout RecordStore.Limits) -> Void = { _ in }) -> (RecordStore, VirtualHost) {
    var limits = RecordStore.Limits()
    limits.maximumAge = 1200
    change(&limits)
    let network = VirtualNetwork(seed: 7)
    networks.append(network)
    return (RecordStore(limits: limits, now: 0), network.makeHost())
  }

  private var networks: [VirtualNetwork] = []

  private let topic = Bytes32(repeating: 0xee)

  func testDHT_24_sampleIsRandomAndCapped() {
    var (store, random) = makeStore()
    // 20 in the old generation, 10 in the young one.
    for index in 0..<20 {
      store.add([UInt8(index)], publicKey: key(index), target: topic, host: nil, now: 0, random: random)
    }
    for index in 20..<30 {
      store.add([UInt8(index)], publicKey: key(index), target: topic, host: nil, now: 900, random: random)
    }
    XCTAssertEqual(store.count, 30)
    var counts = [Int](repeating: 0, count: 30)
    var orders = Set<[[UInt8]]>()
    for _ in 0..<3000 {
      let sample = store.sample(target: topic, maximumCount: 20, now: 900, random: random)
      XCTAssertEqual(sample.count, 20)
      XCTAssertEqual(Set(sample).count, 20)
      orders.insert(sample)
      for record in sample { counts[Int(record[0])] += 1 }
    }
    XCTAssertGreaterThan(orders.count, 2990)
    // Every record is drawn with probability 2/3: 2000 expected, the standard deviation is 26.
    for count in counts { XCTAssertEqual(Double(count), 2000, accuracy: 160) }
    XCTAssertEqual(store.sample(target: key(1), maximumCount: 20, now: 900, random: random), [])
    XCTAssertEqual(Set(store.sample(target: topic, maximumCount: 50, now: 900, random: random)).count, 30)
  }

  func testDHT_121_recordGenerations() {
    var (store, random) = makeStore()
    store.add([1], publicKey: key(1), target: topic, host: nil, now: 0, random: random)
    store.add([2], publicKey: key(2), target: topic, host: nil, now: 0, random: random)
    // Moved to the young generation with a new record; reading does not move the other.
    store.add([11], publicKey: key(1), target: topic, host: nil, now: 900, random: random)
    XCTAssertEqual(Set(store.sample(target: topic, maximumCount: 20, now: 1500, random: random)), [[11], [2]])
    XCTAssertEqual(store.sample(target: topic, maximumCount: 20, now: 1600, random: random), [[11]])
    XCTAssertEqual(store.sample(target: topic, maximumCount: 20, now: 2400, random: random), [])
    XCTAssertEqual(store.count, 0)
  }

  /// hyperdht.md Part C, 14; the reference keeps the first record of a key while it is fresh (hyperdht.md E-4).
  func testDHT_C14_changedRecordReplacesAFreshOne() {
    for replaces in [true, false] {
      var (store, random) = makeStore { $0.replacesChangedRecords = replaces }
      store.add([1], publicKey: key(1), target: topic, host: nil, now: 0, random: random)
      store.add([2], publicKey: key(1), target: topic, host: nil, now: 0, random: random)
      XCTAssertEqual(store.count, 1)
      XCTAssertEqual(
        store.sample(target: topic, maximumCount: 20, now: 0, random: random), [[replaces ? 2 : 1]])
    }
  }

  func testRecordLimits() {
    var (store, random) = makeStore {
      $0.maximumRecords = 100
      $0.maximumRecordsPerTopic = 30
      $0.maximumRecordsPerHost = 50
    }
    for index in 0..<2000 {
      store.add([1], publicKey: key(index), target: topic, host: nil, now: 0, random: random)
      XCTAssertLessThanOrEqual(store.count, 30)
    }
    XCTAssertTrue(store.add([1], publicKey: key(1), target: key(9), host: hostB, now: 0, random: random))
    var stored = 0
    for index in 0..<60
    where store.add([1], publicKey: key(5000 + index), target: key(index), host: hostA, now: 0, random: random) {
      stored += 1
    }
    XCTAssertEqual(stored, 50)
    for index in 0..<1000 {
      store.add([1], publicKey: key(index), target: key(10_000 + index), host: nil, now: 0, random: random)
      XCTAssertLessThanOrEqual(store.count, 200)
    }
  }

  func testRemovalFromBothGenerations() {
    var (store, random) = makeStore()
    for index in 0..<10 {
      store.add([UInt8(index)], publicKey: key(index), target: topic, host: hostA, now: 0, random: random)
    }
    for index in 10..<20 {
      store.add([UInt8(index)], publicKey: key(index), target: topic, host: hostA, now: 900, random: random)
    }
    for index in stride(from: 0, to: 20, by: 2) { store.remove(publicKey: key(index), target: topic) }
    store.remove(publicKey: key(0), target: topic)
    store.remove(publicKey: key(1), target: key(77))
    let left = Set(store.sample(target: topic, maximumCount: 20, now: 900, random: random))
    XCTAssertEqual(left, Set(stride(from: 1, to: 20, by: 2).map { [UInt8($0)] }))
    XCTAssertEqual(store.count, 10)
  }
}
