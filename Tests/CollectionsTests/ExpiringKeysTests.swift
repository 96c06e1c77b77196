import XCTest

@testable import HyperCollections

final class ExpiringKeysTests: XCTestCase {
  func testTheTimeItselfIsTooLate() {
    var keys = ExpiringKeys<Int>(limit: 4)
    keys.insert(1, until: 10)
    XCTAssertTrue(keys.contains(1, at: 9))
    XCTAssertFalse(keys.contains(1, at: 10))
    XCTAssertFalse(keys.contains(2, at: 0))
  }

  func testTheOldestIsForgottenFirst() {
    var keys = ExpiringKeys<Int>(limit: 3)
    for key in 0..<3 { keys.insert(key, until: 10) }
    XCTAssertTrue(keys.contains(0, at: 0))
    keys.insert(3, until: 10)
    XCTAssertEqual(keys.count, 3)
    XCTAssertEqual((0..<4).map { keys.contains($0, at: 0) }, [false, true, true, true])
  }

  func testAnInsertedKeyIsNewAgain() {
    var keys = ExpiringKeys<Int>(limit: 2)
    keys.insert(0, until: 10)
    keys.insert(1, until: 10)
    keys.insert(0, until: 20)
    XCTAssertEqual(keys.count, 2)
    var roomy = ExpiringKeys<Int>(limit: 3)
    for _ in 0..<2 { roomy.insert(0, until: 10) }
    XCTAssertEqual(roomy.count, 1)
    XCTAssertTrue(keys.contains(0, at: 19))
    keys.insert(2, until: 10)
    XCTAssertEqual((0..<3).map { keys.contains($0, at: 0) }, [true, false, true])
  }

  func testRemovalMakesRoom() {
    var keys = ExpiringKeys<Int>(limit: 2)
    keys.insert(0, until: 10)
    keys.insert(1, until: 10)
    keys.remove(1)
    keys.remove(7)
    XCTAssertEqual(keys.count, 1)
    keys.insert(2, until: 10)
    XCTAssertEqual((0..<3).map { keys.contains($0, at: 0) }, [true, false, true])
  }
}
