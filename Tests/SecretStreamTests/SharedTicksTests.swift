import HyperEnvironment
import HyperswarmTesting
import XCTest

@testable import HyperSecretStream

/// Keepalives of many streams leave together.
final class SharedTicksTests: XCTestCase {
  private final class Member: TickMember {
    var tickPlace = TickPlace()
    var times: [UInt64] = []
    var onTick: (() -> Void)?
    let host: VirtualHost

    init(_ host: VirtualHost) { self.host = host }

    func ticked() {
      times.append(host.nowMilliseconds)
      onTick?()
    }
  }

  /// A tick is early by the slack at most, never late, and comes once.
  func testBounds() {
    let network = VirtualNetwork(seed: 1)
    let host = network.makeHost()
    let ticks = host.sharedTicks
    for round in 0..<400 {
      network.advance(by: UInt64(round * 37 % 301))
      let members = (0..<3).map { _ in Member(host) }
      let begin = host.nowMilliseconds
      let interval = SharedTicks.slack + 1 + UInt64(round * 53 % 20_000)
      for member in members { ticks.schedule(member, within: interval) }
      network.advance(by: interval + 1_000)
      for member in members {
        XCTAssertEqual(member.times.count, 1)
        XCTAssertLessThanOrEqual(member.times[0], begin + interval)
        XCTAssertGreaterThanOrEqual(member.times[0] + SharedTicks.slack, begin + interval)
        XCTAssertFalse(member.tickPlace.isWaiting)
      }
    }
    XCTAssertEqual(ticks.stepCount, 0)
  }

  /// An interval that says "never" is one.
  func testTheLongestInterval() {
    let network = VirtualNetwork(seed: 1)
    let host = network.makeHost()
    network.advance(by: 1_000)
    let member = Member(host)
    for interval in [UInt64.max, UInt64.max - 1, UInt64.max / 1_000] {
      host.sharedTicks.schedule(member, within: interval)
      network.advance(by: 100_000_000)
      XCTAssertEqual(member.times, [])
    }
    host.sharedTicks.cancel(member)
    let (keys, _) = StreamPair.keys()
    let stream = EncryptedStream(environment: host, isInitiator: true)
    stream.handshakeTimeout = 0
    stream.keepAlive = .max
    stream.start(transport: WireTransport(host), keys: keys)
    network.advance(by: 100_000_000)
    XCTAssertTrue(host.sharedTicks.stepCount <= 1)
    XCTAssertEqual(stream.keepAlive, .max)
    stream.destroy()
    network.advance(by: 10)
    XCTAssertEqual(host.sharedTicks.stepCount, 0)
  }

  /// Cancelled, replaced and released members get no tick, also from within one, and leave no timer behind.
  func testEndings() {
    let network = VirtualNetwork(seed: 1)
    let host = network.makeHost()
    let ticks = host.sharedTicks
    var members = (0..<60).map { _ in Member(host) }
    for member in members { ticks.schedule(member, within: 5_000) }
    for index in stride(from: 0, to: 60, by: 3) { ticks.cancel(members[index]) }
    for index in stride(from: 1, to: 60, by: 3) { ticks.schedule(members[index], within: 10_000) }
    let released = members.removeLast()
    XCTAssertTrue(released.tickPlace.isWaiting)
    for member in members {
      member.onTick = { [unowned member] in
        for other in members where other !== member { ticks.cancel(other) }
      }
    }
    network.advance(by: 20_000)
    XCTAssertEqual(members.map(\.times.count).reduce(0, +), 1, "the first one cancels all others")
    XCTAssertEqual(ticks.stepCount, 0)
    for member in members { member.onTick = nil }
    ticks.schedule(members[0], within: 5_000)
    members = []
    network.advance(by: 20_000)
    XCTAssertEqual(ticks.stepCount, 0)
  }

  /// A thousand streams of one node: at most twenty wake-ups in five seconds, no keepalive later than its interval.
  func testKeepAlivesShareTheirTimers() {
    let network = VirtualNetwork(seed: 1)
    let host = network.makeHost()
    let (keys, _) = StreamPair.keys()
    var streams: [(EncryptedStream, WireTransport)] = []
    for _ in 0..<1_000 {
      let stream = EncryptedStream(environment: host, isInitiator: true)
      let wire = WireTransport(host)
      stream.handshakeTimeout = 0
      stream.keepAlive = 5_000
      stream.start(transport: wire, keys: keys)
      streams.append((stream, wire))
      network.advance(by: 7)
      wire.acknowledge()
    }
    let sent = streams.map { $0.0.statistics.messagesWritten }
    for _ in 0..<20 {
      network.advance(by: 5_000)
      XCTAssertLessThanOrEqual(host.sharedTicks.stepCount, 21)
      for (_, wire) in streams { wire.acknowledge() }
    }
    for (index, (stream, wire)) in streams.enumerated() {
      XCTAssertGreaterThanOrEqual(stream.statistics.messagesWritten - sent[index], 19)
      XCTAssertLessThanOrEqual(stream.statistics.messagesWritten - sent[index], 23)
      stream.destroy()
      wire.onClose?(nil)
    }
    network.advance(by: 1_000)
    XCTAssertEqual(host.sharedTicks.stepCount, 0)
  }

  /// Idle, the buffers of a beginning are given back although the peer's keepalives go on arriving.
  func testIdleBuffersAreReleased() {
    let pair = StreamPair()
    pair.a.keepAlive = 5_000
    pair.b.keepAlive = 5_000
    pair.start()
    pair.a.write([UInt8](repeating: 1, count: 3_000))
    pair.b.write([UInt8](repeating: 2, count: 3_000))
    pair.run(1_000)
    pair.a.reader.reserve(Limits.Stream.firstBuffer)
    pair.b.reader.reserve(Limits.Stream.firstBuffer)
    pair.run(12_000)
    XCTAssertEqual(pair.a.reader.bufferCapacity, 0)
    XCTAssertEqual(pair.b.reader.bufferCapacity, 0)
  }
}
