import HyperEncoding
import XCTest

@testable import HyperProtomuxEngine

/// What the recorded conversations do not show: offers that take their time, bounds, names, refusals.
final class EngineTests: XCTestCase {
  private func openFrame(_ localID: UInt64, _ name: String, id: [UInt8] = [], handshake: [UInt8] = []) -> [UInt8] {
    var writer = CompactWriter()
    for value in [0, 1, localID] { writer.uint(value) }
    writer.string(name)
    writer.buffer(id)
    writer.raw(handshake)
    return writer.bytes
  }

  /// An end that keeps offers to itself.
  private func considering(_ name: String, maximumChannels: Int = Limits.channels) -> EngineEnd {
    let end = EngineEnd(maximumChannels: maximumChannels)
    end.engine.pair(ChannelName(name))
    return end
  }

  /// Takes events without answering offers.
  private func events(_ end: EngineEnd, _ frame: [UInt8]? = nil) throws -> [String] {
    if let frame { end.engine.receive(frame) }
    var events: [String] = []
    while let event = try end.engine.next() { events.append(EngineEnd.text(event)) }
    return events
  }

  func testMessagesAreHeldUntilTheChannelIsOpened() throws {
    let end = considering("x")
    XCTAssertEqual(try events(end, openFrame(1, "x", id: [7], handshake: [1, 2])), ["offer x [7]"])
    XCTAssertEqual(try events(end, [1, 0, 5]), [])
    XCTAssertEqual(try events(end, [0, 0, 1, 2, 1, 6, 1, 9]), [])
    let held = 2 + (1 + 512) + (1 + 512) + 512
    XCTAssertEqual(end.engine.pendingBytes, held)
    let channel = try end.create("x", id: [7])
    XCTAssertEqual(try events(end), [], "created is not open")
    XCTAssertEqual(try events(end, [1, 3, 8]), [])
    end.engine.offerHandled(ChannelName("x", id: [7]))
    XCTAssertEqual(end.outbox, [], "claimed, so not rejected")
    try end.engine.open(channel, handshake: [4])
    XCTAssertEqual(end.takeOutbox(), [openFrame(1, "x", id: [7], handshake: [4])])
    let order = ["opened x [1, 2]", "message x 0 [5]", "message x 1 [6]", "message x 9 []", "message x 3 [8]"]
    XCTAssertEqual(try events(end), order)
    XCTAssertEqual(end.engine.pendingBytes, 0)
    XCTAssertEqual(try events(end, [1, 4]), ["message x 4 []"])
  }

  func testReadingStopsAboveTheBoundOfHeldMessages() throws {
    let end = considering("x")
    XCTAssertEqual(try events(end, openFrame(1, "x")).count, 1)
    // 64 of them fill 32 KiB to the byte, with 512 more for each.
    for _ in 0..<64 { XCTAssertEqual(try events(end, [1, 0]), []) }
    XCTAssertEqual(end.engine.pendingBytes, 32_768)
    XCTAssertFalse(end.engine.isBlocked)
    end.engine.receive([0, 0, 1, 1, 0, 2, 0, 7, 1, 1])
    XCTAssertEqual(try events(end), [])
    XCTAssertTrue(end.engine.isBlocked)
    XCTAssertFalse(end.engine.isIdle, "the rest of the batch waits")
    let channel = try end.create("x")
    try end.engine.open(channel)
    let all = try events(end)
    XCTAssertEqual(all.count, 68)
    XCTAssertEqual(Array(all.suffix(2)), ["message x 0 [7]", "message x 1 []"])
    XCTAssertTrue(end.engine.isIdle)
    XCTAssertFalse(end.engine.isBlocked)
  }

  func testARejectedChannelGivesBackWhatItHeld() throws {
    let end = considering("x")
    _ = try events(end, openFrame(1, "x", handshake: [1, 2, 3]))
    while !end.engine.isBlocked { _ = try events(end, [1, 0, 9]) }
    end.engine.offerHandled(ChannelName("x"))
    XCTAssertEqual(end.takeOutbox(), [[0, 2, 1]])
    XCTAssertEqual(end.engine.pendingBytes, 0)
    XCTAssertFalse(end.engine.isBlocked)
    XCTAssertEqual(try events(end), [])
    XCTAssertEqual(try events(end, openFrame(1, "x")), ["offer x []"], "the id can be used again")
  }

  func testSeveralOffersOfANameAreRejectedAfterTheLastAnswer() throws {
    let end = considering("x")
    XCTAssertEqual(try events(end, openFrame(1, "x")) + events(end, openFrame(2, "x")), ["offer x []", "offer x []"])
    end.engine.offerHandled(ChannelName("x"))
    XCTAssertEqual(end.takeOutbox(), [])
    let first = try end.create("x")
    end.engine.offerHandled(ChannelName("x"))
    XCTAssertEqual(end.takeOutbox(), [[0, 2, 2]], "the first one was claimed")
    try end.engine.open(first)
    XCTAssertEqual(try events(end), ["opened x []"])
    end.engine.offerHandled(ChannelName("x"))
    XCTAssertEqual(end.engine.offerCount, 0, "one answer too many")
  }

  func testThePeerClosesWhatIsBeingConsidered() throws {
    let end = considering("x")
    _ = try events(end, openFrame(1, "x"))
    XCTAssertEqual(try events(end, [0, 3, 1]), [])
    XCTAssertEqual(end.takeOutbox(), [[0, 2, 1]], "the peer waits for an answer")
    let late = try end.create("x")
    XCTAssertEqual(late.remoteID, 0)
    end.engine.offerHandled(ChannelName("x"))
    XCTAssertEqual(end.takeOutbox(), [])

    _ = try events(end, openFrame(1, "x", id: [2]))
    let claimed = try end.create("x", id: [2])
    XCTAssertEqual(try events(end, [0, 3, 1]), ["closed x"], "claimed, and not opened yet")
    XCTAssertEqual(end.takeOutbox(), [[0, 2, 1]])
    XCTAssertThrowsError(try end.engine.open(claimed)) { XCTAssertEqual($0 as? MuxRefusal, .closed) }
    XCTAssertEqual(claimed.stage, .closed)
  }

  func testAClaimedChannelThatIsClosedBeforeItOpensIsRejected() throws {
    let end = considering("x")
    _ = try events(end, openFrame(1, "x"))
    let channel = try end.create("x")
    end.engine.close(channel)
    end.engine.close(channel)
    XCTAssertEqual(end.takeOutbox(), [[0, 2, 1]])
    let other = try end.create("y")
    end.engine.close(other)
    XCTAssertEqual(end.takeOutbox(), [], "the peer has never heard of it")
    XCTAssertEqual(try end.open("z").localID, 1)
    XCTAssertEqual(try end.open("w").localID, 2)
    XCTAssertThrowsError(try end.engine.send(other, type: 0, body: [])) { XCTAssertEqual($0 as? MuxRefusal, .closed) }
  }

  func testAChannelThatIsClosedWithItsMessagesUndelivered() throws {
    let end = considering("x")
    _ = try events(end, openFrame(1, "x"))
    _ = try events(end, [1, 0, 5])
    let channel = try end.open("x")
    end.engine.close(channel)
    XCTAssertEqual(end.takeOutbox(), [openFrame(1, "x"), [0, 3, 1]])
    XCTAssertEqual(try events(end), [])
    XCTAssertEqual(end.engine.pendingBytes, 0)
    XCTAssertEqual(try end.open("y").localID, 1)
  }

  func testThePeerOpensWhatThisSideIsAboutToOpen() throws {
    let end = EngineEnd()
    let first = try end.create("x", aliases: ["y"], as: "first")
    let second = try end.engine.create(ChannelName("y"), isUnique: false)
    second.owner = EngineEnd.Label("second")
    let closed = try end.create("z")
    end.engine.close(closed)
    for (id, name) in [(1, "y"), (2, "y"), (3, "y"), (4, "z")] as [(UInt64, String)] {
      end.receive(openFrame(id, name, handshake: [UInt8(id)]))
    }
    XCTAssertEqual(end.takeOutbox(), [[0, 2, 3], [0, 2, 4]])
    XCTAssertEqual(end.engine.pendingBytes, 2)
    end.receive([2, 0, 8])
    try end.engine.open(second)
    try end.engine.open(first)
    end.run()
    XCTAssertEqual(end.events, ["opened second [2]", "message second 0 [8]", "opened first [1]"])
    XCTAssertEqual(end.takeOutbox(), [openFrame(1, "y"), openFrame(2, "y")])
    XCTAssertEqual(end.engine.pendingBytes, 0)
    let opened = try end.open("w")
    end.receive(openFrame(3, "w"))
    XCTAssertEqual(opened.stage, .open)
    end.receive(openFrame(4, "w"))
    XCTAssertEqual(end.outbox.last, [0, 2, 4], "one that is open waits for no other")
  }

  func testAliasesAnswerUnderTheNameThatThePeerKnows() throws {
    let end = considering("old")
    XCTAssertEqual(try events(end, openFrame(1, "old")), ["offer old []"])
    try end.open("new", aliases: ["older", "old"])
    XCTAssertEqual(end.takeOutbox(), [openFrame(1, "old")])
    XCTAssertEqual(try events(end), ["opened new []"])
    XCTAssertTrue(end.engine.isOpened(ChannelName("older")))
    XCTAssertTrue(end.engine.isOpened(ChannelName("new")))
    XCTAssertFalse(end.engine.isOpened(ChannelName("new", id: [1])))
  }

  /// Both opens have crossed, and only one side knows both names.
  func testAliasThatThePeerDoesNotKnow() throws {
    let (old, new) = (EngineEnd(), EngineEnd())
    try old.open("old")
    try new.open("new", aliases: ["old"])
    exchange(old, new)
    XCTAssertEqual(new.events, ["opened new []", "rejected new"])
    XCTAssertEqual(old.events, ["rejected old"])
    XCTAssertNil(old.violation ?? new.violation)
    try old.open("again")
    try new.open("again")
    exchange(old, new)
    XCTAssertEqual(old.events.last, "opened again []")
  }

  func testNamesAreComparedAsBytes() throws {
    let (a, b) = (EngineEnd(), EngineEnd())
    // One letter with an accent, and two code points that look the same.
    try a.open("caf\u{e9}")
    try b.open("cafe\u{301}")
    exchange(a, b)
    XCTAssertEqual(a.events + b.events, ["rejected caf\u{e9}", "rejected cafe\u{301}"])
  }

  func testRefusals() throws {
    let end = EngineEnd(maximumFrame: 100, maximumChannels: 2)
    let channel = try end.create("x")
    XCTAssertThrowsError(try end.engine.send(channel, type: 0, body: [])) {
      XCTAssertEqual($0 as? MuxRefusal, .notOpened)
    }
    XCTAssertThrowsError(try end.create("x")) { XCTAssertEqual($0 as? MuxRefusal, .duplicate) }
    let fits = [UInt8](repeating: 1, count: 100 - Limits.frameOverhead)
    XCTAssertThrowsError(try end.engine.open(channel, handshake: fits)) {
      XCTAssertEqual($0 as? MuxRefusal, .tooLarge(fits.count + 4))
    }
    XCTAssertEqual(channel.stage, .created)
    try end.engine.open(channel, handshake: Array(fits.dropLast(4)))
    XCTAssertThrowsError(try end.engine.open(channel)) { XCTAssertEqual($0 as? MuxRefusal, .closed) }
    try end.engine.send(channel, type: .max, body: fits)
    XCTAssertThrowsError(try end.engine.send(channel, type: 0, body: fits + [1])) {
      XCTAssertEqual($0 as? MuxRefusal, .tooLarge(fits.count + 1))
    }
    try end.open("y")
    XCTAssertThrowsError(try end.create("z")) { XCTAssertEqual($0 as? MuxRefusal, .tooManyChannels) }
    end.engine.close(channel)
    XCTAssertThrowsError(try end.create("z"), "the id is in use until the peer has answered") {
      XCTAssertEqual($0 as? MuxRefusal, .tooManyChannels)
    }
    end.receive([0, 2, 1])
    XCTAssertNoThrow(try end.create("z"))
    XCTAssertEqual(end.engine.shutDown().count, 2)
    XCTAssertThrowsError(try end.create("w")) { XCTAssertEqual($0 as? MuxRefusal, .closed) }
    XCTAssertTrue(end.outbox.allSatisfy { $0.count <= 100 })
  }

  func testANameIsInUseAsLongAsAnyChannelHasIt() throws {
    let end = EngineEnd()
    let channels = try (0..<2).map { _ in try end.engine.create(ChannelName("x"), isUnique: false) }
    end.engine.close(channels[0])
    XCTAssertThrowsError(try end.create("x")) { XCTAssertEqual($0 as? MuxRefusal, .duplicate) }
    XCTAssertFalse(end.engine.isOpened(ChannelName("x")))
    try end.engine.open(channels[1])
    XCTAssertTrue(end.engine.isOpened(ChannelName("x")))
    end.engine.close(channels[1])
    XCTAssertFalse(end.engine.isOpened(ChannelName("x")))
    XCTAssertNoThrow(try end.create("x"))
  }

  func testChannelsOfThePeerAreBounded() throws {
    let end = considering("x", maximumChannels: 2)
    end.engine.pair(ChannelName("y"))
    try end.open("own")
    XCTAssertEqual(try events(end, openFrame(1, "x", id: [1])), ["offer x [1]"])
    _ = end.takeOutbox()
    XCTAssertEqual(try events(end, openFrame(2, "x", id: [2])), [])
    XCTAssertEqual(end.takeOutbox(), [[0, 2, 2]])
    end.engine.offerHandled(ChannelName("x", id: [1]))
    XCTAssertEqual(try events(end, openFrame(1, "y")), ["offer y []"])
  }

  func testOffersAreBoundedInNumber() throws {
    let end = considering("x")
    var ids: UInt64 = 0
    while !end.engine.isBlocked {
      if ids > 0 { _ = try events(end, [0, 3, 1]) }
      // What the peer has closed is still being considered.
      ids += 1
      XCTAssertEqual(try events(end, openFrame(1, "x", id: [UInt8(ids >> 8), UInt8(ids & 255)])).count, 1)
    }
    XCTAssertEqual(ids, UInt64(Limits.offers))
    XCTAssertEqual(try events(end, [0, 3, 1]), [])
    XCTAssertFalse(end.engine.isIdle, "not even a close")
    end.engine.offerHandled(ChannelName("x", id: [0, 1]))
    XCTAssertEqual(try events(end), [])
    XCTAssertEqual(try events(end, openFrame(1, "x")), ["offer x []"])
  }

  func testOffersAreBoundedInBytes() throws {
    let end = considering("x")
    var count = 0
    while !end.engine.isBlocked {
      count += 1
      _ = try events(end, openFrame(UInt64(count), "x", id: [UInt8](repeating: UInt8(count), count: 100_000)))
    }
    XCTAssertEqual(count, 1 + Limits.offerBytes / (100_000 + 1 + Limits.offerCost))
    for index in 1...count {
      end.engine.offerHandled(ChannelName("x", id: .init(repeating: UInt8(index), count: 100_000)))
    }
    XCTAssertEqual(end.engine.offerBytes, 0)
    XCTAssertFalse(end.engine.isBlocked)
  }

  /// A frame of a megabyte of messages for a channel that is being considered takes its own size.
  func testHeldMessagesTakeTheirBytes() throws {
    var pending = PendingMessages()
    for index in 0..<1000 { pending.append(UInt64(index), [UInt8](repeating: 1, count: index % 300)) }
    for index in 0..<1000 {
      let message = try XCTUnwrap(pending.popFirst())
      XCTAssertEqual(message.type, UInt64(index))
      XCTAssertEqual(message.body.count, index % 300)
    }
    XCTAssertNil(pending.popFirst())
    XCTAssertEqual(pending.cost, 0)
  }

  func testBatchesAreCut() throws {
    let end = EngineEnd(maximumFrame: 16 << 20)
    let channel = try end.open("x")
    _ = end.takeOutbox()
    end.engine.cork()
    let body = [UInt8](repeating: 1, count: 1 << 20)
    for _ in 0..<8 { try end.engine.send(channel, type: 0, body: body) }
    XCTAssertEqual(end.outbox, [], "the first one above 8 MiB cuts it")
    try end.engine.send(channel, type: 0, body: [])
    XCTAssertEqual(end.outbox.count, 1)
    end.engine.uncork()
    end.engine.uncork()
    XCTAssertEqual(end.takeOutbox().map(\.count), [3 + 8 * (5 + 1 + 1 << 20), 5])
    try end.engine.send(channel, type: 0, body: [])
    XCTAssertEqual(end.takeOutbox(), [[1, 0]], "corked as often as uncorked")
    end.engine.cork()
    try end.engine.send(channel, type: 0, body: [])
    XCTAssertEqual(end.outbox, [], "one uncork too many is forgotten")
    end.engine.uncork()
    XCTAssertEqual(end.takeOutbox(), [[0, 0, 1, 1, 0]])

    let small = EngineEnd(maximumFrame: 1000)
    let other = try small.open("x")
    _ = small.takeOutbox()
    small.engine.cork()
    for _ in 0..<3 { try small.engine.send(other, type: 0, body: .init(repeating: 1, count: 600)) }
    small.engine.uncork()
    XCTAssertEqual(small.outbox.count, 3, "a batch fits the stream")
  }

  func testAnswersToABatchThatIsHeldUpGoOut() throws {
    let end = considering("x")
    _ = try events(end, openFrame(1, "x"))
    for _ in 0..<64 { _ = try events(end, [1, 0]) }
    // The rejection of "no", a message that is one too many, and another one.
    end.engine.receive([0, 0, 0] + [6, 1, 2, 2] + Array("no".utf8) + [0] + [0, 1] + [1, 0, 1, 0])
    XCTAssertEqual(try events(end), [])
    XCTAssertEqual(end.outbox, [[0, 0, 0, 2, 2, 2]])
    XCTAssertFalse(end.engine.isIdle)
  }

  func testRejectionsAreCounted() throws {
    let end = EngineEnd()
    for _ in 0..<10 { end.receive(openFrame(1, "no")) }
    XCTAssertEqual(end.outbox.count, 10)
    XCTAssertEqual(end.engine.replyBytes, 10 * (1 + Limits.frameOverhead))
    end.engine.repliesSent()
    XCTAssertEqual(end.engine.replyBytes, 0)
    end.receive(openFrame(0, "control"))
    XCTAssertEqual(end.outbox.last, [0, 2, 0])
    XCTAssertNil(end.violation)
  }

  func testViolationsEndIt() throws {
    let batchInBatch: [UInt8] = [0, 0, 0, 2, 0, 1]
    for (frame, violation) in [
      (openFrame(2, "x"), MuxViolation.invalidOpen), (openFrame(.max, "x"), .invalidOpen),
      ([0, 2, 1], .invalidReject), ([0, 1, 1], .malformed), (batchInBatch, .malformed), ([0, 0, 1, 3, 0], .malformed),
      ([0, 0, 1, 1, 0xfe, 1, 2, 3, 4], .malformed), ([5], .malformed),
    ] {
      let end = EngineEnd()
      try end.open("own")
      let closed = try end.open("closed")
      end.engine.close(closed)
      if violation == .invalidReject { end.receive([0, 2, 1]) }
      end.receive(frame)
      XCTAssertEqual(end.violation, violation, "\(frame)")
      XCTAssertTrue(end.engine.isClosed)
      let count = end.outbox.count
      end.engine.close(try XCTUnwrap(end.engine.liveChannels.first ?? (violation == .invalidReject ? closed : nil)))
      XCTAssertEqual(end.outbox.count, count)
      XCTAssertEqual(end.engine.shutDown().count, violation == .invalidReject ? 0 : 1)
      XCTAssertTrue(end.engine.liveChannels.isEmpty)
      end.receive([1, 0])
      XCTAssertTrue(end.engine.isIdle)
    }
    let end = considering("x")
    _ = try events(end, openFrame(1, "x"))
    end.receive(openFrame(1, "x"))
    XCTAssertEqual(end.violation, .invalidOpen, "an id that is being considered")
  }
}
