import Synchronization
import XCTest

@testable import hyperswarm_cli

/// How many lines strangers can make.
final class CrowdTests: XCTestCase {
  private final class Lines: Sendable {
    let all = Mutex<[String]>([])
  }

  private func make() -> (crowd: Crowd, told: () -> [String]) {
    let lines = Lines()
    let crowd = Crowd(isSummedByItself: false) { line in lines.all.withLock { $0.append(line) } }
    return (crowd, { lines.all.withLock { $0 } })
  }

  func testAScreenAtOnceThenAFewASecond() {
    let (crowd, told) = make()
    let now = ContinuousClock.now
    XCTAssertEqual((0..<1000).count { _ in crowd.admits(.joined, at: now) }, Crowd.burst)
    crowd.summary()
    XCTAssertEqual(told(), ["* and more peers than are shown: \(1000 - Crowd.burst) joined"])
    crowd.summary()
    XCTAssertEqual(told().count, 1, "nothing was left out since")
    for second in 1...3 {
      let later = now + .seconds(second)
      XCTAssertEqual((0..<100).count { _ in crowd.admits(.left, at: later) }, Crowd.perSecond, "second \(second)")
    }
    crowd.omit(.joined)
    crowd.summary()
    XCTAssertEqual(told().last, "* and more peers than are shown: 1 joined, \(3 * (100 - Crowd.perSecond)) left")
    let hour = now + .seconds(3600)
    XCTAssertEqual((0..<1000).count { _ in crowd.admits(.connected, at: hour) }, Crowd.burst, "no more than a screen")
  }

  func testAFewPeersLoseNoLine() {
    let (crowd, told) = make()
    let now = ContinuousClock.now
    for number in 0..<500 {
      XCTAssertTrue(crowd.admits(.connected, at: now + .milliseconds(number * 250)))
    }
    crowd.summary()
    XCTAssertEqual(told(), [])
  }

  /// The line comes without another stranger.
  func testTheSummaryComesByItself() async {
    let (lines, line) = AsyncStream<String>.makeStream()
    let crowd = Crowd { line.yield($0) }
    let now = ContinuousClock.now
    for _ in 0...Crowd.burst { _ = crowd.admits(.refused, at: now) }
    for await text in lines {
      XCTAssertEqual(text, "* and more peers than are shown: 1 were refused")
      break
    }
  }
}
