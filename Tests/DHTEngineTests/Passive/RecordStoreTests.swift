import HyperEncoding
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine

/// The announced peers of a storing node (hyperdht.md 12.1 and 12.2).
final class RecordStoreTests: XCTestCase {
  private let hostA = IPv4Address(1, 1, 1, 1)
  private let hostB = IPv4Address(2, 2, 2, 2)

  private func key(_ index: Int) -> Bytes32 {
    Bytes32((0..<32).map { UInt8(truncatingIfNeeded: index >> ($0 % 4 * 8)) }) ?? Bytes32()
  }

  private func makeStore(_ change: (inout RecordStore.Bounds) -> Void = { _ in }) -> (RecordStore, VirtualHost) {
    var bounds = RecordStore.Bounds()
    bounds.maximumAge = 1200
    change(&bounds)
    let network = VirtualNetwork(seed: 7)
    networks.append(network)
    return (RecordStore(bounds, now: 0), network.makeHost())
  }

  private var networks: [VirtualNetwork] = []

  private let topic = Bytes32(repeating: 0xee)

  func testDHT_24_sampleIsRandomAndCapped() {
    var (store, random) = makeStore()
    // 20 in the old generation, 10 in the young one.
    for index in 0..<20 {
      store.add([UInt8(index)], publicKey: key(index), target: topic, host: nil, now: 0, random: random)
    }
    for index in 20..<30 {
      store.add([UInt8(index)], publicKey: key(index), target: topic, host: nil, now: 900, random: random)
    }
    XCTAssertEqual(store.count, 30)
    var counts = [Int](repeating: 0, count: 30)
    var orders = Set<[[UInt8]]>()
    for _ in 0..<3000 {
      let sample = store.sample(target: topic, maximumCount: 20, now: 900, random: random)
      XCTAssertEqual(sample.count, 20)
      XCTAssertEqual(Set(sample).count, 20)
      orders.insert(sample)
      for record in sample { counts[Int(record[0])] += 1 }
    }
    XCTAssertGreaterThan(orders.count, 2990)
    // Every record is drawn with probability 2/3: 2000 expected, the standard deviation is 26.
    for count in counts { XCTAssertEqual(Double(count), 2000, accuracy: 160) }
    XCTAssertEqual(store.sample(target: key(1), maximumCount: 20, now: 900, random: random), [])
    XCTAssertEqual(Set(store.sample(target: topic, maximumCount: 50, now: 900, random: random)).count, 30)
  }

  func testDHT_121_recordGenerations() {
    var (store, random) = makeStore()
    store.add([1], publicKey: key(1), target: topic, host: nil, now: 0, random: random)
    store.add([2], publicKey: key(2), target: topic, host: nil, now: 0, random: random)
    // Moved to the young generation with a new record; reading does not move the other.
    store.add([11], publicKey: key(1), target: topic, host: nil, now: 900, random: random)
    XCTAssertEqual(Set(store.sample(target: topic, maximumCount: 20, now: 1500, random: random)), [[11], [2]])
    XCTAssertEqual(store.sample(target: topic, maximumCount: 20, now: 1600, random: random), [[11]])
    XCTAssertEqual(store.sample(target: topic, maximumCount: 20, now: 2400, random: random), [])
    XCTAssertEqual(store.count, 0)
  }

  /// hyperdht.md Part C, 14; the reference keeps the first record of a key while it is fresh (hyperdht.md E-4).
  func testDHT_C14_changedRecordReplacesAFreshOne() {
    for replaces in [true, false] {
      var (store, random) = makeStore { $0.replacesChangedRecords = replaces }
      store.add([1], publicKey: key(1), target: topic, host: nil, now: 0, random: random)
      store.add([2], publicKey: key(1), target: topic, host: nil, now: 0, random: random)
      XCTAssertEqual(store.count, 1)
      XCTAssertEqual(
        store.sample(target: topic, maximumCount: 20, now: 0, random: random), [[replaces ? 2 : 1]])
    }
  }

  func testRecordLimits() {
    var (store, random) = makeStore {
      $0.maximumRecords = 100
      $0.maximumRecordsPerTopic = 30
      $0.recordsPerHost = 10
    }
    for index in 0..<2000 {
      store.add([1], publicKey: key(index), target: topic, host: nil, now: 0, random: random)
      XCTAssertLessThanOrEqual(store.count, 30)
    }
    store.add([7], publicKey: key(1), target: key(9), host: hostB, now: 0, random: random)
    // One host fills the rest, and then makes room for itself: nothing of others goes.
    for index in 0..<500 {
      store.add([1], publicKey: key(5000 + index), target: key(index), host: hostA, now: 0, random: random)
      XCTAssertLessThanOrEqual(store.count, 99)
    }
    XCTAssertEqual(store.count, 99)
    XCTAssertEqual(store.sample(target: key(9), maximumCount: 20, now: 0, random: random).first { $0 == [7] }, [7])
    XCTAssertEqual(store.sample(target: topic, maximumCount: 30, now: 0, random: random).count, 30)
    // And it makes room for others, down to its share.
    for index in 0..<58 {
      store.add(
        [1], publicKey: key(index), target: key(10_000 + index), host: IPv4Address(value: UInt32(9 << 24 + index)),
        now: 0, random: random)
    }
    XCTAssertEqual(store.count, 99)
    for index in 0..<1000 {
      store.add([1], publicKey: key(index), target: key(20_000 + index), host: nil, now: 0, random: random)
      XCTAssertLessThanOrEqual(store.count, 200)
    }
  }

  /// A full topic makes room at the cost of the host with most records: others lose next to nothing.
  func testDHT_B10_aFullTopicKeepsTheRecordsOfOthers() {
    var (store, random) = makeStore { $0.maximumRecordsPerTopic = 300 }
    for index in 0..<10 {
      store.add(
        [7], publicKey: key(index), target: topic, host: IPv4Address(value: UInt32(9 << 24 + index)), now: 0,
        random: random)
    }
    for index in 100..<5000 {
      store.add([1], publicKey: key(index), target: topic, host: hostA, now: 0, random: random)
    }
    for index in 5000..<5020 {
      store.add(
        [8], publicKey: key(index), target: topic, host: IPv4Address(value: UInt32(8 << 24 + index)), now: 0,
        random: random)
    }
    XCTAssertEqual(store.count, 300)
    let all = store.sample(target: topic, maximumCount: 300, now: 0, random: random)
    XCTAssertEqual(all.filter { $0 == [7] }.count, 10)
    XCTAssertEqual(all.filter { $0 == [8] }.count, 20)
  }

  /// One host with thousands of records (security notes: the honest record was in 3 % of the replies).
  func testDHT_B10_oneHostDoesNotDrownATopic() {
    for (honest, share) in [(1, 19...19), (5, 15...15), (15, 5...5), (100, 0...5)] as [(Int, ClosedRange<Int>)] {
      var (store, random) = makeStore()
      // In both generations, as are the records of the others.
      for (now, records) in [(UInt64(0), 0..<1000), (900, 1000..<2000)] {
        for index in records {
          store.add([1], publicKey: key(index), target: topic, host: hostA, now: now, random: random)
        }
        for index in 0..<honest where (index % 2 == 0) == (now == 0) {
          store.add(
            [7, UInt8(index)], publicKey: key(9000 + index), target: topic,
            host: IPv4Address(value: UInt32(9 << 24 + index)), now: now, random: random)
        }
      }
      var seen: Set<[UInt8]> = []
      for _ in 0..<200 {
        let sample = store.sample(target: topic, maximumCount: 20, now: 900, random: random)
        XCTAssertEqual(sample.count, 20)
        XCTAssertTrue(share.contains(sample.filter { $0 == [1] }.count), "\(honest) honest hosts")
        seen.formUnion(sample.filter { $0 != [1] })
      }
      XCTAssertEqual(seen.count, honest, "all of them are found")
    }
  }

  /// A quarter for the host with most, also when all the others stand behind one address.
  func testDHT_B10_oneHostGetsAQuarterWhileOthersHaveRecords() {
    var (store, random) = makeStore()
    for index in 0..<1000 {
      store.add([1], publicKey: key(index), target: topic, host: hostA, now: 0, random: random)
    }
    for index in 1000..<1030 {
      store.add([7], publicKey: key(index), target: topic, host: hostB, now: 0, random: random)
    }
    for _ in 0..<50 {
      let sample = store.sample(target: topic, maximumCount: 20, now: 0, random: random)
      XCTAssertEqual(sample.count { $0 == [1] }, 5)
      XCTAssertEqual(sample.count { $0 == [7] }, 15)
    }
  }

  /// Many honest peers behind one address, and few others: none is left out.
  func testManyPeersOfOneHostAreAllFound() {
    var (store, random) = makeStore()
    for index in 0..<200 {
      store.add([UInt8(index)], publicKey: key(index), target: topic, host: hostA, now: 0, random: random)
    }
    store.add([255], publicKey: key(999), target: topic, host: hostB, now: 0, random: random)
    var counts = [Int](repeating: 0, count: 256)
    for _ in 0..<3000 {
      let sample = store.sample(target: topic, maximumCount: 20, now: 0, random: random)
      for record in sample { counts[Int(record[0])] += 1 }
    }
    XCTAssertEqual(counts[255], 3000)
    // 19 of 200: 285 expected, the standard deviation is 16.
    for count in counts[..<200] { XCTAssertEqual(Double(count), 285, accuracy: 100) }
  }

  func testRemovalFromBothGenerations() {
    var (store, random) = makeStore()
    for index in 0..<10 {
      store.add([UInt8(index)], publicKey: key(index), target: topic, host: hostA, now: 0, random: random)
    }
    for index in 10..<20 {
      store.add([UInt8(index)], publicKey: key(index), target: topic, host: hostA, now: 900, random: random)
    }
    for index in stride(from: 0, to: 20, by: 2) { store.remove(publicKey: key(index), target: topic) }
    store.remove(publicKey: key(0), target: topic)
    store.remove(publicKey: key(1), target: key(77))
    let left = Set(store.sample(target: topic, maximumCount: 20, now: 900, random: random))
    XCTAssertEqual(left, Set(stride(from: 1, to: 20, by: 2).map { [UInt8($0)] }))
    XCTAssertEqual(store.count, 10)
  }
}
