import HyperEncoding
import XCTest

@testable import HyperRPC

final class RequestShareTests: XCTestCase {
  /// Forged requests for a slow command of the application, of hosts that do not exist, and many of one that does.
  func testRequestsOfOthersFindPlaces() {
    var shares = RequestShares(limit: 256)
    var taken = 0
    for number in 0..<10_000 as Range<UInt32> {
      let source = Endpoint(host: IPv4Address(value: 0x0b00_0000 + number), port: 1)
      if shares.enter(source, isProven: false) { taken += 1 }
    }
    XCTAssertEqual(taken, 128)
    let heavy = Endpoint(host: IPv4Address(9, 9, 9, 9), port: 1)
    var own = 0
    while shares.enter(heavy, isProven: true) { own += 1 }
    XCTAssertEqual(own, 64)
    let other = Endpoint(host: IPv4Address(9, 9, 9, 8), port: 1)
    XCTAssertTrue(shares.enter(other, isProven: true))
    XCTAssertEqual(shares.count, 193)
    shares.leave(heavy, isProven: true)
    XCTAssertTrue(shares.enter(heavy, isProven: true))
    var local = 0
    while shares.enter(Endpoint(host: IPv4Address(127, 0, 0, 1), port: 1), isProven: false) { local += 1 }
    XCTAssertEqual(shares.count, 256, "loopback has what is left")
    XCTAssertEqual(local, 63)
  }
}
