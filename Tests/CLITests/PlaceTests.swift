import HyperEncoding
import Synchronization
import XCTest

@testable import hyperswarm_cli

/// Which callers keep a place of a command that strangers may call, and which give way.
final class PlaceTests: XCTestCase {
  private final class Gone: Sendable {
    let count = Atomic(0)
  }

  private func host(_ number: Int) -> PlaceGroup { .host(IPv4Address(value: 0x6300_0000 + UInt32(number))) }

  /// As many callers as there are places, of one host that has them all, and a newcomer of another one.
  private func full(_ places: Places, isSettled: Bool, _ gone: Gone, at now: Places.Instant) -> [Places.Place] {
    (0..<places.limit).compactMap { _ in
      places.enter(
        host(1), at: now, hasShown: { isSettled }, giveWay: { gone.count.add(1, ordering: .relaxed) })
    }
  }

  func testStrangersGiveWayAtOnce() throws {
    let (places, gone, now) = (Places(32), Gone(), ContinuousClock.now)
    let held = full(places, isSettled: false, gone, at: now)
    XCTAssertEqual(held.count, 32)
    XCTAssertTrue(places.hasRoom(at: now))
    let newcomer = try XCTUnwrap(places.enter(host(2), at: now, hasShown: { true }, giveWay: {}))
    XCTAssertEqual(gone.count.load(ordering: .relaxed), 1)
    XCTAssertEqual(places.count, 32, "the place has another owner")
    // The stranger's own newcomers take places of its own only.
    for _ in 0..<100 {
      guard let place = places.enter(host(1), at: now, giveWay: {}) else { continue }
      places.leave(place)
      _ = places.enter(host(1), at: now, giveWay: {})
    }
    places.leave(newcomer)
    XCTAssertEqual(places.count, 31, "it was still there")
  }

  func testWhoIsServedKeepsItsPlace() throws {
    let (places, gone, now) = (Places(32, idle: .seconds(30)), Gone(), ContinuousClock.now)
    // One each: none has more than a newcomer would have.
    for number in 0..<32 {
      XCTAssertNotNil(places.enter(host(number), at: now, hasShown: { true }, giveWay: { XCTFail("\(number)") }))
    }
    XCTAssertFalse(places.hasRoom(at: now + .seconds(60)))
    XCTAssertNil(places.enter(host(100), at: now + .seconds(60), giveWay: {}))
    _ = gone
  }

  func testIdleCallersOfAHeavierHostGiveWay() throws {
    let (places, gone, now) = (Places(8, idle: .seconds(30)), Gone(), ContinuousClock.now)
    let held = [1, 1, 2, 3, 4, 5, 6, 7].compactMap { number in
      places.enter(host(number), at: now, hasShown: { true }, giveWay: { gone.count.add(number, ordering: .relaxed) })
    }
    XCTAssertNil(places.enter(host(9), at: now + .seconds(29), giveWay: {}))
    held[0].touch(at: now + .seconds(20))
    XCTAssertNotNil(places.enter(host(9), at: now + .seconds(31), giveWay: {}))
    XCTAssertEqual(gone.count.load(ordering: .relaxed), 1, "of the host with two")
    places.leave(held[1])
    XCTAssertEqual(places.count, 8)
  }

  /// A host that keeps all its connections busy has more than a quarter: it gives way to those with half of it.
  func testBusyCallersOfAHostWithMostGiveWay() throws {
    let (places, gone, now) = (Places(32, idle: .seconds(30)), Gone(), ContinuousClock.now)
    var held = full(places, isSettled: true, gone, at: now)
    var served = 0
    for number in 2..<30 {
      guard places.enter(host(number), at: now, hasShown: { true }, giveWay: { XCTFail("\(number)") }) != nil else {
        break
      }
      served += 1
      // The one that was asked to go goes.
      places.leave(held.removeFirst())
    }
    XCTAssertEqual(served, 24, "a quarter stays")
    XCTAssertEqual(gone.count.load(ordering: .relaxed), 24)
    XCTAssertEqual(places.count, 32)
  }

  /// Those that were asked to go and do not are no reason to have more than the places and some to spare.
  func testWhoDoesNotGoCounts() {
    let (places, gone, now) = (Places(32), Gone(), ContinuousClock.now)
    let held = full(places, isSettled: false, gone, at: now)
    var entered = 0
    for _ in 0..<100 where places.enter(host(1), at: now, giveWay: {}) != nil { entered += 1 }
    XCTAssertEqual(entered, 2)
    for place in held { places.leave(place) }
    XCTAssertEqual(places.count, 2)
  }
}
