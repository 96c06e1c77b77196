import HyperEncoding
import HyperEnvironment
import HyperswarmTesting
import XCTest

@testable import HyperUDX

/// The C engine on a virtual network in virtual time.
final class SimulatedTransportTests: XCTestCase {
  private struct Outcome: Equatable {
    var finishedAt: UInt64
    var packets: UInt64
    var retransmissions: UInt64
    var isComplete: Bool
    var closed: [String]
  }

  private func transfer(seed: UInt64, bytes: Int, lossPercent: UInt64, latency: UInt64) throws -> Outcome {
    let network = VirtualNetwork(seed: seed)
    var loss = SeededRandom(seed: seed &+ 77)
    network.shouldDrop = { _ in loss.next() % 100 < lossPercent }
    var jitter = SeededRandom(seed: seed &+ 78)
    network.latency = { _ in latency + jitter.next() % 200 }
    let a = network.makeHost()
    let b = network.makeHost()
    let socketA = a.makeSocket()
    let socketB = b.makeSocket()
    try socketA.bind(host: .any, port: 1000)
    try socketB.bind(host: .any, port: 2000)
    let streamA = a.makeStream(localID: 1)
    let streamB = b.makeStream(localID: 2)
    try streamA.connect(socket: socketA, remoteID: 2, to: Endpoint(host: b.address, port: 2000))
    try streamB.connect(socket: socketB, remoteID: 1, to: Endpoint(host: a.address, port: 1000))
    let writer = BulkWriter(streamA, total: bytes, chunk: 50_000, seed: seed)
    var digest = StreamDigest()
    var closed: [String] = []
    streamA.onData = { _ in }
    streamB.onData = { digest.update($0) }
    streamB.onEnd = { streamB.end() }
    streamA.onClose = { closed.append("a \(String(describing: $0))") }
    streamB.onClose = { closed.append("b \(String(describing: $0))") }
    writer.pump()
    network.run(within: 600_000) { closed.count == 2 }
    let statistics = streamA.statistics
    let outcome = Outcome(
      finishedAt: network.now, packets: statistics.packetsSent, retransmissions: statistics.retransmissions,
      isComplete: writer.digest == digest, closed: closed.sorted())
    var environmentsClosed = 0
    a.close { environmentsClosed += 1 }
    b.close { environmentsClosed += 1 }
    network.run(within: 60_000) { environmentsClosed == 2 }
    XCTAssertEqual(environmentsClosed, 2)
    return outcome
  }

  /// A second change of the remote does not complete with the first.
  func testChangesOfTheRemoteCompleteOneByOne() throws {
    let network = VirtualNetwork(seed: 5)
    network.latency = { _ in 10_000 }
    let a = network.makeHost()
    let b = network.makeHost()
    let socketA = a.makeSocket()
    let socketB = b.makeSocket()
    try socketA.bind(host: .any, port: 1000)
    try socketB.bind(host: .any, port: 2000)
    let remote = Endpoint(host: b.address, port: 2000)
    let streamA = a.makeStream(localID: 1)
    let streamB = b.makeStream(localID: 2)
    try streamA.connect(socket: socketA, remoteID: 2, to: remote)
    try streamB.connect(socket: socketB, remoteID: 1, to: Endpoint(host: a.address, port: 1000))
    streamB.onData = { _ in }
    var completed: [Int: UInt64] = [:]
    for change in [1, 2] {
      streamA.write(OwnedBuffer([UInt8](repeating: 1, count: 100)), nil)
      network.advance(by: 6)
      try streamA.changeRemote(socket: socketA, remoteID: 2, to: remote) { completed[change] = network.now }
    }
    XCTAssertEqual(completed, [:])
    network.run(within: 1000) { completed.count == 2 }
    XCTAssertGreaterThan((completed[2] ?? 0) - (completed[1] ?? 0), 4_000, "microseconds")
    // With nothing outstanding a change is complete at once.
    try streamA.changeRemote(socket: socketA, remoteID: 2, to: remote) { completed[3] = network.now }
    XCTAssertEqual(completed[3], network.now)
    streamA.destroy()
    streamB.destroy()
    network.advance(by: 1000)
  }

  func testEveryByteArrivesUnderLoss() throws {
    for (seed, loss) in [(1, 0), (2, 1), (3, 5), (4, 10), (5, 20)] as [(UInt64, UInt64)] {
      let outcome = try transfer(seed: seed, bytes: 2 << 20, lossPercent: loss, latency: 10_000)
      XCTAssertTrue(outcome.isComplete, "seed \(seed), loss \(loss) %")
      XCTAssertEqual(outcome.closed, ["a nil", "b nil"], "seed \(seed), loss \(loss) %")
      if loss == 0 {
        XCTAssertEqual(outcome.retransmissions, 0)
      } else {
        XCTAssertGreaterThan(outcome.retransmissions, 0)
      }
    }
  }

  func testEqualSeedsGiveEqualRuns() throws {
    let first = try transfer(seed: 42, bytes: 1 << 20, lossPercent: 3, latency: 20_000)
    let second = try transfer(seed: 42, bytes: 1 << 20, lossPercent: 3, latency: 20_000)
    let other = try transfer(seed: 43, bytes: 1 << 20, lossPercent: 3, latency: 20_000)
    XCTAssertEqual(first, second)
    XCTAssertNotEqual(first, other)
  }

  func testAStreamWhoseNetworkIsGoneTimesOut() throws {
    let network = VirtualNetwork(seed: 1)
    let a = network.makeHost()
    let socket = a.makeSocket()
    try socket.bind(host: .any, port: 1000)
    let stream = a.makeStream(localID: 1)
    try stream.connect(socket: socket, remoteID: 2, to: Endpoint(host: IPv4Address(9, 9, 9, 9), port: 1))
    var acknowledged: Bool?
    var error: TransportStreamError??
    stream.write(OwnedBuffer([1, 2, 3])) { acknowledged = $0 }
    stream.onClose = { error = .some($0) }
    network.run(within: 120_000) { error != nil }
    XCTAssertEqual(error, .some(.timedOut))
    XCTAssertEqual(acknowledged, false)
    a.close()
    network.advance(by: 1000)
  }
}
