import HyperEncoding
import HyperEnvironment
import HyperRuntime
import XCTest

@testable import HyperUDX

final class UDXStreamTests: XCTestCase {
  func testBulkTransferBothWays() throws {
    let pair = try Pair()
    let (a, b) = try pair.streams()
    let total = 32 << 20
    let writerA = BulkWriter(a, total: total, chunk: 60_000, seed: 1)
    let writerB = BulkWriter(b, total: total, chunk: 7_777, seed: 2)
    var digestA = StreamDigest()
    var digestB = StreamDigest()
    var events: [String] = []
    a.onData = { digestA.update($0) }
    b.onData = { digestB.update($0) }
    a.onEnd = { events.append("a end") }
    b.onEnd = { events.append("b end") }
    var closed = 0
    for (name, stream) in [("a", a), ("b", b)] {
      stream.onClose = { error in
        XCTAssertNil(error)
        events.append("\(name) close")
        closed += 1
        if closed == 2 { pair.finish() }
      }
    }
    writerA.pump()
    writerB.pump()
    pair.run()
    XCTAssertEqual(writerA.digest, digestB)
    XCTAssertEqual(writerB.digest, digestA)
    XCTAssertEqual(digestA.count, total)
    XCTAssertEqual([writerA.acknowledged, writerB.acknowledged], [total, total])
    XCTAssertEqual(Set(events), ["a end", "b end", "a close", "b close"])
    XCTAssertEqual(events.count, 4)
    XCTAssertGreaterThan(a.statistics.bytesReceived, UInt64(total))
  }

  func testPausedReaderHoldsTheWriterBack() throws {
    let pair = try Pair()
    let (a, b) = try pair.streams()
    let total = 64 << 20
    let writer = BulkWriter(a, total: total, chunk: 64 << 10, seed: 3)
    var digest = StreamDigest()
    b.onData = { digest.update($0) }
    b.onEnd = { b.end() }
    b.pauseReading()
    var acknowledgedWhilePaused = 0
    var writtenWhilePaused = 0
    // Until the writer stands still: all that was sent is acknowledged, and no more is sent.
    var looks = 0
    func look() {
      let isStill = writer.acknowledged == acknowledgedWhilePaused && a.statistics.bytesInFlight == 0
      looks = isStill && writer.acknowledged > 0 ? looks + 1 : 0
      acknowledgedWhilePaused = writer.acknowledged
      guard looks == 20 else {
        _ = pair.loop.schedule(after: 10) { look() }
        return
      }
      writtenWhilePaused = total - writer.remaining
      XCTAssertEqual(digest.count, 0)
      b.resumeReading()
    }
    look()
    b.onClose = { _ in pair.finish() }
    writer.pump()
    pair.run()
    // The window is 4 MiB; what the peer acknowledged it holds in memory.
    XCTAssertLessThanOrEqual(acknowledgedWhilePaused, 6 << 20)
    XCTAssertGreaterThan(acknowledgedWhilePaused, 1 << 20)
    XCTAssertLessThanOrEqual(writtenWhilePaused, 10 << 20)
    XCTAssertEqual(writer.digest, digest)
    XCTAssertEqual(digest.count, total)
  }

  func testReaderThatPausesInsideItsCallbackGetsNothingMore() throws {
    let pair = try Pair()
    let (a, b) = try pair.streams()
    let writer = BulkWriter(a, total: 3 << 20, chunk: 64 << 10, seed: 4)
    var digest = StreamDigest()
    var isPaused = false
    b.onData = { bytes in
      XCTAssertFalse(isPaused)
      digest.update(bytes)
      isPaused = true
      b.pauseReading()
      _ = pair.loop.schedule(after: 0) {
        isPaused = false
        b.resumeReading()
      }
    }
    b.onEnd = {
      XCTAssertFalse(isPaused)
      b.end()
    }
    b.onClose = { _ in pair.finish() }
    writer.pump()
    pair.run()
    XCTAssertEqual(writer.digest, digest)
  }

  func testDataBeforeTheReaderIsSetIsKept() throws {
    let pair = try Pair()
    let (a, b) = try pair.streams()
    let writer = BulkWriter(a, total: 200_000, chunk: 50_000, seed: 5)
    var digest = StreamDigest()
    writer.pump()
    _ = pair.loop.schedule(after: 100) {
      b.onData = { digest.update($0) }
      XCTAssertEqual(digest.count, 0)
      b.onEnd = { b.end() }
    }
    b.onClose = { _ in pair.finish() }
    pair.run()
    XCTAssertEqual(writer.digest, digest)
  }

  func testUDX_firewallSeesPacketsBeforeConnectAndMayConnect() throws {
    let pair = try Pair()
    let a = UDXStream(environment: pair.a.instance, localID: 10)
    let b = UDXStream(environment: pair.b.instance, localID: 20)
    let endpointA = pair.endpointA
    var asked: [Endpoint] = []
    var received: [UInt8] = []
    b.firewall = { socket, source in
      XCTAssertTrue(socket === pair.socketB)
      asked.append(source)
      if asked.count < 3 { return false }
      XCTAssertNotNil(try? b.connect(socket: socket, remoteID: 10, to: source))
      return true
    }
    b.onData = { received += Array($0) }
    b.onEnd = { b.end() }
    b.onClose = { _ in pair.finish() }
    try a.connect(socket: pair.socketA, remoteID: 20, to: pair.endpoint(pair.socketB))
    a.onData = { _ in }
    a.write(OwnedBuffer([1, 2, 3]))
    a.end()
    pair.run()
    XCTAssertEqual(received, [1, 2, 3])
    XCTAssertGreaterThanOrEqual(asked.count, 3)
    XCTAssertEqual(Set(asked), [endpointA])
  }

  func testMessagesArriveWithTheirBoundaries() throws {
    let pair = try Pair()
    let (a, b) = try pair.streams()
    var received: [[UInt8]] = []
    let messages = (0..<50).map { [UInt8](repeating: UInt8($0), count: $0 * 20) }
    b.onMessage = { bytes in
      received.append(Array(bytes))
      if received.count == messages.count { pair.finish() }
    }
    for message in messages { a.sendMessage(message) }
    pair.run()
    XCTAssertEqual(received, messages)
  }

  func testDestroyResetsThePeer() throws {
    let pair = try Pair()
    let (a, b) = try pair.streams()
    var results: [String] = []
    func done(_ text: String) {
      results.append(text)
      if results.count == 3 { pair.finish() }
    }
    a.onClose = { done("a \(String(describing: $0))") }
    b.onClose = { done("b \(String(describing: $0))") }
    a.write(OwnedBuffer([UInt8](repeating: 1, count: 100_000))) { done("write \($0)") }
    a.destroy()
    a.destroy()
    XCTAssertTrue(a.isClosed)
    XCTAssertFalse(results.contains { $0.hasPrefix("a") })
    pair.run()
    XCTAssertEqual(results.filter { $0.hasPrefix("b") }.count, 1)
    XCTAssertEqual(results.filter { $0 != results.first { $0.hasPrefix("b") } }, ["write false", "a nil"])
    XCTAssertTrue(results.contains { $0.hasPrefix("b") && $0.contains("reset") })
  }

  func testDestroyInsideEveryCallback() throws {
    for kind in ["firewall", "data", "end", "drain", "message", "acknowledged", "remote changed", "close", "idle"] {
      let pair = try Pair()
      let (a, b) = try pair.streams()
      var log: [String] = []
      var closed = 0
      var hit = 0
      func event(_ name: String, _ victim: UDXStream) {
        if name == kind {
          hit += 1
          victim.destroy()
          if kind == "close" { victim.destroy() }
        }
      }
      let third = UDXStream(environment: pair.b.instance, localID: 999)
      third.firewall = { _, _ in
        event("firewall", third)
        return true
      }
      third.onClose = { _ in log.append("third") }
      let toThird = UDXStream(environment: pair.a.instance, localID: 998)
      try toThird.connect(socket: pair.socketA, remoteID: 999, to: pair.endpointB)
      toThird.sendMessage([1])
      b.onData = { _ in event("data", b) }
      b.onMessage = { _ in event("message", b) }
      b.onEnd = {
        event("end", b)
        b.end()
      }
      pair.socketB.onIdle = { event("idle", b) }
      a.onData = { _ in }
      a.onDrain = { event("drain", a) }
      for (name, stream) in [("a", a), ("b", b)] {
        stream.onClose = { _ in
          event("close", stream)
          log.append(name)
          closed += 1
          // The other side may never learn of it (a lost DESTROY), so it does not wait.
          if closed == 1 {
            _ = pair.loop.schedule(after: 50) {
              a.destroy()
              b.destroy()
              third.destroy()
              toThird.destroy()
            }
            _ = pair.loop.schedule(after: 150) { pair.finish() }
          }
        }
      }
      a.sendMessage([1, 2, 3])
      let writer = BulkWriter(a, total: 2 << 20, chunk: 64 << 10, seed: 9)
      let drain = a.onDrain
      a.onDrain = {
        event("drain", a)
        drain?()
      }
      a.write(OwnedBuffer([1])) { _ in event("acknowledged", a) }
      writer.pump()
      try a.changeRemote(socket: pair.socketA, remoteID: b.localID, to: pair.endpointB) {
        event("remote changed", a)
      }
      pair.run()
      XCTAssertGreaterThan(hit, 0, kind)
      XCTAssertEqual(log.sorted(), ["a", "b", "third"], kind)
    }
  }

  func testRelayForwardsBothWays() throws {
    let pair = try Pair()
    let relay = try UVEnvironment(loop: pair.loop)
    let socket = UDXSocket(environment: relay.instance)
    try socket.bind(host: .loopback, port: 0)
    let relayEndpoint = pair.endpoint(socket)
    let a = UDXStream(environment: pair.a.instance, localID: 1)
    let b = UDXStream(environment: pair.b.instance, localID: 2)
    let toA = UDXStream(environment: relay.instance, localID: 3)
    let toB = UDXStream(environment: relay.instance, localID: 4)
    try a.connect(socket: pair.socketA, remoteID: 3, to: relayEndpoint)
    try b.connect(socket: pair.socketB, remoteID: 4, to: relayEndpoint)
    try toA.connect(socket: socket, remoteID: 1, to: pair.endpointA)
    try toB.connect(socket: socket, remoteID: 2, to: pair.endpointB)
    try toA.relay(to: toB)
    try toB.relay(to: toA)
    let writerA = BulkWriter(a, total: 1 << 20, chunk: 10_000, seed: 11)
    let writerB = BulkWriter(b, total: 1 << 20, chunk: 10_000, seed: 12)
    var digestA = StreamDigest()
    var digestB = StreamDigest()
    a.onData = { digestA.update($0) }
    b.onData = { digestB.update($0) }
    var closed = 0
    for stream in [a, b] {
      stream.onClose = { _ in
        closed += 1
        if closed == 2 { pair.finish() }
      }
    }
    writerA.pump()
    writerB.pump()
    pair.run()
    XCTAssertEqual(writerA.digest, digestB)
    XCTAssertEqual(writerB.digest, digestA)
  }

  func testStreamsComeAndGoWithoutGrowth() throws {
    let pair = try Pair()
    var rounds = 0
    var closedStreams = 0
    var receivedBytes = 0
    let descriptors = openDescriptors()
    func round() throws {
      var open = 0
      for _ in 0..<100 {
        let (a, b) = try pair.streams()
        open += 2
        b.onData = { receivedBytes += $0.count }
        b.onEnd = { b.end() }
        a.onData = { _ in }
        for stream in [a, b] {
          stream.onClose = { _ in
            closedStreams += 1
            open -= 1
            if open == 0 {
              rounds += 1
              if rounds < 10 { XCTAssertNotNil(try? round()) } else { pair.finish() }
            }
          }
        }
        a.write(OwnedBuffer([1, 2, 3, 4, 5]))
        a.end()
      }
    }
    try round()
    pair.run()
    XCTAssertEqual(closedStreams, 2000)
    XCTAssertEqual(receivedBytes, 5000)
    XCTAssertLessThanOrEqual(openDescriptors(), descriptors)
    XCTAssertEqual(pair.socketA.streamCount, 0)
  }

  func testAnIdInUseFailsAndStillClosesOnce() throws {
    let pair = try Pair()
    let first = UDXStream(environment: pair.a.instance, localID: 7)
    let second = UDXStream(environment: pair.a.instance, localID: 7)
    XCTAssertThrowsError(try second.connect(socket: pair.socketA, remoteID: 1, to: pair.endpointB))
    var closed = 0
    second.onClose = { _ in
      closed += 1
      first.destroy()
    }
    first.onClose = { _ in pair.finish() }
    var acknowledged: [Bool] = []
    XCTAssertTrue(second.write(OwnedBuffer([1])) { acknowledged.append($0) })
    second.destroy()
    pair.run()
    XCTAssertEqual(closed, 1)
    XCTAssertEqual(acknowledged, [false])
  }
}

extension Pair {
  var endpointA: Endpoint { endpoint(socketA) }
  var endpointB: Endpoint { endpoint(socketB) }
}
