import Foundation
import HyperCrypto
import HyperEncoding
import HyperTestVectors
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine
@testable import HyperRPC

/// A node under a flood of random, truncated and damaged datagrams: no crash, nothing stored or held for them, and
/// never much more sent than received.
///
/// `FLOOD=1000000` sets the number of datagrams.
final class FloodTests: XCTestCase {
  private var count: Int {
    ProcessInfo.processInfo.environment["FLOOD"].flatMap { Int($0) } ?? 40_000
  }

  /// Real datagrams of the recorded sessions, to be damaged.
  private func recorded() throws -> [[UInt8]] {
    var all: [[UInt8]] = []
    for session in try Vectors.cases("session-connect").map({ Fields($0) }) {
      for datagram in try session.objects("datagrams") { all.append(try datagram.bytes("hex")) }
    }
    XCTAssertGreaterThan(all.count, 500)
    return all
  }

  private func makeNode() throws -> (PassiveNode, FakeServer) {
    let node = try PassiveNode(
      table: (1...40).map { Endpoint(host: IPv4Address(99, 1, 1, UInt8($0)), port: 1000) })
    let server = FakeServer()
    server.handshakeReply = HandshakeReply(noise: [UInt8](repeating: 1, count: 100))
    server.holepunchReply = HolepunchReply(payload: [UInt8](repeating: 1, count: 100))
    return (node, server)
  }

  func testDHT_94_floodOfRandomDatagrams() throws {
    let samples = try recorded()
    let (node, server) = try makeNode()
    // The targets that occur in the recording are served here, so that damaged handshakes get far.
    for sample in samples {
      guard case .request(let request)? = sample.withUnsafeBytes({ Datagram($0) }), let target = request.target else {
        continue
      }
      node.router.pin(target: target, record: PeerRecord(publicKey: target), server: server)
    }
    let pinned = node.router.count
    var random = SeededRandom(seed: 94)
    var received = 0
    var sent = 0
    var sentBytes = 0
    var receivedBytes = 0
    let memory = residentBytes()
    for index in 0..<count {
      let bytes = makeDatagram(index, samples, &random)
      // Public-looking sources, a few thousand of them.
      let host = IPv4Address(value: 0x5000_0000 | UInt32(truncatingIfNeeded: random.next() % 4096))
      let source = Endpoint(host: host, port: UInt16(truncatingIfNeeded: random.next() | 1))
      let replies = node.deliver(bytes, from: source)
      received += 1
      receivedBytes += bytes.count
      sent += replies.count
      sentBytes += replies.reduce(0) { $0 + $1.bytes.count }
      XCTAssertLessThanOrEqual(replies.count, 1)
      server.handshakes = []
      server.holepunches = []
      if index % 1000 == 0 { node.network.advance(by: 100) }
    }
    let growth = Int(residentBytes()) - Int(memory)
    print(
      "flood: \(received) datagrams of \(receivedBytes) bytes, \(sent) answers of \(sentBytes) bytes, "
        + "memory \(growth / 1024) KiB")
    XCTAssertEqual(node.storage.recordCount + node.storage.mutableCount + node.storage.immutableCount, 0)
    XCTAssertEqual(node.router.count, pinned)
    XCTAssertEqual(node.router.pendingReplies, 0)
    XCTAssertLessThan(Double(sentBytes), 2.5 * Double(receivedBytes))
    // Sanitizers keep freed memory back on purpose.
    if !isSanitized { XCTAssertLessThan(growth, 64 << 20) }
  }

  private func makeDatagram(_ index: Int, _ samples: [[UInt8]], _ random: inout SeededRandom) -> [UInt8] {
    var bytes: [UInt8]
    switch index % 4 {
    case 0: return random.bytes(Int(random.next() % 300))
    case 1:
      // Random after a valid head.
      return [random.next() % 2 == 0 ? 0x03 : 0x13, UInt8(truncatingIfNeeded: random.next() & 0x1f)]
        + random.bytes(Int(random.next() % 300))
    case 2:
      bytes = samples[Int(random.next() % UInt64(samples.count))]
      bytes.removeLast(Int(random.next() % UInt64(bytes.count + 1)))
    default:
      bytes = samples[Int(random.next() % UInt64(samples.count))]
      for _ in 0..<(1 + random.next() % 4) where !bytes.isEmpty {
        bytes[Int(random.next() % UInt64(bytes.count))] = UInt8(truncatingIfNeeded: random.next())
      }
    }
    return bytes
  }

  private var isSanitized: Bool {
    ["__asan_init", "__tsan_init"].contains { (name: String) in
      dlsym(UnsafeMutableRawPointer(bitPattern: 0), name) != nil
    }
  }

  private func residentBytes() -> UInt64 {
    guard let text = try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8) else { return 0 }
    let fields = text.split(separator: " ")
    return fields.count > 1 ? (UInt64(fields[1]) ?? 0) * 4096 : 0
  }

  /// Signed announces and puts from ever new keys, of a few hosts: the store stays within its bounds.
  func testDHT_B10_floodOfValidAnnounces() throws {
    var configuration = StorageConfiguration()
    configuration.records.maximumRecords = 200
    configuration.records.recordsPerHost = 60
    configuration.records.maximumRecordsPerTopic = 50
    configuration.maximumRefreshes = 200
    configuration.maximumValues = 100
    configuration.valuesPerHost = 40
    configuration.maximumValueBytes = 4096
    var routerConfiguration = RouterConfiguration()
    routerConfiguration.maximumEntries = 100
    let node = try PassiveNode(routerConfiguration: routerConfiguration, storageConfiguration: configuration)
    var random = SeededRandom(seed: 10)
    var most = (records: 0, values: 0, servers: 0)
    for index in 0..<1500 {
      let pair = KeyPair(seed: Bytes32(random.bytes(32)) ?? Bytes32())
      let source = Endpoint(host: IPv4Address(81, 0, 0, UInt8(index % 7)), port: 9)
      let topic = Bytes32(repeating: UInt8(index % 11))
      node.announce(pair, target: topic, refresh: Bytes32(random.bytes(32)), from: source)
      node.announce(pair, target: Target.of(publicKey: pair.publicKey), from: source)
      let value = random.bytes(100)
      node.request(.immutablePut, target: Target.of(value: value), value: value, from: source, withToken: true)
      most.records = max(most.records, node.storage.recordCount)
      most.values = max(most.values, node.storage.immutableCount)
      most.servers = max(most.servers, node.router.count)
      XCTAssertLessThanOrEqual(node.storage.refreshes.count, 400)
      if index % 100 == 0 { node.network.advance(by: 1000) }
    }
    XCTAssertLessThanOrEqual(most.records, 400)
    XCTAssertLessThanOrEqual(most.values, 200)
    XCTAssertLessThanOrEqual(most.servers, 200)
    XCTAssertGreaterThan(most.records, 200)
    XCTAssertGreaterThan(most.servers, 100)
    XCTAssertLessThanOrEqual(node.storage.immutables.bytes, 8192)
  }
}
