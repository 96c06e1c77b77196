import HyperEncoding
import XCTest

@testable import HyperCollections

/// The two-generation caches of hyperdht.md 5.1 and 12.1.
final class TwoGenerationCacheTests: XCTestCase {
  private typealias Cache = TwoGenerationCache<Int, String>
  private let hostA = IPv4Address(1, 1, 1, 1)
  private let hostB = IPv4Address(2, 2, 2, 2)

  func testDHT_51_untouchedEntriesLiveTwoThirdsToFourThirdsOfTheAge() {
    // Rotations at 800, 1600, 2400, ...
    var cache = Cache(.init(maximumEntries: 100, maximumAge: 1200), now: 0)
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
    var cache = Cache(.init(maximumEntries: 100, maximumAge: 1200), now: 0)
    cache.set(1, "x", now: 0)
    for now in stride(from: UInt64(700), through: 20_000, by: 700) { XCTAssertEqual(cache.get(1, now: now), "x") }
  }

  func testLongSilenceForgetsEverything() {
    var cache = Cache(.init(maximumEntries: 100, maximumAge: 1200), now: 0)
    cache.set(1, "x", now: 0)
    XCTAssertNil(cache.get(1, now: UInt64.max / 2))
    cache.set(1, "y", now: UInt64.max / 2)
    XCTAssertEqual(cache.get(1, now: UInt64.max / 2 + 10), "y")
  }

  func testDHT_51_fullGenerationRotatesAndSkipsTheNextTick() {
    var cache = Cache(.init(maximumEntries: 4, maximumAge: 1200), now: 0)
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
    var cache = Cache(.init(maximumEntries: 2, maximumAge: 1200), now: 0)
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
    var cache = Cache(.init(maximumEntries: 1000, maximumBytes: 100, maximumAge: 1200), now: 0)
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

  func testDHT_B10_oneHostFillsTheCacheAndMakesRoom() {
    var cache = Cache(.init(maximumEntries: 100, entriesPerHost: 10, maximumAge: 1200), now: 0)
    XCTAssertTrue(cache.set(1_000_000, "other", host: hostB, now: 0))
    // A share says nothing before the cache is full.
    for key in 0..<98 { XCTAssertTrue(cache.set(key, "x", host: hostA, now: 0)) }
    XCTAssertEqual(cache.count, 99)
    for key in 98..<5000 { XCTAssertTrue(cache.set(key, "x", host: hostA, now: 0)) }
    XCTAssertEqual(cache.count, 99)
    XCTAssertEqual(cache.peek(1_000_000, now: 0), "other")
    // Places of the heavy host are there for others, down to its share.
    for key in 5000..<5087 { XCTAssertTrue(cache.set(key, "x", host: IPv4Address(value: UInt32(key)), now: 0)) }
    XCTAssertEqual(cache.generations.young.hosts[hostA]?.entries, 11)
    XCTAssertEqual(cache.generations.rotations, 0)
    cache.set(6000, "x", host: IPv4Address(value: 6000), now: 0)
    XCTAssertEqual(cache.generations.young.hosts[hostA]?.entries, 10)
    // Now every host is within its share, and the generation turns.
    cache.set(6001, "x", host: IPv4Address(value: 6001), now: 0)
    XCTAssertEqual(cache.generations.rotations, 1)
    XCTAssertEqual(cache.peek(1_000_000, now: 0), "other")
  }

  /// Both generations count, or the same few hosts could push the rest out in two turns.
  func testDHT_B10_sharesCountBothGenerations() {
    for share in [10, 0] {
      var cache = Cache(.init(maximumEntries: 100, entriesPerHost: share, maximumAge: 0), now: 0)
      cache.set(0, "honest", host: hostB, now: 0)
      for key in 1..<2000 { cache.set(key, "x", host: IPv4Address(value: UInt32(9 << 24 + key % 12)), now: 0) }
      XCTAssertEqual(cache.peek(0, now: 0), share > 0 ? "honest" : nil)
    }
  }

  func testDHT_B10_heavyHostsMakeRoomInBytes() {
    var cache = Cache(.init(maximumEntries: 1000, maximumBytes: 1000, bytesPerHost: 100, maximumAge: 0), now: 0)
    cache.set(0, "honest", bytes: 10, host: hostB, now: 0)
    for key in 1..<500 { XCTAssertTrue(cache.set(key, "x", bytes: 30, host: hostA, now: 0)) }
    XCTAssertEqual(cache.peek(0, now: 0), "honest")
    XCTAssertEqual(cache.generations.rotations, 0)
    XCTAssertEqual(cache.bytes, 1000)
    // One that needs the places of many.
    XCTAssertTrue(cache.set(999, "large", bytes: 400, host: IPv4Address(3, 3, 3, 3), now: 0))
    XCTAssertEqual(cache.generations.rotations, 0)
    XCTAssertLessThanOrEqual(cache.bytes, 1000)
    XCTAssertEqual(cache.peek(999, now: 0), "large")
  }

  /// Making room costs about the same whatever the cache holds.
  func testMakingRoomIsCheap() {
    var cache = Cache(.init(maximumEntries: 32_768, entriesPerHost: 2048, maximumAge: 0), now: 0)
    let clock = ContinuousClock()
    let time = clock.measure {
      for key in 0..<100_000 { cache.set(key, "x", host: IPv4Address(value: UInt32(9 << 24 + key % 4)), now: 0) }
    }
    print("100,000 entries of four hosts: \(time)")
    XCTAssertEqual(cache.generations.rotations, 0)
    XCTAssertEqual(cache.count, 32_767)
    XCTAssertLessThan(time, .seconds(20))
  }

  func testNoAgeMeansNoExpiry() {
    var cache = Cache(.init(maximumEntries: 10, maximumAge: 0), now: 0)
    cache.set(1, "x", now: 0)
    XCTAssertEqual(cache.get(1, now: .max), "x")
  }

  func testAGenerationIsFullAtItsMaximumNotAfterIt() {
    var cache = Cache(.init(maximumEntries: 3, maximumAge: 0), now: 0)
    for key in 0..<2 { cache.set(key, "x", now: 0) }
    // Not full yet: the next three entries need one more rotation than two entries have caused.
    cache.set(2, "x", now: 0)
    for key in 3..<5 { cache.set(key, "x", now: 0) }
    XCTAssertEqual(cache.count, 5)
    XCTAssertEqual(cache.peek(0, now: 0), "x")
    cache.set(5, "x", now: 0)
    XCTAssertEqual(cache.count, 3)
    XCTAssertNil(cache.peek(2, now: 0))
    XCTAssertEqual(cache.peek(3, now: 0), "x")
  }

  func testAtLeastOneEntryFits() {
    var cache = Cache(.init(maximumEntries: 0, maximumAge: 0), now: 0)
    XCTAssertTrue(cache.set(1, "x", now: 0))
    XCTAssertEqual(cache.get(1, now: 0), "x")
    XCTAssertTrue(cache.set(2, "y", now: 0))
    XCTAssertNil(cache.peek(1, now: 0))
  }

  func testByteBudgetIsInclusive() {
    var cache = Cache(.init(maximumEntries: 100, maximumBytes: 10, maximumAge: 0), now: 0)
    XCTAssertTrue(cache.set(1, "x", bytes: 10, now: 0))
    XCTAssertFalse(cache.set(2, "x", bytes: 11, now: 0))
    // Ten bytes are there: one more byte starts a generation, and one after that the next.
    XCTAssertTrue(cache.set(2, "x", bytes: 1, now: 0))
    XCTAssertEqual(cache.bytes, 11)
    XCTAssertTrue(cache.set(3, "x", bytes: 9, now: 0))
    XCTAssertEqual(cache.bytes, 20)
    XCTAssertEqual(cache.peek(1, now: 0), "x")
    XCTAssertTrue(cache.set(4, "x", bytes: 1, now: 0))
    XCTAssertNil(cache.peek(1, now: 0))
    XCTAssertEqual(cache.bytes, 11)
  }

  func testPeekSeesWhatARotationWouldLeaveAndDoesNotTouch() {
    var cache = Cache(.init(maximumEntries: 100, maximumAge: 1200), now: 0)
    cache.set(1, "x", now: 0)
    XCTAssertEqual(cache.peek(1, now: 799), "x")
    XCTAssertEqual(cache.peek(1, now: 800), "x", "in the old generation")
    XCTAssertEqual(cache.peek(1, now: 1599), "x")
    XCTAssertNil(cache.peek(1, now: 1600))
    XCTAssertEqual(cache.count, 1, "nothing has rotated yet")
    XCTAssertNil(cache.get(1, now: 1600))
    XCTAssertEqual(cache.count, 0)
  }

  func testAgeIsRoundedUpToWholeMilliseconds() {
    // Two thirds of 1000 are 666.7.
    var cache = Cache(.init(maximumEntries: 100, maximumAge: 1000), now: 5)
    cache.set(1, "x", now: 5)
    XCTAssertEqual(cache.peek(1, now: 5 + 2 * 667 - 1), "x")
    XCTAssertNil(cache.peek(1, now: 5 + 2 * 667))
  }

  func testTwoTicksAfterARotationBySizeAreOneRotation() {
    var cache = Cache(.init(maximumEntries: 2, maximumAge: 1200), now: 0)
    for key in 0..<2 { cache.set(key, "x", now: 0) }
    XCTAssertEqual(cache.peek(0, now: 1599), "x")
    cache.set(2, "y", now: 1599)
    // The tick at 800 was skipped once, and only once.
    XCTAssertEqual(cache.peek(0, now: 1599), "x")
    XCTAssertNil(cache.peek(0, now: 1600))
    XCTAssertEqual(cache.peek(2, now: 1600), "y")
    XCTAssertNil(cache.peek(2, now: 2400))
  }

  func testHostSharesMoveWithTheGeneration() {
    var cache = Cache(.init(maximumEntries: 4, entriesPerHost: 1, maximumAge: 1200), now: 0)
    for key in 0..<3 { cache.set(key, "x", host: hostA, now: 0) }
    cache.set(3, "x", host: hostB, now: 799)
    XCTAssertEqual(cache.count, 3, "one of A made room")
    // The turn at 800: what A has now is old, and B finds room.
    for key in 4..<6 { cache.set(key, "x", host: hostB, now: 800) }
    XCTAssertEqual(cache.count, 5)
    cache.set(6, "x", host: hostA, now: 1600)
    XCTAssertEqual(cache.generations.old.hosts, [hostB: HostUsage(entries: 2)])
    XCTAssertEqual(cache.generations.young.hosts, [hostA: HostUsage(entries: 1)])
  }

  func testTheShortestAgeIsOneMillisecondAGeneration() {
    var cache = Cache(.init(maximumEntries: 100, maximumAge: 1), now: 0)
    cache.set(1, "x", now: 0)
    XCTAssertEqual(cache.peek(1, now: 1), "x")
    XCTAssertNil(cache.peek(1, now: 2))
  }

  func testRemovalGivesBackWhatTheEntryHeld() {
    var cache = Cache(.init(maximumEntries: 100, maximumBytes: 100, entriesPerHost: 3, maximumAge: 0), now: 0)
    for key in 0..<3 { XCTAssertTrue(cache.set(key, "x", bytes: 10, host: hostA, now: 0)) }
    cache.remove(0)
    XCTAssertEqual(cache.bytes, 20)
    XCTAssertEqual(cache.generations.young.hosts[hostA], HostUsage(entries: 2, bytes: 20))
    XCTAssertTrue(cache.set(3, "x", bytes: 10, host: hostA, now: 0))
    XCTAssertTrue(cache.set(3, "x", bytes: 7, host: hostA, now: 0))
    XCTAssertEqual(cache.generations.young.hosts[hostA], HostUsage(entries: 3, bytes: 27))
    for key in 1...3 { cache.remove(key) }
    XCTAssertEqual(cache.bytes, 0)
    XCTAssertTrue(cache.generations.young.hosts.isEmpty, "hosts without entries cost nothing")
  }

  func testARewrittenEntryIsInOneGenerationOnly() {
    var cache = Cache(.init(maximumEntries: 100, maximumAge: 1200), now: 0)
    cache.set(1, "x", bytes: 5, now: 0)
    cache.set(1, "y", bytes: 7, now: 800)
    XCTAssertEqual(cache.count, 1)
    XCTAssertEqual(cache.bytes, 7)
  }
}
