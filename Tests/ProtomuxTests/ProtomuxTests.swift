import HyperDHT
import HyperEncoding
import HyperProtomuxJSON
import HyperRuntime
import XCTest

@testable import HyperProtomux

/// The public interface, over streams in this process.
final class ProtomuxTests: XCTestCase {
  private struct Greeting: Codable, Sendable, Equatable {
    var name: String
    var age: Int?
  }

  func testTypedMessagesBothWays() async throws {
    let (a, b) = pair()
    let here = try a.createChannel(protocol: "demo/1", id: [1])
    let there = try b.createChannel(protocol: "demo/1", id: [1])
    let (text, numbers, greetings) = (
      here.addMessage(.string), here.addMessage(.array(of: .uint)), here.addMessage(.json(Greeting.self))
    )
    let (text2, numbers2, greetings2) = (
      there.addMessage(.string), there.addMessage(.array(of: .uint)), there.addMessage(.json(Greeting.self))
    )
    XCTAssertEqual([text.type, numbers.type, greetings.type], [0, 1, 2])
    try here.open(handshake: Greeting(name: "a", age: 1), .json())
    try there.open(handshake: Greeting(name: "b"), .json())
    let (atHere, atThere) = (try await here.opened(.json(Greeting.self)), try await there.opened(.json(Greeting.self)))
    XCTAssertEqual([atHere, atThere], [Greeting(name: "b"), Greeting(name: "a", age: 1)])
    XCTAssertTrue(here.isOpened && there.isOpened && a.isOpened(protocol: "demo/1", id: [1]))
    XCTAssertFalse(a.isOpened(protocol: "demo/1"))
    try await text.send("hello")
    try await text.send("w\u{f6}rld")
    try numbers2.sendWithoutWaiting([1, 300, .max])
    try await greetings.send(Greeting(name: "c"))
    var lines = text2.messages.makeAsyncIterator()
    let received = [try await lines.next(), try await lines.next()]
    XCTAssertEqual(received, ["hello", "w\u{f6}rld"])
    let sums = try await first(numbers.messages)
    XCTAssertEqual(sums, [1, 300, .max])
    let greeting = try await first(greetings2.messages)
    XCTAssertEqual(greeting, Greeting(name: "c"))
    there.close()
    let reason = try await here.closed()
    XCTAssertNil(reason)
    let end = try await lines.next()
    XCTAssertNil(end, "its messages end")
    XCTAssertTrue(here.isClosed && there.isClosed && !here.isOpened)
    XCTAssertThrowsError(try text.sendWithoutWaiting("late")) { XCTAssertEqual($0 as? ProtomuxError, .closed) }
    XCTAssertTrue(a.channels.isEmpty)
    a.destroy()
    let ended = try await b.closed()
    XCTAssertNil(ended)
  }

  func testHandlersAndMessagesBeforeTheChannelIsOpened() async throws {
    let (a, b) = pair()
    let (lines, stream) = AsyncStream.makeStream(of: String.self)
    let here = try a.createChannel(protocol: "x")
    let out = here.addMessage(.rawString)
    try here.open()
    for index in 0..<5 { try await out.send("early \(index)") }
    b.pair(protocol: "x") { mux, id in
      guard id.isEmpty, let there = try? mux.createChannel(protocol: "x") else { return }
      // The peer's messages have arrived: they wait until the channel is open.
      try? await Task.sleep(for: .milliseconds(30))
      there.skipMessage()
      _ = there.addMessage(.rawString) { stream.yield("1: \($0)") }
      try? there.open()
    }
    b.start()
    try await here.opened()
    let second = here.addMessage(.rawString)
    try await second.send("late")
    var iterator = lines.makeAsyncIterator()
    let line = await iterator.next()
    XCTAssertEqual(line, "1: late", "the type that was skipped is dropped")
    await close(a, b)
  }

  private func close(_ a: Protomux, _ b: Protomux) async {
    async let closing: Void = a.close()
    await b.close()
    await closing
    XCTAssertTrue(a.isClosed && b.isClosed)
  }

  func testRejectedAndDuplicateChannels() async throws {
    let (a, b) = pair()
    let channel = try a.createChannel(protocol: "x", aliases: ["y"])
    XCTAssertThrowsError(try a.createChannel(protocol: "y")) { XCTAssertEqual($0 as? ProtomuxError, .duplicateChannel) }
    let text = channel.addMessage(.string)
    XCTAssertThrowsError(try text.sendWithoutWaiting("too early")) { XCTAssertEqual($0 as? ProtomuxError, .notOpened) }
    try channel.open()
    b.start()
    do {
      try await channel.opened()
      XCTFail("nobody wants it")
    } catch {
      XCTAssertEqual(error, .rejected)
      XCTAssertEqual(error.code, "CHANNEL_REJECTED")
    }
    let reason = try await channel.closed()
    XCTAssertEqual(reason, .rejected)
    let nothing = try await first(text.messages)
    XCTAssertNil(nothing)
    XCTAssertNoThrow(try a.createChannel(protocol: "y"))
    await close(a, b)
    XCTAssertThrowsError(try a.createChannel(protocol: "z")) { XCTAssertEqual($0 as? ProtomuxError, .closed) }
  }

  func testOffersByIDAndUnpair() async throws {
    let (a, b) = pair()
    let (names, stream) = AsyncStream.makeStream(of: String.self)
    b.pair(protocol: "feed") { mux, id in
      stream.yield("any \(id)")
      try? mux.createChannel(protocol: "feed", id: id).open()
    }
    b.pair(protocol: "feed", id: [1]) { _, id in stream.yield("one \(id)") }
    b.start()
    var opened: [String] = []
    for id in [[1], [2], []] as [[UInt8]] {
      let channel = try a.createChannel(protocol: "feed", id: id)
      try channel.open()
      do { opened.append("\(try await channel.opened())") } catch { opened.append(error.code) }
    }
    XCTAssertEqual(opened, ["CHANNEL_REJECTED", "[]", "[]"])
    var iterator = names.makeAsyncIterator()
    let order = [await iterator.next(), await iterator.next(), await iterator.next()]
    XCTAssertEqual(order, ["one [1]", "any [2]", "any []"])
    b.unpair(protocol: "feed")
    let late = try a.createChannel(protocol: "feed", id: [3])
    try late.open()
    let reason = try await late.closed()
    XCTAssertEqual(reason, .rejected)
    await close(a, b)
  }

  func testCorkedMessagesAreOneBatchAndSoAreTheAnswers() async throws {
    let (left, right) = MemoryStream.pair()
    let (a, b) = (Protomux(over: left), Protomux(over: right))
    let here = try a.createChannel(protocol: "x")
    let question = here.addMessage(.uint)
    let there = try b.createChannel(protocol: "x")
    let box = Locked<Protomux.Message<CompactCodec<UInt64>>?>(nil)
    let answer = there.addMessage(.uint) { number in
      _ = try? box.withLock { $0 }?.sendWithoutWaiting(number * 2)
    }
    box.withLock { $0 = answer }
    try here.open()
    try there.open()
    try await here.opened()
    try await there.opened()
    _ = (left.takeWritten(), right.takeWritten())
    try a.corked {
      for number in 1...3 as ClosedRange<UInt64> { XCTAssertTrue(try question.sendWithoutWaiting(number)) }
      XCTAssertEqual(left.takeWritten(), [])
    }
    var answers = question.messages.makeAsyncIterator()
    let doubled = [try await answers.next(), try await answers.next(), try await answers.next()]
    XCTAssertEqual(doubled, [2, 4, 6])
    XCTAssertEqual(left.takeWritten(), [[0, 0, 1, 2, 0, 1, 2, 0, 2, 2, 0, 3]])
    XCTAssertEqual(right.takeWritten(), [[0, 0, 1, 2, 0, 2, 2, 0, 4, 2, 0, 6]])
    await close(a, b)
  }

  func testCloseSendsWhatIsCorked() async throws {
    let (left, right) = MemoryStream.pair()
    let (a, b) = (Protomux(over: left), Protomux(over: right))
    let (here, there) = (try a.createChannel(protocol: "x"), try b.createChannel(protocol: "x"))
    let (out, last) = (here.addMessage(.raw), there.addMessage(.raw))
    try here.open()
    try there.open()
    try await here.opened()
    a.cork()
    try out.sendWithoutWaiting([3])
    await a.close()
    let received = try await first(last.messages)
    XCTAssertEqual(received, [3])
    let reason = try await there.closed()
    XCTAssertNil(reason)
    XCTAssertEqual(left.takeWritten().last, [0, 0, 1, 2, 0, 3, 0, 0, 2, 3, 1])
    b.destroy()
  }

  func testRoom() async throws {
    let (left, right) = MemoryStream.pair()
    let (a, b) = (Protomux(over: left), Protomux(over: right))
    let here = try a.createChannel(protocol: "x")
    let message = here.addMessage(.raw)
    try here.open()
    XCTAssertTrue(a.isDrained)
    left.hasRoom = false
    XCTAssertFalse(try message.sendWithoutWaiting([1]))
    XCTAssertFalse(a.isDrained)
    let waiting = Task { try await message.send([2]) }
    let cancelled = Task { try await a.drained() }
    try await Task.sleep(for: .milliseconds(20))
    XCTAssertEqual(left.takeWritten().count, 2, "the second one waits")
    cancelled.cancel()
    do {
      try await cancelled.value
      XCTFail("cancelled")
    } catch {
      XCTAssertEqual(error as? ProtomuxError, .cancelled)
    }
    left.hasRoom = true
    try await waiting.value
    try await eventually("drained") { a.isDrained }
    XCTAssertEqual(left.takeWritten(), [[1, 0, 2]])
    await close(a, b)
  }

  func testUnreadMessagesHoldUpTheConnection() async throws {
    let (a, b) = pair()
    let here = try a.createChannel(protocol: "x")
    let (out, done) = (here.addMessage(.raw), here.addMessage(.raw))
    let there = try b.createChannel(protocol: "x")
    var slow: Protomux.Message<RawCodec>? = there.addMessage(.raw)
    let count = Locked(0)
    _ = there.addMessage(.raw) { _ in count.withLock { $0 += 1 } }
    try here.open()
    try there.open()
    try await there.opened()
    let piece = [UInt8](repeating: 7, count: 100_000)
    let pieces = 1 + HyperProtomux.Limits.unreadBytes / (piece.count + HyperProtomux.Limits.messageCost)
    func fill() async throws {
      for _ in 0..<pieces { try await out.send(piece) }
      try await done.send([])
      try await Task.sleep(for: .milliseconds(50))
    }
    func read(_ number: Int) async throws {
      var messages = slow?.messages.makeAsyncIterator()
      for _ in 0..<number { _ = try await messages?.next() }
    }
    try await fill()
    XCTAssertEqual(count.withLock { $0 }, 0, "behind what is not read")
    try await read(pieces / 3)
    try await Task.sleep(for: .milliseconds(50))
    XCTAssertEqual(count.withLock { $0 }, 0, "still more than half of it")
    try await read(pieces - pieces / 3)
    try await eventually("goes on") { count.withLock { $0 } == 1 }
    try await fill()
    XCTAssertEqual(count.withLock { $0 }, 1)
    slow = nil
    try await eventually("goes on without a reader") { count.withLock { $0 } == 2 }
    await close(a, b)
  }

  /// What comes for a channel that has closed meanwhile does not count.
  func testMessagesOfClosedChannelsCountNoMore() async throws {
    let (a, b) = pair()
    var kept: [Protomux.Message<RawCodec>] = []
    for round in 0..<40 as Range<UInt8> {
      let (here, there) = (
        try a.createChannel(protocol: "x", id: [round]), try b.createChannel(protocol: "x", id: [round])
      )
      let (out, message) = (here.addMessage(.raw), there.addMessage(.raw))
      try here.open()
      try there.open()
      try await there.opened()
      for _ in 0..<3 { try out.sendWithoutWaiting([UInt8](repeating: 1, count: 50_000)) }
      there.close()
      try await here.closed()
      // At most what was there before the close is left.
      for try await _ in message.messages {}
      kept.append(message)
    }
    await close(a, b)
  }

  /// Without a reader, messages neither wait nor count.
  func testMessagesThatNobodyCanReadAreDropped() async throws {
    let (a, b) = pair()
    let here = try a.createChannel(protocol: "x")
    let (out, done) = (here.addMessage(.raw), here.addMessage(.raw))
    let there = try b.createChannel(protocol: "x")
    _ = there.addMessage(.raw)
    let last = there.addMessage(.raw)
    try here.open()
    try there.open()
    for _ in 0..<30 { try await out.send([UInt8](repeating: 7, count: 100_000)) }
    try await done.send([9])
    let end = try await first(last.messages)
    XCTAssertEqual(end, [9])
    await close(a, b)
  }

  func testManyTasksAtOnce() async throws {
    let (a, b) = pair()
    b.pair(protocol: "echo") { mux, id in
      guard let channel = try? mux.createChannel(protocol: "echo", id: id) else { return }
      let numbers = channel.addMessage(.uint)
      try? channel.open()
      Task {
        for try await number in numbers.messages { try await numbers.send(number + 1) }
      }
    }
    b.start()
    try await withThrowingTaskGroup(of: UInt64.self) { group in
      for worker in 0..<8 as Range<UInt8> {
        group.addTask {
          var sum: UInt64 = 0
          for round in 0..<40 as Range<UInt8> {
            let channel = try a.createChannel(protocol: "echo", id: [worker, round])
            let numbers = channel.addMessage(.uint)
            try channel.open()
            try a.corked {
              for number in 0..<3 as Range<UInt64> { try numbers.sendWithoutWaiting(number) }
            }
            var answers = numbers.messages.makeAsyncIterator()
            for _ in 0..<3 { sum += try await answers.next() ?? 0 }
            channel.close()
          }
          return sum
        }
      }
      let total = try await group.reduce(0, +)
      XCTAssertEqual(total, 8 * 40 * 6)
    }
    try await eventually("all are closed") { a.channels.isEmpty && b.channels.isEmpty }
    await close(a, b)
  }

  func testAChannelThatIsClosedBeforeThePeerOpensIt() async throws {
    let (a, b) = pair()
    let channel = try a.createChannel(protocol: "x")
    try channel.open()
    channel.close()
    do {
      try await channel.opened()
      XCTFail("closed")
    } catch {
      XCTAssertEqual(error, .closed)
    }
    XCTAssertFalse(channel.isOpened)
    let late = channel.addMessage(.raw)
    let nothing = try await first(late.messages)
    XCTAssertNil(nothing)
    await close(a, b)
  }

  func testAWaitThatIsCancelled() async throws {
    let (a, b) = pair()
    let channel = try a.createChannel(protocol: "x")
    try channel.open()
    let waiting = Task { try await channel.opened() }
    waiting.cancel()
    do {
      _ = try await waiting.value
      XCTFail("cancelled")
    } catch {
      XCTAssertEqual(error as? ProtomuxError, .cancelled)
    }
    XCTAssertFalse(channel.isClosed)
    await close(a, b)
  }

  func testCodecs() throws {
    func check<Codec: MessageCodec>(_ codec: Codec, _ value: Codec.Value, _ bytes: [UInt8]) throws
    where Codec.Value: Equatable {
      XCTAssertEqual(try codec.encode(value), bytes)
      XCTAssertEqual(try codec.decode(bytes), value)
    }
    try check(.raw, [1, 2], [1, 2])
    try check(.buffer, [1, 2], [2, 1, 2])
    try check(.string, "h\u{e9}", [3, 0x68, 0xc3, 0xa9])
    try check(.utf8, "", [0])
    try check(.rawString, "h\u{e9}", [0x68, 0xc3, 0xa9])
    try check(.uint, 252, [252])
    try check(.uint, 253, [0xfd, 253, 0])
    try check(.int, -2, [3])
    try check(.bool, true, [1])
    try check(.fixed32, Bytes32(repeating: 5), [UInt8](repeating: 5, count: 32))
    try check(.array(of: .string), ["a", ""], [2, 1, 0x61, 0])
    let text = Array(#"{"age":3,"name":"/"}"#.utf8)
    try check(.json(), Greeting(name: "/", age: 3), [UInt8(text.count)] + text)
    try check(.rawJSON(), Greeting(name: "/", age: 3), text)
    XCTAssertThrowsError(try CompactCodec<String>.string.decode([3, 1]))
  }
}
