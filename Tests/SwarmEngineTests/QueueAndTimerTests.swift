import HyperEncoding
import HyperswarmTesting
import XCTest

@testable import HyperswarmEngine

final class QueueAndTimerTests: XCTestCase {
  private func makePeer(_ byte: UInt8) -> PeerInfo { PeerInfo(publicKey: Bytes32(repeating: byte)) }

  /// Timers of 500 ms (period 330) and the batches they hand out.
  private func makeTimers() -> (VirtualNetwork, RetryTimers, () -> [[UInt8]]) {
    let network = VirtualNetwork(seed: 1)
    let timers = RetryTimers(environment: network.makeHost(), times: [500, 500, 500, 500])
    let record = Record()
    timers.onBatch = { batch in record.batches.append(batch.map { $0.publicKey.bytes[0] }) }
    return (network, timers, { record.batches })
  }

  private final class Record {
    var batches: [[UInt8]] = []
  }

  func testSW_01_entriesAddedTogetherArriveInOneBatchInOrder() {
    let (network, timers, batches) = makeTimers()
    timers.add(makePeer(1), to: .s)
    timers.add(makePeer(2), to: .s)
    network.advance(by: 659)
    XCTAssertEqual(batches(), [])
    network.advance(by: 1)
    XCTAssertEqual(batches(), [[1, 2]])
  }

  func testSW_02_entriesOfOnePeriodArriveInOneBatch() {
    let (network, timers, batches) = makeTimers()
    timers.add(makePeer(1), to: .s)
    network.advance(by: 300)
    timers.add(makePeer(2), to: .s)
    network.advance(by: 360)
    XCTAssertEqual(batches(), [[1, 2]])
  }

  func testSW_03_entriesOfDifferentPeriodsArriveSeparately() {
    let (network, timers, batches) = makeTimers()
    timers.add(makePeer(1), to: .s)
    network.advance(by: 340)
    timers.add(makePeer(2), to: .s)
    network.advance(by: 330)
    XCTAssertEqual(batches(), [[1]])
    network.advance(by: 330)
    XCTAssertEqual(batches(), [[1], [2]])
  }

  func testSW_04_nothingPendingNoCallAndNoTimer() {
    let (network, timers, batches) = makeTimers()
    network.advance(by: 10_000)
    XCTAssertEqual(batches(), [])
    timers.add(makePeer(1), to: .s)
    network.advance(by: 10_000)
    XCTAssertEqual(batches().count, 1)
    XCTAssertEqual(network.pendingEventCount, 0, "idle timers must not wake up")
  }

  func testSW_retryTimers_newestEntryOfAPeerCountsAndVoidOnesAreBounded() {
    let (network, timers, batches) = makeTimers()
    let peer = makePeer(1)
    for _ in 0..<10_000 { timers.add(peer, to: .x) }
    XCTAssertEqual(timers.count, 1)
    network.advance(by: 2_000)
    XCTAssertEqual(batches(), [[1]])
    XCTAssertFalse(peer.isWaiting)
  }

  func testSW_05_provenPeerIsDeliveredAfterS() {
    let network = VirtualNetwork(seed: 1)
    let timers = RetryTimers(environment: network.makeHost(), times: [50, 150, 250, 350])
    let peer = makePeer(1)
    peer.isProven = true
    peer.attempts = 1
    let timer = RetryTimer.choose(for: peer)
    XCTAssertEqual(timer, .s)
    var delivered = false
    timers.onBatch = { _ in delivered = true }
    timers.add(peer, to: .s)
    network.advance(by: 65)
    XCTAssertFalse(delivered)
    network.advance(by: 1)
    XCTAssertTrue(delivered)
  }

  func testSW_06_fourFailuresGiveUpUnlessExplicit() {
    let peer = makePeer(1)
    peer.attempts = 4
    XCTAssertNil(RetryTimer.choose(for: peer))
    peer.isExplicit = true
    XCTAssertEqual(RetryTimer.choose(for: peer), .x)
  }

  func testSW_07_bannedIsNotRetried() {
    let peer = makePeer(1)
    peer.ban(true)
    XCTAssertNil(RetryTimer.choose(for: peer))
    peer.ban(false)
    XCTAssertNotNil(RetryTimer.choose(for: peer))
  }

  private func makeQueue(_ priorities: [Int], seed: UInt64 = 1) -> ShuffledPriorityQueue<Int, Int> {
    var random = SeededRandom(seed: seed)
    var queue = ShuffledPriorityQueue<Int, Int>()
    for (key, priority) in priorities.enumerated() {
      queue.add(key, key: key, priority: priority) { UInt32(random.next() % UInt64($0)) }
    }
    return queue
  }

  func testSW_08_higherPriorityFirst() {
    var queue = makeQueue([0, 3, 1])
    XCTAssertEqual(queue.count, 3)
    XCTAssertTrue(queue.contains(1))
    XCTAssertEqual(queue.first, 1)
    XCTAssertEqual([queue.popFirst(), queue.popFirst(), queue.popFirst()], [1, 2, 0])
    XCTAssertNil(queue.popFirst())
    XCTAssertNil(queue.first)
    XCTAssertFalse(queue.contains(1))
    XCTAssertTrue(queue.isEmpty)
  }

  func testSW_09_equalPrioritiesInAnyOrderEachOnce() {
    var heads: [Int: Int] = [:]
    for seed in 1...400 as ClosedRange<UInt64> {
      var queue = makeQueue([2, 2, 2, 2], seed: seed)
      var order: [Int] = []
      while let key = queue.popFirst() { order.append(key) }
      XCTAssertEqual(order.sorted(), [0, 1, 2, 3])
      heads[order[0], default: 0] += 1
    }
    for key in 0..<4 { XCTAssertGreaterThan(heads[key] ?? 0, 60, "the head is a random one: \(heads)") }
  }

  func testSW_10_iterationInBothDirections() {
    let queue = makeQueue([1, 4, 0, 4, 2, 0])
    let priorities = [1, 4, 0, 4, 2, 0]
    XCTAssertEqual(queue.elements.map { priorities[$0] }, [4, 4, 2, 1, 0, 0])
    XCTAssertEqual(queue.reversedElements, queue.elements.reversed())
    XCTAssertEqual(queue.elements.sorted(), [0, 1, 2, 3, 4, 5])
  }

  func testSW_11_findAndRemoveByKey() {
    var queue = ShuffledPriorityQueue<String, Int>()
    for (name, priority) in [("a", 1), ("b", 1), ("c", 1), ("d", 2)] {
      XCTAssertTrue(queue.add(name.count, key: name, priority: priority) { _ in 0 })
    }
    XCTAssertFalse(queue.add(9, key: "a", priority: 4) { _ in 0 }, "one entry per key")
    XCTAssertEqual(queue["b"], 1)
    XCTAssertEqual(queue.remove("b"), 1)
    XCTAssertNil(queue["b"])
    XCTAssertNil(queue.remove("b"))
    XCTAssertEqual(queue.count, 3)
    queue.removeAll()
    XCTAssertTrue(queue.isEmpty)
    XCTAssertNil(queue.popFirst())
  }
}
