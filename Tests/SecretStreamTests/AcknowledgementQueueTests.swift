import CHyperAllocations
import HyperEnvironment
import XCTest

/// The writes of a stream that are not acknowledged, without a stream.
final class AcknowledgementQueueTests: XCTestCase {
  func testAFlushWaitsForWhatWasWrittenBefore() {
    for isAlone in [false, true] {
      let queue = AcknowledgementQueue()
      XCTAssertFalse(queue.flush { _ in XCTFail("nothing is outstanding") })
      let first = queue.write(isAlone: isAlone)
      let second = queue.write(isAlone: isAlone)
      var done: [Bool] = []
      XCTAssertTrue(queue.flush { done.append($0) })
      XCTAssertTrue(queue.flush { done.append($0) }, "no write between the two")
      let third = queue.write(isAlone: isAlone)
      first(true)
      XCTAssertEqual(done, [])
      second(true)
      XCTAssertEqual(done, [true, true])
      XCTAssertFalse(queue.isEmpty)
      third(true)
      XCTAssertTrue(queue.isEmpty)
      // Begins anew.
      let fourth = queue.write()
      XCTAssertTrue(queue.flush { done.append($0) })
      fourth(true)
      XCTAssertEqual(done, [true, true, true])
    }
  }

  func testAWriteThatIsLostFailsTheFlushesAtTheClose() {
    for isAlone in [false, true] {
      let queue = AcknowledgementQueue()
      let write = queue.write(isAlone: isAlone)
      var done: [Bool] = []
      XCTAssertTrue(queue.flush { done.append($0) })
      write(false)
      XCTAssertFalse(queue.isEmpty)
      queue.close()
      XCTAssertEqual(done, [false])
      XCTAssertTrue(queue.isEmpty)
      write(true)
      XCTAssertEqual(done, [false], "once")
    }
  }

  func testAFlushMayWrite() {
    let queue = AcknowledgementQueue()
    let first = queue.write(isAlone: true)
    var second: ((Bool) -> Void)?
    XCTAssertTrue(queue.flush { _ in second = queue.write(isAlone: true) })
    first(true)
    XCTAssertFalse(queue.isEmpty, "the second one is outstanding")
    second?(true)
    XCTAssertTrue(queue.isEmpty)
  }

  /// Keepalives are lone writes: what an idle connection would keep for the next one is given back.
  func testALoneWriteKeepsNothing() throws {
    try XCTSkipIf(hyper_objects() < 0, "not counted here")
    let queue = AcknowledgementQueue()
    /// Objects that one write and its acknowledgement make.
    func objects(isAlone: Bool) -> Int64 {
      let before = hyper_objects()
      let acknowledge = queue.write(isAlone: isAlone)
      acknowledge(true)
      return hyper_objects() - before
    }
    _ = objects(isAlone: true)
    XCTAssertGreaterThan(objects(isAlone: true), 0, "made anew")
    _ = objects(isAlone: false)
    XCTAssertEqual(objects(isAlone: false), 0, "kept for the next of many")
    XCTAssertEqual(objects(isAlone: true), 0, "what is there is used")
    XCTAssertGreaterThan(objects(isAlone: false), 0, "and given back")
  }
}
