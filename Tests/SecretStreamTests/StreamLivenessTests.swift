import HyperEncoding
import HyperEnvironment
import HyperswarmTesting
import XCTest

@testable import HyperSecretStream

/// Dead peers, silent ones, and loops that were blocked.
final class StreamLivenessTests: XCTestCase {
  /// Two encrypted streams over UDX on two hosts.
  private final class World {
    let udx: UDXPair
    let a: EncryptedStream
    let b: EncryptedStream
    let recordA: Recorder
    let recordB: Recorder

    init(seed: UInt64, keepAlive: UInt64, peerKeepAlive: UInt64) throws {
      udx = try UDXPair(seed: seed)
      a = EncryptedStream(environment: udx.hostA, isInitiator: true)
      b = EncryptedStream(environment: udx.hostB, isInitiator: false)
      recordA = Recorder(a)
      recordB = Recorder(b)
      a.keepAlive = keepAlive
      b.keepAlive = peerKeepAlive
      b.sendsConfirmation = true
      let (keysA, keysB) = StreamPair.keys()
      a.start(transport: udx.transportA, keys: keysA)
      b.start(transport: udx.transportB, keys: keysB)
    }

    func run(_ milliseconds: UInt64) { udx.network.advance(by: milliseconds) }

    /// The host of `b` vanishes without a goodbye.
    func killB() { udx.network.partition([[udx.hostA], [udx.hostB]]) }

    /// Milliseconds until `a` has closed, `nil` after `limit`.
    func closing(within limit: UInt64) -> UInt64? {
      var waited: UInt64 = 0
      while recordA.closeCount == 0 {
        guard waited < limit else { return nil }
        run(100)
        waited += 100
      }
      return waited
    }
  }

  private enum Half: CaseIterable { case none, ours, theirs }

  /// Every open connection notices a dead peer: `keepAlive` and 13 s after the last sign of life.
  func testDeadPeerIsNoticed() throws {
    for keepAlive: UInt64 in [100, 1_000, 5_000, 20_000] {
      for half in Half.allCases {
        for isBusy in [false, true] {
          for seed: UInt64 in 1...5 {
            let what = "keepalive \(keepAlive), ended \(half), busy \(isBusy), seed \(seed)"
            let world = try World(seed: seed, keepAlive: keepAlive, peerKeepAlive: seed % 2 == 0 ? 0 : 5_000)
            world.run(1_000)
            XCTAssertTrue(world.a.isAuthenticated && world.b.isAuthenticated, what)
            if half == .ours { world.a.end() }
            if half == .theirs { world.b.end() }
            world.run(30_000 + 777 * seed)
            XCTAssertEqual(world.recordA.closeCount, 0, what)
            if isBusy {
              // Whichever side still may send.
              for _ in 0..<20 {
                if half != .ours { world.a.write([UInt8](repeating: 1, count: 10_000)) }
                if half != .theirs { world.b.write([UInt8](repeating: 2, count: 10_000)) }
                world.run(10)
              }
            }
            world.killB()
            let noticed = try XCTUnwrap(world.closing(within: 60_000), what)
            XCTAssertLessThanOrEqual(noticed, keepAlive + 13_000 + 2_000, what)
            if keepAlive == 5_000 { XCTAssertLessThanOrEqual(noticed, 20_000, what) }
            XCTAssertEqual(world.recordA.error, .transport(.timedOut), what)
          }
        }
      }
    }
  }

  /// A peer that says nothing because its keepalive is off is alive, whatever this side has ended.
  func testSilentPeerIsAlive() throws {
    for half in Half.allCases {
      for seed: UInt64 in 1...5 {
        let world = try World(seed: seed, keepAlive: 1_000, peerKeepAlive: 0)
        world.run(1_000)
        if half == .ours { world.a.end() }
        if half == .theirs { world.b.end() }
        world.run(1_800_000)
        XCTAssertEqual(world.recordA.closeCount + world.recordB.closeCount, 0, "ended \(half)")
        if half == .theirs { world.a.write([1]) } else { world.b.write([1]) }
        world.run(1_000)
        let messages = half == .theirs ? world.recordB.messages : world.recordA.messages
        XCTAssertEqual(messages.filter { !$0.isEmpty }, [[1]], "empty ones reach a reader without a keepalive")
        world.a.end()
        world.b.end()
        world.run(5_000)
        XCTAssertEqual(world.recordA.events.last, "close")
        XCTAssertNil(world.recordA.error)
        XCTAssertNil(world.recordB.error)
      }
    }
  }

  /// With the keepalive off nothing asks, before the end and after it; turned on after the end it asks.
  func testKeepAliveAfterTheEndIsASetting() throws {
    let world = try World(seed: 1, keepAlive: 0, peerKeepAlive: 0)
    world.run(1_000)
    world.a.end()
    world.run(1_000)
    world.killB()
    XCTAssertNil(world.closing(within: 600_000))
    world.a.keepAlive = 2_000
    let noticed = try XCTUnwrap(world.closing(within: 60_000))
    XCTAssertLessThanOrEqual(noticed, 2_000 + 13_000 + 1_000)
    XCTAssertEqual(world.recordA.error, .transport(.timedOut))
  }

  /// The peer has sent everything, closed and vanished; the reader here pauses. Its messages are kept for as long as it
  /// likes.
  func testAllThatArrivedIsDelivered() throws {
    let world = try World(seed: 1, keepAlive: 1_000, peerKeepAlive: 1_000)
    world.run(1_000)
    world.a.pause()
    world.b.write([UInt8](repeating: 7, count: 50_000))
    world.a.end()
    world.b.end()
    world.run(5_000)
    world.killB()
    world.run(600_000)
    XCTAssertEqual(world.recordA.closeCount, 0)
    world.a.resume()
    world.run(1_000)
    XCTAssertEqual(world.recordA.messageBytes, 50_000)
    XCTAssertTrue(world.recordA.events.contains("end"))
    XCTAssertNil(world.recordA.error)
  }

  /// While the peer acknowledges nothing one keepalive waits for it, not one for each interval.
  func testOneKeepAliveIsOutstanding() {
    let pair = StreamPair()
    let wire = WireTransport(pair.environment)
    pair.a.keepAlive = 100
    pair.a.start(transport: wire, keys: pair.keysA)
    pair.run()
    wire.acknowledge()
    pair.run(150)
    XCTAssertEqual(frames(wire.written).count, 2 + 1)
    pair.run(5_000)
    XCTAssertEqual(frames(wire.written).count, 2 + 1)
    XCTAssertGreaterThanOrEqual(pair.a.statistics.keepAlivesSkipped, 45)
    wire.acknowledge()
    pair.run(150)
    XCTAssertEqual(frames(wire.written).count, 2 + 2)
    // Data waits as well as a keepalive does.
    wire.acknowledge()
    pair.a.write([1])
    pair.run(5_000)
    XCTAssertEqual(frames(wire.written).count, 2 + 2 + 1)
  }

  /// A keepalive that waits for its acknowledgement holds its own size, not that of a batch.
  func testKeepAliveHasABufferOfItsSize() {
    let pair = StreamPair()
    let wire = CapacityTransport(pair.environment)
    pair.a.sendsConfirmation = false
    pair.a.keepAlive = 100
    pair.a.start(transport: wire, keys: pair.keysA)
    pair.run(350)
    XCTAssertEqual(wire.capacities.dropFirst(), [20, 20, 20])
  }

  // MARK: Blocked loops

  /// The loop is blocked for longer than the receive timeout, and the peer has spoken meanwhile.
  func testBlockedLoopReadsBeforeItJudges() {
    for blocked: UInt64 in [2_500, 4_000, 60_000] {
      for isSpeaking in [true, false] {
        let loop = StalledLoop()
        let (keys, peerKeys) = StreamPair.keys()
        let stream = EncryptedStream(environment: loop, isInitiator: true)
        let peer = EncryptedStream(environment: loop, isInitiator: false)
        let record = Recorder(stream)
        let wire = WireTransport(loop)
        let peerWire = WireTransport(loop)
        peer.start(transport: peerWire, keys: peerKeys)
        stream.start(transport: wire, keys: keys)
        loop.advance(by: 1)
        wire.feed(peerWire.written)
        stream.timeout = 3_000
        loop.advance(by: 1_000)
        let sent = peerWire.written.count
        peer.write([1])
        loop.advance(by: 1)
        let waiting = Array(peerWire.written[sent...])
        // Timers come first in the next turn, then the sockets.
        loop.stall(for: blocked) { if isSpeaking { wire.feed(waiting) } }
        loop.advance(by: 200)
        XCTAssertEqual(record.closeCount, isSpeaking ? 0 : 1, "blocked for \(blocked) ms")
        guard isSpeaking else { continue }
        XCTAssertEqual(record.messages, [[1]])
        loop.advance(by: 2_700)
        XCTAssertEqual(record.closeCount, 0)
        loop.advance(by: 200)
        XCTAssertEqual(record.error, .timedOut, "silent for 3 s after \(blocked) ms")
      }
    }
  }

  /// As above, with a header that came in time for the handshake.
  func testBlockedLoopReadsTheHeaderFirst() {
    let loop = StalledLoop()
    let (keys, peerKeys) = StreamPair.keys()
    let stream = EncryptedStream(environment: loop, isInitiator: true)
    let peer = EncryptedStream(environment: loop, isInitiator: false)
    let record = Recorder(stream)
    let wire = WireTransport(loop)
    let peerWire = WireTransport(loop)
    peer.start(transport: peerWire, keys: peerKeys)
    stream.start(transport: wire, keys: keys)
    loop.advance(by: 1)
    loop.stall(for: 40_000) { wire.feed(peerWire.written) }
    loop.advance(by: 60_000)
    XCTAssertEqual(record.closeCount, 0)
    XCTAssertTrue(record.events.contains("header"))
  }
}

/// Tells how much memory the writes hold.
private final class CapacityTransport: ByteTransport {
  var onData: ((UnsafeRawBufferPointer) -> Void)?
  var onEnd: (() -> Void)?
  var onDrain: (() -> Void)?
  var onClose: ((TransportStreamError?) -> Void)?
  private(set) var capacities: [Int] = []
  let isClosed = false
  private let environment: any Environment

  init(_ environment: any Environment) { self.environment = environment }

  func write(_ buffer: OwnedBuffer, _ onAcknowledged: ((Bool) -> Void)?) -> Bool {
    capacities.append(buffer.capacity)
    environment.defer { onAcknowledged?(true) }
    return true
  }

  func end() {}
  func destroy() {}
  func pauseReading() {}
  func resumeReading() {}
}

/// A loop that can be blocked: time passes, nothing runs, and in the turn after it timers come before the sockets.
private final class StalledLoop: Environment {
  private final class Timer: ScheduledAction {
    let due: UInt64
    var action: (() -> Void)?

    init(due: UInt64, action: @escaping () -> Void) {
      self.due = due
      self.action = action
    }

    func cancel() { action = nil }
  }

  private(set) var now: UInt64 = 1_000_000
  private var timers: [Timer] = []
  private(set) lazy var sharedTicks = SharedTicks(self)
  private var deferred: [() -> Void] = []
  private var random = SeededRandom(seed: 1)
  var wallClock: UInt64 { now / 1_000 }

  func schedule(after milliseconds: UInt64, _ action: @escaping () -> Void) -> any ScheduledAction {
    let timer = Timer(due: now + milliseconds * 1_000, action: action)
    timers.append(timer)
    return timer
  }

  func `defer`(_ action: @escaping () -> Void) { deferred.append(action) }

  func stall(for milliseconds: UInt64, sockets: @escaping () -> Void) {
    now += milliseconds * 1_000
    turn(sockets)
  }

  func advance(by milliseconds: UInt64) {
    for _ in 0..<milliseconds {
      turn {}
      now += 1_000
    }
    turn {}
  }

  private func turn(_ sockets: () -> Void) {
    runDeferred()
    let due = timers.filter { $0.due <= now }
    timers.removeAll { $0.due <= now }
    for timer in due { timer.action?() }
    runDeferred()
    sockets()
    runDeferred()
  }

  private func runDeferred() {
    while !deferred.isEmpty {
      let actions = deferred
      deferred = []
      for action in actions { action() }
    }
  }

  func randomBytes(_ bytes: UnsafeMutableRawBufferPointer) {
    for index in bytes.indices { bytes[index] = UInt8(truncatingIfNeeded: random.next()) }
  }

  func resolve(_ name: String, _ completion: @escaping ([IPv4Address]) -> Void) { completion([]) }
  func makeSocket() -> any DatagramSocket { preconditionFailure("there is no network") }
  func makeStream(localID: UInt32) -> any TransportStream { preconditionFailure("there is no network") }
  func interfaces() -> [InterfaceAddress] { [] }
  func watchInterfaces(every milliseconds: UInt64, _ onChange: @escaping ([InterfaceAddress]) -> Void)
    -> any ScheduledAction
  { schedule(after: .max / 2_000_000) {} }
}
