import XCTest

@testable import HyperCollections

/// What was refused and comes again: when it counts, for how long, and how much is remembered.
final class RefusalsTests: XCTestCase {
  func testACopyCountsFromItsAgeOnUntilItIsForgotten() {
    var refusals = Refusals<Int>(maximumEntries: 10, leastAge: 500, memory: 6000, now: 0)
    XCTAssertFalse(refusals.isAgain(1, now: 0))
    refusals.insert(1, now: 0)
    XCTAssertFalse(refusals.isAgain(1, now: 0))
    XCTAssertFalse(refusals.isAgain(1, now: 499))
    XCTAssertTrue(refusals.isAgain(1, now: 500))
    XCTAssertFalse(refusals.isAgain(2, now: 500))
    XCTAssertTrue(refusals.isAgain(1, now: 3999))
    XCTAssertFalse(refusals.isAgain(1, now: 8000))
  }

  /// Being refused once more makes a message no younger.
  func testTheFirstRefusalCounts() {
    var refusals = Refusals<Int>(maximumEntries: 10, leastAge: 500, memory: 6000, now: 0)
    refusals.insert(1, now: 0)
    refusals.insert(1, now: 499)
    XCTAssertTrue(refusals.isAgain(1, now: 500))
  }

  func testTwoGenerationsAreRemembered() {
    var refusals = Refusals<Int>(maximumEntries: 10, leastAge: 500, memory: 6000, now: 0)
    for number in 0..<1000 { refusals.insert(number, now: 0) }
    XCTAssertLessThan(refusals.count, 20)
    XCTAssertTrue(refusals.isAgain(999, now: 500))
    XCTAssertTrue(refusals.isAgain(990, now: 500))
    XCTAssertFalse(refusals.isAgain(979, now: 500))
  }
}
