import XCTest

@testable import CompactEncoding

final class SmokeTests: XCTestCase {
  func testX() { XCTAssertEqual(Endpoint("1.2.3.4:80")?.encoded, [1, 2, 3, 4, 80, 0]) }
}
