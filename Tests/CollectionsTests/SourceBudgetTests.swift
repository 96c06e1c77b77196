import HyperEncoding
import XCTest

@testable import HyperCollections

final class SourceBudgetTests: XCTestCase {
  private let hostA = IPv4Address(1, 1, 1, 1)
  private let hostB = IPv4Address(2, 2, 2, 2)

  private func budget(
    burst: UInt64, perSecond: UInt64, total: Rate? = nil, sources: Int = 100, now: UInt64 = 0
  ) -> SourceBudget {
    SourceBudget(
      .init(perSource: Rate(burst: burst, perSecond: perSecond), total: total, maximumSources: sources), now: now)
  }

  func testBucketIsExact() {
    var bucket = TokenBucket(Rate(burst: 2, perSecond: 3), now: 100)
    XCTAssertTrue(bucket.take(2, now: 100))
    XCTAssertFalse(bucket.take(now: 100))
    // A third of a second is 333.3 ms: three units a second lose nothing to rounding.
    XCTAssertFalse(bucket.take(now: 433))
    XCTAssertTrue(bucket.take(now: 434))
    XCTAssertFalse(bucket.take(now: 766))
    XCTAssertTrue(bucket.take(now: 767))
    XCTAssertTrue(bucket.take(now: 1100))
    XCTAssertFalse(bucket.take(now: 1100))
  }

  func testBucketNeverHoldsMoreThanItsBurst() {
    for now in [1999, 2000, 2001, 1_000_000, UInt64.max] as [UInt64] {
      var bucket = TokenBucket(Rate(burst: 10, perSecond: 5), now: 0)
      XCTAssertTrue(bucket.take(10, now: 0))
      XCTAssertEqual(bucket.take(10, now: now), now >= 2000, "\(now)")
      XCTAssertFalse(bucket.take(10, now: now))
    }
    var full = TokenBucket(Rate(burst: 10, perSecond: 5), now: 0)
    XCTAssertFalse(full.take(11, now: .max))
    XCTAssertTrue(full.take(10, now: .max))
  }

  func testBucketLeavesAReserve() {
    var bucket = TokenBucket(Rate(burst: 4, perSecond: 1), now: 0)
    XCTAssertTrue(bucket.take(above: 750, now: 0))
    XCTAssertFalse(bucket.take(above: 750, now: 0), "3 of 4 is not more than three quarters")
    XCTAssertTrue(bucket.take(above: 500, now: 0))
    XCTAssertFalse(bucket.take(above: 500, now: 0))
    XCTAssertTrue(bucket.take(above: 0, now: 0))
    XCTAssertTrue(bucket.take(above: 0, now: 0))
    XCTAssertFalse(bucket.take(above: 0, now: 999))
    XCTAssertTrue(bucket.take(above: 0, now: 1000))
  }

  func testSourcesLeaveAReserve() {
    var budget = budget(burst: 4, perSecond: 1, total: Rate(burst: 8, perSecond: 1))
    XCTAssertEqual((0..<4).filter { _ in budget.take(hostA, above: 500, now: 0) }.count, 2)
    XCTAssertEqual((0..<4).filter { _ in budget.take(hostA, now: 0) }.count, 2, "what was left is for others")
    XCTAssertTrue(budget.take(hostB, above: 749, now: 0), "the total is for all alike")
    XCTAssertFalse(budget.take(hostB, above: 750, now: 0))
    XCTAssertEqual((0..<4).filter { _ in budget.take(hostB, now: 0) }.count, 3)
    XCTAssertFalse(budget.take(IPv4Address(3, 3, 3, 3), above: 0, now: 0), "and it is used up")
    XCTAssertTrue((0..<20).allSatisfy { _ in budget.take(.loopback, above: 500, now: 0) })
  }

  /// A source that was forgotten because of many others gets no second burst.
  func testForgottenSourcesGetNoSecondBurst() {
    var budget = budget(burst: 100, perSecond: 5, sources: 10)
    for _ in 0..<100 { XCTAssertTrue(budget.take(hostA, now: 0)) }
    XCTAssertFalse(budget.take(hostA, now: 0))
    for value in 0..<40 { _ = budget.take(IPv4Address(value: 9 << 24 + UInt32(value)), now: 0) }
    XCTAssertEqual((0..<10).filter { _ in budget.take(hostA, now: 0) }.count, 5)
    XCTAssertEqual((0..<200).filter { _ in budget.take(hostB, now: 1_000_000) }.count, 100, "and that passes")
  }

  /// Invented sources above the total make nothing forgotten.
  func testSourcesAboveTheTotalAreNotRemembered() {
    var budget = budget(burst: 10, perSecond: 1, total: Rate(burst: 20, perSecond: 1), sources: 1000)
    for value in 0..<500 { _ = budget.take(IPv4Address(value: 9 << 24 + UInt32(value)), now: 0) }
    XCTAssertEqual(budget.trackedCount, 20)
  }

  func testBucketWithoutRateIsABurst() {
    var bucket = TokenBucket(Rate(burst: 1, perSecond: 0), now: 0)
    XCTAssertTrue(bucket.take(now: 0))
    XCTAssertFalse(bucket.take(now: .max))
  }

  func testBucketIgnoresAClockThatGoesBack() {
    var bucket = TokenBucket(Rate(burst: 1, perSecond: 1), now: 1000)
    XCTAssertTrue(bucket.take(now: 1000))
    XCTAssertFalse(bucket.take(now: 0))
    XCTAssertFalse(bucket.take(now: 1999))
    XCTAssertTrue(bucket.take(now: 2000))
  }

  func testRefillTimeIsRoundedUp() {
    XCTAssertEqual(Rate(burst: 1, perSecond: 3).refillTime, 334)
    XCTAssertEqual(Rate(burst: 3, perSecond: 3).refillTime, 1000)
    XCTAssertEqual(Rate(burst: 3, perSecond: 0).refillTime, 0)
  }

  func testSourcesHaveBucketsOfTheirOwn() {
    var budget = budget(burst: 10, perSecond: 5, sources: 8)
    for _ in 0..<10 { XCTAssertTrue(budget.take(hostA, now: 0)) }
    XCTAssertFalse(budget.take(hostA, now: 0))
    XCTAssertFalse(budget.take(hostA, now: 199))
    XCTAssertTrue(budget.take(hostA, now: 200))
    XCTAssertTrue(budget.take(hostB, now: 200))
    var granted = 0
    for _ in 0..<100 where budget.take(hostA, now: 1_000_000) { granted += 1 }
    XCTAssertEqual(granted, 10)
    XCTAssertFalse(budget.take(hostB, cost: 11, now: 1_000_000))
    XCTAssertTrue(budget.take(hostB, cost: 10, now: 1_000_000))
  }

  func testLoopbackIsExempt() {
    var budget = budget(burst: 1, perSecond: 0, total: Rate(burst: 1, perSecond: 0))
    for last in 0..<100 { XCTAssertTrue(budget.take(IPv4Address(127, 9, 9, UInt8(last)), now: 0)) }
    XCTAssertEqual(budget.trackedCount, 0)
    XCTAssertTrue(budget.take(IPv4Address(128, 0, 0, 0), now: 0))
    XCTAssertFalse(budget.take(IPv4Address(126, 255, 255, 255), now: 0), "the total is used up")
  }

  func testTotalIsChargedOnlyWithWhatASourceMayDo() {
    var budget = budget(burst: 10, perSecond: 1, total: Rate(burst: 20, perSecond: 1))
    for _ in 0..<30 { _ = budget.take(hostA, now: 0) }
    var granted = 0
    for host in 2...50 {
      for _ in 0..<10 where budget.take(IPv4Address(5, 5, 5, UInt8(host)), now: 0) { granted += 1 }
    }
    XCTAssertEqual(granted, 10, "and 10 by the first one")
    // Full again, while the total has one unit.
    XCTAssertTrue(budget.take(IPv4Address(6, 6, 6, 6), now: 1000))
    XCTAssertFalse(budget.take(IPv4Address(6, 6, 6, 7), now: 1000))
  }

  func testNumberOfSourcesIsBounded() {
    var budget = budget(burst: 4, perSecond: 2, sources: 16)
    for value in 0..<1000 {
      _ = budget.take(IPv4Address(value: 9 << 24 + UInt32(value)), now: 0)
      XCTAssertLessThan(budget.trackedCount, 32)
    }
    XCTAssertGreaterThanOrEqual(budget.trackedCount, 16)
  }

  func testASourceIsRememberedUntilItsBucketIsFullAgain() {
    // Full after 100 s; generations last two thirds of twice that.
    var budget = budget(burst: 100, perSecond: 1)
    XCTAssertTrue(budget.take(hostA, cost: 100, now: 0))
    for now in stride(from: UInt64(0), through: 99_999, by: 33_333) {
      XCTAssertFalse(budget.take(hostA, cost: 100, now: now))
    }
    XCTAssertTrue(budget.take(hostA, cost: 100, now: 100_000))
    var silent = self.budget(burst: 100, perSecond: 1)
    XCTAssertTrue(silent.take(hostA, cost: 100, now: 0))
    XCTAssertFalse(silent.take(hostA, cost: 100, now: 99_999))
  }

  func testASourceThatWasChargedBeforeATickIsRememberedAsLong() {
    // Generations last two thirds of 200 s: one tick, at 133.3 s, falls into the time of the refill.
    var budget = budget(burst: 100, perSecond: 1)
    XCTAssertTrue(budget.take(hostA, cost: 100, now: 66_000))
    XCTAssertFalse(budget.take(hostA, cost: 100, now: 165_999))
    XCTAssertTrue(budget.take(hostA, cost: 100, now: 265_999))
  }

  func testTheTotalIsChargedWithTheCost() {
    var budget = budget(burst: 10, perSecond: 1, total: Rate(burst: 5, perSecond: 1))
    XCTAssertTrue(budget.take(hostA, cost: 3, now: 0))
    XCTAssertFalse(budget.take(hostB, cost: 3, now: 0))
    XCTAssertTrue(budget.take(hostB, cost: 2, now: 0))
  }
}
