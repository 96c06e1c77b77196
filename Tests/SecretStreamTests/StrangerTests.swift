import HyperEncoding
import HyperEnvironment
import HyperswarmTesting
import XCTest

@testable import HyperSecretStream

/// Peers that have dialled us and said nothing yet: what they cost, and when they go. One wire per stranger, fed packet
/// by packet.
final class StrangerTests: XCTestCase {
  private typealias Bounds = Limits.Stranger

  private final class World {
    let network = VirtualNetwork(seed: 9)
    let host: VirtualHost
    let memory: StrangerMemory

    init() {
      host = network.makeHost()
      memory = StrangerMemory(environment: host)
    }

    func run(_ milliseconds: UInt64 = 1) { network.advance(by: milliseconds) }
  }

  /// The server's side of one connection; the test is the peer.
  private final class Stranger {
    let world: World
    let stream: EncryptedStream
    let record: Recorder
    let wire: WireTransport
    private let sealer: FrameCipher
    private(set) var sent = 0

    init(_ world: World, proves: Bool = false, reads: Bool = true, host: IPv4Address? = nil) {
      self.world = world
      let (ours, theirs) = StreamPair.keys()
      stream = EncryptedStream(environment: world.host, isInitiator: false)
      record = Recorder(stream, reads: reads)
      record.keepsMessages = false
      wire = WireTransport(world.host)
      stream.strangers = world.memory
      stream.strangerHost = host
      stream.start(transport: wire, keys: theirs)
      world.run()
      let header = [UInt8](repeating: 3, count: Limits.Stream.streamHeader)
      sealer = FrameCipher(key: ours.sendKeyBytes, header: header)
      wire.feed(frame(ours.streamID(ofInitiator: true).bytes + header))
      if proves { wire.feed(sealed(0)) }
    }

    func sealed(_ count: Int) -> [UInt8] {
      let message = [UInt8](repeating: 5, count: count)
      return [UInt8](unsafeUninitializedCapacity: count + Limits.Stream.frameOverhead) { out, written in
        message.withUnsafeBytes { sealer.seal($0, tag: .message, to: out.baseAddress!) }
        written = out.count
      }
    }

    /// Feeds packets until all is there or the window is closed.
    @discardableResult
    func feed(_ bytes: [UInt8], packet: Int = 1_200) -> Int {
      var offset = 0
      while offset < bytes.count, !wire.isPaused, !stream.isDestroying {
        let next = min(offset + packet, bytes.count)
        wire.feed(Array(bytes[offset..<next]))
        offset = next
      }
      sent += offset
      return offset
    }

    /// `count` bytes of a frame of the largest size that never completes.
    @discardableResult
    func begin(_ count: Int) -> Int {
      feed(Array(([0xff, 0xff, 0xff] + [UInt8](repeating: 1, count: count)).prefix(count)))
    }

    /// Goes on with it.
    @discardableResult
    func go(on count: Int) -> Int { feed([UInt8](repeating: 1, count: count)) }

    var isWaiting: Bool { wire.isPaused && !isGone }
    var isGone: Bool { stream.isDestroying }
    var error: EncryptedStreamError? { stream.closeError }
  }

  // MARK: What arrives

  /// The length in a prefix reserves nothing, and the window follows what has arrived.
  func testMemoryFollowsWhatHasArrived() {
    let world = World()
    let stranger = Stranger(world)
    XCTAssertEqual(world.memory.used, Bounds.place)
    XCTAssertEqual(stranger.wire.limits, [ReceiveLimit(window: Bounds.window, memory: 2 * Bounds.window)])
    stranger.begin(3)
    XCTAssertEqual(world.memory.used, Bounds.place)
    var arrived = 3
    while arrived < 8 << 20 {
      let more = stranger.go(on: 100_000)
      if more == 0 { return XCTFail("the window is closed after \(arrived) bytes") }
      arrived += more
      let capacity = stranger.stream.reader.bufferCapacity
      XCTAssertLessThanOrEqual(capacity, 2 * arrived + Bounds.roomAhead)
      XCTAssertGreaterThanOrEqual(capacity, arrived + Bounds.roomAhead)
      let window = stranger.wire.limits.last??.window ?? 0
      XCTAssertEqual(window, min(capacity, Bounds.widestWindow))
      XCTAssertEqual(world.memory.used, Bounds.objects + capacity + 2 * window)
    }
    XCTAssertFalse(stranger.wire.isPaused)
    let limits = stranger.wire.limits
    XCTAssertTrue(zip(limits, limits.dropFirst()).allSatisfy { $0 != $1 }, "told once")
  }

  /// The first message ends it, of any legal length; the transport has its own measure again.
  func testFirstMessageEndsIt() {
    for count in [1, 1_183, 65_536, 65_553, Limits.Stream.maximumMessage] {
      for proves in [false, true] {
        let world = World()
        let stranger = Stranger(world, proves: proves)
        XCTAssertEqual(stranger.stream.isAuthenticated, proves)
        let bytes = stranger.sealed(count)
        XCTAssertEqual(stranger.feed(bytes), bytes.count)
        XCTAssertEqual(stranger.record.messageBytes, count)
        XCTAssertTrue(stranger.stream.isAuthenticated && !stranger.stream.isStranger)
        XCTAssertEqual(stranger.wire.limits.last, .some(nil))
        XCTAssertEqual([world.memory.used, world.memory.count], [0, 0])
        let limits = stranger.wire.limits.count
        stranger.feed(stranger.sealed(100_000))
        world.run(10 * 60_000)
        XCTAssertEqual(stranger.wire.limits.count, limits)
        XCTAssertFalse(stranger.isGone)
        XCTAssertEqual(stranger.record.messageCount, proves ? 3 : 2)
      }
    }
  }

  /// Peers that only read are there for days, and cost nothing once they have proved their key.
  func testReadersStay() {
    let world = World()
    let silent = Stranger(world)
    let proved = Stranger(world, proves: true)
    XCTAssertEqual(world.memory.used, Bounds.place)
    world.run(3 * 24 * 3_600_000)
    proved.feed(proved.sealed(0))
    XCTAssertFalse(silent.isGone || proved.isGone)
    XCTAssertEqual(world.memory.used, Bounds.place)
    silent.feed(silent.sealed(0))
    XCTAssertEqual(world.memory.used, 0)
    XCTAssertEqual([silent, proved].map(\.record.messageCount), [1, 2])
    for stranger in [silent, proved] { stranger.stream.destroy() }
    world.run()
    XCTAssertEqual(world.memory.count, 0)
  }

  /// A peer that has proved its key waits for the application: as long as that likes.
  func testApplicationMayTakeItsTime() {
    for reads in [false, true] {
      let world = World()
      let stranger = Stranger(world, proves: true, reads: reads)
      if reads { stranger.stream.pause() }
      stranger.feed(stranger.sealed(100_000))
      XCTAssertTrue(stranger.wire.isPaused)
      XCTAssertFalse(stranger.stream.isStranger)
      XCTAssertEqual(stranger.wire.limits.last, .some(nil))
      world.run(10 * 60_000)
      XCTAssertFalse(stranger.isGone)
    }
  }

  // MARK: Deadlines

  private func assertEnds(_ stranger: Stranger, at milliseconds: UInt64, line: UInt = #line) {
    stranger.world.run(milliseconds - 1)
    XCTAssertFalse(stranger.isGone, "too early", line: line)
    stranger.world.run(2)
    XCTAssertEqual(stranger.error, .messageTimedOut, line: line)
    XCTAssertEqual(stranger.world.memory.used, 0, line: line)
    XCTAssertEqual(stranger.stream.reader.bufferCapacity, 0, line: line)
    XCTAssertEqual(stranger.world.memory.counters.framesTimedOut, 1, line: line)
  }

  func testBegunFrameMayNotStall() {
    for proves in [false, true] {
      for count in [1, 3, 5_000, 5 << 20] {
        let stranger = Stranger(World(), proves: proves)
        stranger.begin(count)
        assertEnds(stranger, at: Bounds.stall)
      }
      let late = Stranger(World(), proves: proves)
      late.begin(2_000_000)
      late.world.run(20_000)
      late.go(on: 1)
      assertEnds(late, at: Bounds.stall)
    }
  }

  /// Drops keep nothing open: 16 KiB/s is the least.
  func testBegunFrameMayNotDrip() {
    let dripping = Stranger(World())
    dripping.begin(100)
    for _ in 0..<44 {
      dripping.world.run(1_000)
      dripping.go(on: 16_000)
      XCTAssertFalse(dripping.isGone)
    }
    assertEnds(dripping, at: 1_000)

    let slow = Stranger(World())
    let bytes = slow.sealed(4_000_000)
    var offset = 0
    while offset < bytes.count {
      let next = min(offset + 17_000, bytes.count)
      XCTAssertEqual(slow.feed(Array(bytes[offset..<next])), next - offset)
      offset = next
      slow.world.run(1_000)
      if slow.isGone { return XCTFail("ended after \(offset) bytes") }
    }
    XCTAssertEqual(slow.record.messageBytes, 4_000_000)
  }

  func testCompleteFramesStopTheClock() {
    let stranger = Stranger(World())
    let empty = stranger.sealed(0)
    stranger.feed(Array(empty.prefix(10)))
    stranger.world.run(29_000)
    stranger.feed(Array(empty.dropFirst(10)))
    stranger.world.run(300_000)
    XCTAssertFalse(stranger.isGone)
    XCTAssertEqual(stranger.world.memory.used, 0)
  }

  // MARK: The bound

  /// Nothing passes the bound; large frames leave room for small ones; what is free goes to the least that waits.
  func testLargeFramesWaitAndSmallOnesDoNot() {
    let world = World()
    let large = (0..<8).map { _ in Stranger(world, proves: true) }
    for stranger in large { stranger.begin(8 << 20) }
    XCTAssertGreaterThan(large.filter(\.isWaiting).count, 3)
    XCTAssertEqual(world.memory.waitingCount, large.filter(\.isWaiting).count)
    XCTAssertLessThanOrEqual(world.memory.used, Bounds.largeMemory + 8 * Bounds.place)
    let small = Stranger(world)
    XCTAssertEqual(small.feed(small.sealed(65_553)), 65_553 + Limits.Stream.frameOverhead)
    XCTAssertEqual(small.record.messageBytes, 65_553)
    // One that had room goes, and what it had is used.
    let going = large.first { !$0.isWaiting }
    let before = large.filter(\.isWaiting)
    going?.stream.destroy()
    world.run()
    let after = before.filter(\.isWaiting)
    XCTAssertLessThan(after.count, before.count)
    XCTAssertEqual(world.memory.waitingCount, after.count)
    for stranger in before where !stranger.isWaiting { XCTAssertGreaterThan(stranger.go(on: 1_000), 0) }
    XCTAssertLessThanOrEqual(world.memory.peak, Bounds.memory)
  }

  /// At the bound the largest frame that has not got on ends; what gets on stays.
  func testLargestStalledFrameEnds() {
    let world = World()
    let first = Stranger(world, proves: true)
    first.begin(2 << 20)
    world.run(100)
    let second = Stranger(world, proves: true)
    second.begin(3 << 19)
    XCTAssertTrue([first, second].allSatisfy { !$0.isWaiting })
    let third = Stranger(world, proves: true)
    third.begin(3 << 20)
    XCTAssertTrue(third.isWaiting)
    world.run(Bounds.stall - 200)
    first.go(on: 1)
    XCTAssertTrue([first, second, third].allSatisfy { !$0.isGone })
    world.run(200)
    XCTAssertEqual([first, second, third].map(\.isGone), [false, true, false])
    XCTAssertFalse(third.isWaiting, "goes on with the memory of the second")
    XCTAssertGreaterThan(third.go(on: 1_000_000), 0)
  }

  /// The largest of those that wait ends when none can go on; each frame's own deadline runs.
  func testThoseThatWaitEnd() {
    let world = World()
    let crowd = (0..<40).map { _ in Stranger(world, proves: true) }
    for _ in 0..<64 { for stranger in crowd { stranger.go(on: stranger.sent == 0 ? stranger.begin(65_536) : 65_536) } }
    XCTAssertGreaterThan(world.memory.waitingCount, 20)
    let taken = crowd.map { $0.stream.share?.growth ?? 0 }
    world.run(Bounds.stall + 1)
    let (gone, left) = (crowd.indices.filter { crowd[$0].isGone }, crowd.indices.filter { !crowd[$0].isGone })
    XCTAssertTrue(gone.count > 0 && left.count > 0)
    XCTAssertEqual(Int(world.memory.counters.framesEvicted), gone.count)
    XCTAssertTrue(gone.allSatisfy { crowd[$0].error == .evicted })
    XCTAssertGreaterThanOrEqual(gone.map { taken[$0] }.min() ?? 0, left.map { taken[$0] }.max() ?? 0, "the largest")
    world.run(Bounds.deadline - Bounds.stall)
    XCTAssertEqual(world.memory.used, 0)
    XCTAssertTrue(crowd.allSatisfy(\.isGone))
  }

  /// Newcomers take the places of those that have begun nothing for long, then of the frame that has not got on for the
  /// longest time, then of the oldest; never of one that has proved its key and only reads.
  func testNewcomersFindPlaces() {
    let world = World()
    let reader = Stranger(world, proves: true)
    var idle = (0..<2).map { _ in Stranger(world) }
    world.run(Bounds.stall - 1)
    idle.append(Stranger(world))
    let frames = (0..<2).map { _ in Stranger(world) }
    for stranger in frames.reversed() {
      world.run()
      stranger.begin(2_000)
    }
    let young = (5..<Bounds.places).map { _ in Stranger(world) }
    XCTAssertEqual(world.memory.used, Bounds.places * Bounds.place)
    XCTAssertEqual(world.memory.counters.idleEvicted, 0)
    let order = [idle[0], idle[1], frames[1], frames[0], idle[2], young[0], young[1]]
    var newcomers: [Stranger] = []
    for (index, next) in order.enumerated() {
      XCTAssertFalse(next.isGone, "\(index)")
      newcomers.append(Stranger(world))
      XCTAssertEqual(next.error, .evicted, "\(index)")
    }
    XCTAssertEqual(young.filter(\.isGone).count, 2)
    XCTAssertFalse(reader.isGone || newcomers.contains(where: \.isGone))
    XCTAssertEqual([world.memory.counters.idleEvicted, world.memory.counters.framesEvicted], [5, 2])
    XCTAssertLessThanOrEqual(world.memory.peak, Bounds.memory)
  }

  /// A thousand strangers a second from four hosts take each other's places, whether they begin frames or not: one of
  /// another host that has begun nothing yet, or a part of a frame, has the time that it needs.
  func testAFewHostsPushOutOnlyEachOther() {
    for begins in [false, true] {
      let world = World()
      let honest = IPv4Address(9, 9, 9, 9)
      let silent = Stranger(world, host: honest)
      let slow = Stranger(world, host: honest)
      slow.begin(2_000)
      let crowd = (0..<3 * Bounds.places).map { number in
        let stranger = Stranger(world, host: IPv4Address(8, 8, 8, UInt8(number % 4)))
        if begins { stranger.begin(2_000) }
        return stranger
      }
      XCTAssertFalse(silent.isGone || slow.isGone)
      XCTAssertGreaterThanOrEqual(crowd.count(where: \.isGone), 2 * Bounds.places)
      XCTAssertLessThanOrEqual(world.memory.peak, Bounds.memory)
      // Its own share is no more than that: newcomers of its host beyond it lose to each other.
      let many = (0..<Bounds.places).map { _ in Stranger(world, host: honest) }
      XCTAssertTrue(silent.isGone)
      XCTAssertLessThanOrEqual(many.count { !$0.isGone }, Bounds.places / 4)
    }
  }

  /// When everything is begun frames a newcomer takes the place of the one that has been silent for longest.
  func testNewcomersFindRoomAmongFrames() {
    let world = World()
    let crowd = (0..<Bounds.places).map { _ in Stranger(world, proves: true) }
    for stranger in crowd {
      stranger.begin(2_000)
      world.run()
    }
    XCTAssertFalse(crowd.contains(where: \.isGone))
    crowd[0].go(on: 10)
    let newcomer = Stranger(world)
    XCTAssertFalse(newcomer.isGone)
    XCTAssertEqual(crowd.indices.filter { crowd[$0].isGone }, [1])
    XCTAssertEqual(crowd[1].error, .evicted)
    XCTAssertLessThanOrEqual(world.memory.peak, Bounds.memory)
  }

  /// A transport that delivers more than a packet at once cannot pass the bound either.
  func testMoreThanAPacketAtOnce() {
    let world = World()
    let crowd = (0..<Bounds.places).map { _ in Stranger(world, proves: true) }
    for stranger in crowd.prefix(200) { stranger.begin(2_000) }
    for stranger in crowd.suffix(1_000) {
      stranger.feed([0xff, 0xff, 0xff] + [UInt8](repeating: 1, count: 60_000), packet: 60_003)
    }
    world.run()
    XCTAssertLessThanOrEqual(world.memory.peak, Bounds.memory)
    XCTAssertGreaterThan(crowd.filter(\.isGone).count, 0)
  }

  /// Frames above the application's own bound end the stream with the prefix.
  func testOwnBoundOfMessages() {
    let world = World()
    let stranger = Stranger(world)
    stranger.stream.maximumFrame = 1_000 + Limits.Stream.messageOverhead
    stranger.feed(stranger.sealed(1_000))
    XCTAssertEqual(stranger.record.messageBytes, 1_000)
    stranger.feed(Array(stranger.sealed(1_001).prefix(3)))
    XCTAssertEqual(stranger.error, .frameTooLarge)
  }
}
