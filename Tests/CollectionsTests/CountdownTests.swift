import XCTest

@testable import HyperCollections

final class CountdownTests: XCTestCase {
  func testRunsOnceWhenAllHaveLeft() {
    var runs = 0
    let countdown = Countdown { runs += 1 }
    let first = countdown.enter()
    let second = countdown.enter()
    countdown.seal()
    first()
    XCTAssertEqual(runs, 0)
    first()
    XCTAssertEqual(runs, 0, "one entry leaves once")
    second()
    XCTAssertEqual(runs, 1)
    second()
    first()
    XCTAssertEqual(runs, 1)
  }

  func testWaitsForTheSeal() {
    var runs = 0
    let countdown = Countdown { runs += 1 }
    countdown.enter()()
    countdown.enter()()
    XCTAssertEqual(runs, 0)
    countdown.seal()
    XCTAssertEqual(runs, 1)
  }

  func testWithoutEntriesTheSealRunsIt() {
    var runs = 0
    Countdown { runs += 1 }.seal()
    XCTAssertEqual(runs, 1)
  }

  func testTheClosureIsReleasedAfterItsRun() {
    final class Token {}
    weak var token: Token?
    let countdown: Countdown
    do {
      let strong = Token()
      token = strong
      countdown = Countdown { _ = strong }
    }
    XCTAssertNotNil(token)
    countdown.seal()
    XCTAssertNil(token)
  }
}
