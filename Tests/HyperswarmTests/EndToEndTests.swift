import HyperDHT
import HyperDHTEngine
import HyperEncoding
import HyperRuntime
import Hyperswarm
import XCTest

/// Whole stacks over real sockets on 127.0.0.1, through the public interface.
final class EndToEndTests: XCTestCase {
  private func options(_ testnet: HyperDHT.Testnet, loop: UVEventLoop? = nil) -> Hyperswarm.Options {
    var options = Hyperswarm.Options(bootstrap: testnet.bootstrap, loop: loop)
    options.dhtOptions.host = .loopback
    return options
  }

  func testTwoSwarmsMeetAndExchangeMessages() async throws {
    let testnet = try await HyperDHT.Testnet(size: 5)
    let server = try await Hyperswarm(options(testnet))
    let client = try await Hyperswarm(options(testnet))
    let topic = Hyperswarm.topic("two swarms meet")
    let announced = try await server.join(topic, server: true, client: false).flushed()
    XCTAssertTrue(announced)
    try await client.join(topic, server: false, client: true)

    let fromClient = try await first(client.connections)
    let fromServer = try await first(server.connections)
    XCTAssertEqual(fromClient.remotePublicKey, server.keyPair.publicKey)
    XCTAssertEqual(fromServer.remotePublicKey, client.keyPair.publicKey)
    XCTAssertEqual(fromClient.handshakeHash, fromServer.handshakeHash)
    XCTAssertTrue(fromClient.isInitiator)
    XCTAssertFalse(fromServer.isInitiator)
    XCTAssertEqual(fromClient.peer?.topics, [topic])
    XCTAssertEqual(fromServer.peer?.publicKey, client.keyPair.publicKey)

    try await fromClient.write("from the client")
    try await fromServer.write("from the server")
    let atServer = try await fromServer.read()
    let atClient = try await fromClient.read()
    XCTAssertEqual(atServer.map { String(decoding: $0, as: UTF8.self) }, "from the client")
    XCTAssertEqual(atClient.map { String(decoding: $0, as: UTF8.self) }, "from the server")

    // Messages keep their boundaries and their order, empty ones are the keepalive's.
    let sizes = [1, 17, 1000, 1152, 65_536, 300_000, 2]
    for (index, size) in sizes.enumerated() {
      try await fromClient.write([UInt8](repeating: UInt8(index), count: size))
    }
    for (index, size) in sizes.enumerated() {
      let message = try await fromServer.read()
      XCTAssertEqual(message, [UInt8](repeating: UInt8(index), count: size))
    }
    // Also those that are written where they are encrypted.
    for size in [3, 100_000] {
      try await fromClient.write(capacity: size) { $0.append(repeating: 9, count: size, as: UInt8.self) }
      let message = try await fromServer.read()
      XCTAssertEqual(message, [UInt8](repeating: 9, count: size))
    }
    XCTAssertNoThrow(try fromClient.writeWithoutWaiting(capacity: 10) { $0.append(5) })
    let short = try await fromServer.read()
    XCTAssertEqual(short, [5])
    // And those that lie elsewhere, or are read where they were decrypted.
    try await fromClient.write([1, 2, 3].dropFirst())
    let borrowed: [UInt8] = [4, 5]
    try await fromClient.write(borrowed.span.bytes)
    let sum = try await fromServer.withNextSpan { $0.withUnsafeBytes { $0.reduce(0, +) } }
    XCTAssertEqual(sum, 5)
    let rest = try await fromServer.read()
    XCTAssertEqual(rest, [4, 5])
    try await fromClient.flush()

    fromClient.end()
    let end = try await fromServer.read()
    XCTAssertNil(end)
    fromServer.end()
    let reason = try await fromClient.waitUntilClosed()
    XCTAssertNil(reason)

    await client.destroy()
    await server.destroy()
    await testnet.destroy()
  }

  func testBulkTransferWithHash() async throws {
    let testnet = try await HyperDHT.Testnet(size: 5)
    let (a, b, connectionA, connectionB) = try await connectedPair(testnet)
    let chunk = 64 << 10
    let count = 512  // 32 MiB
    let start = ContinuousClock.now
    let writer = Task {
      var hash = Checksum()
      var bytes = [UInt8](repeating: 0, count: chunk)
      for index in 0..<count {
        for position in stride(from: 0, to: chunk, by: 997) {
          bytes[position] = UInt8(truncatingIfNeeded: index &+ position)
        }
        hash.update(bytes)
        try await connectionA.write(bytes)
      }
      connectionA.end()
      return hash
    }
    var received = Checksum()
    for try await message in connectionB.inbound { received.update(message) }
    let sent = try await writer.value
    XCTAssertEqual(sent, received)
    XCTAssertEqual(received.count, chunk * count)
    let elapsed = start.duration(to: .now)
    let seconds = Double(elapsed.components.seconds) + Double(elapsed.components.attoseconds) * 1e-18
    print("bulk: \(Int(Double(received.count) / seconds / 1e6)) MB/s in this build")
    connectionB.end()
    await a.destroy()
    await b.destroy()
    await testnet.destroy()
  }

  func testReaderThatDoesNotReadHoldsTheWriterBack() async throws {
    let testnet = try await HyperDHT.Testnet(size: 5)
    let (a, b, connectionA, connectionB) = try await connectedPair(testnet)
    let total = 48
    let written = Counter()
    let writer = Task {
      for _ in 0..<total {
        try await connectionA.write([UInt8](repeating: 7, count: 1 << 20))
        written.increment()
      }
      connectionA.end()
    }
    // The writer stands still once the windows are full: all that was sent is acknowledged, and no more is sent.
    var last = -1
    var sent: UInt64 = 0
    var still = 0
    while still < 50 {
      let numbers = await connectionA.statistics()
      let isStill = numbers.bytesInFlight == 0 && numbers.bytesSent == sent && written.value == last && last > 0
      still = isStill ? still + 1 : 0
      last = written.value
      sent = numbers.bytesSent
    }
    XCTAssertLessThan(last, 20, "MiB were taken although nobody reads")
    var count = 0
    for try await message in connectionB.inbound { count += message.count }
    try await writer.value
    XCTAssertEqual(count, total << 20)
    await a.destroy()
    await b.destroy()
    await testnet.destroy()
  }

  func testDatagramsAndStatistics() async throws {
    let testnet = try await HyperDHT.Testnet(size: 5)
    let (a, b, connectionA, connectionB) = try await connectedPair(testnet)
    let isSent = await connectionA.sendDatagram([1, 2, 3])
    XCTAssertTrue(isSent)
    let isTooLarge = await connectionA.sendDatagram([UInt8](repeating: 0, count: 5000))
    XCTAssertFalse(isTooLarge)
    let datagram = try await first(connectionB.datagrams)
    XCTAssertEqual(datagram, [1, 2, 3])
    connectionB.trySendDatagram([4])
    let answer = try await first(connectionA.datagrams)
    XCTAssertEqual(answer, [4])
    try await connectionA.write("x")
    try await connectionA.flush()
    let statistics = await connectionA.statistics()
    XCTAssertEqual(statistics.datagramsSent, 1)
    XCTAssertGreaterThanOrEqual(statistics.messagesSent, 1)
    XCTAssertGreaterThan(statistics.packetsSent, 0)
    let address = await connectionA.remoteAddress()
    XCTAssertEqual(address?.host, .loopback)
    let swarmStatistics = await a.statistics()
    XCTAssertEqual(swarmStatistics.clientConnections + swarmStatistics.serverConnections, 1)
    await a.destroy()
    await b.destroy()
    await testnet.destroy()
  }

  func testDestroyedConnectionFailsItsPeerAndIsDialledAgain() async throws {
    let testnet = try await HyperDHT.Testnet(size: 5)
    let (a, b, connectionA, connectionB) = try await connectedPair(testnet)
    connectionB.destroy()
    do throws(ConnectionError) {
      while try await connectionA.read() != nil {}
      XCTFail("the reader must learn of the reset")
    } catch {
      XCTAssertEqual(error, .reset)
    }
    do throws(ConnectionError) {
      try await connectionA.write("too late")
      XCTFail("the writer must learn of the reset")
    } catch {
      XCTAssertEqual(error, .reset)
    }
    let reason = try await connectionB.waitUntilClosed()
    XCTAssertNil(reason)
    let again = try await first(a.connections)
    XCTAssertEqual(again.remotePublicKey, b.keyPair.publicKey)
    await a.destroy()
    await b.destroy()
    await testnet.destroy()
  }

  func testForgottenConnectionSendsWhatWasWrittenAndCloses() async throws {
    let testnet = try await HyperDHT.Testnet(size: 5)
    let (a, b, connectionB) = try await writeAndForget(testnet)
    let words = try await connectionB.read()
    XCTAssertEqual(words.map { String(decoding: $0, as: UTF8.self) }, "last words")
    let end = try await connectionB.read()
    XCTAssertNil(end)
    await a.destroy()
    await b.destroy()
    await testnet.destroy()
  }

  func testCancellationSettlesOnceAndLosesNothing() async throws {
    let testnet = try await HyperDHT.Testnet(size: 5)
    let (a, b, connectionA, connectionB) = try await connectedPair(testnet)
    for _ in 0..<50 {
      let reader = Task { try await connectionB.read() }
      if Bool.random() { await Task.yield() }
      reader.cancel()
      do {
        _ = try await reader.value
        XCTFail("nothing was sent")
      } catch {
        XCTAssertEqual(error as? ConnectionError, .cancelled)
      }
    }
    try await connectionA.write("still here")
    let message = try await connectionB.read()
    XCTAssertEqual(message.map { String(decoding: $0, as: UTF8.self) }, "still here")

    let dial = Task {
      // Starts when the cancellation is there already: otherwise it might be over before.
      while !Task.isCancelled { await Task.yield() }
      return try await a.dht.connect(to: Bytes32([UInt8](repeating: 9, count: 32)) ?? Bytes32())
    }
    dial.cancel()
    do {
      _ = try await dial.value
      XCTFail("cancelled")
    } catch {
      XCTAssertEqual(error as? DHTError, .cancelled)
    }
    let waiting = Task { await first(a.connections, orNil: true) }
    waiting.cancel()
    let none = await waiting.value
    XCTAssertNil(none)
    await a.destroy()
    await b.destroy()
    await testnet.destroy()
  }

  func testEverythingOnOneGivenLoop() async throws {
    let loop = try UVEventLoop.startThread()
    let testnet = try await HyperDHT.Testnet(size: 5, loop: loop)
    let a = try await Hyperswarm(options(testnet, loop: loop))
    let b = try await Hyperswarm(options(testnet, loop: loop))
    let text = try await Task(executorPreference: loop) {
      let topic = Hyperswarm.topic("one loop")
      _ = try await a.join(topic, client: false).flushed()
      try await b.join(topic, server: false)
      let connection = try await first(b.connections)
      try await connection.write("hi")
      let other = try await first(a.connections)
      return try await other.read().map { String(decoding: $0, as: UTF8.self) }
    }.value
    XCTAssertEqual(text, "hi")
    await a.destroy()
    await b.destroy()
    await testnet.destroy()
    await loop.shutdown()
  }

  func testForgottenSwarmsEndTheirThreads() async throws {
    let testnet = try await HyperDHT.Testnet(size: 3)
    weak var weakLoop: UVEventLoop?
    do {
      let swarm = try await Hyperswarm(options(testnet))
      weakLoop = swarm.loop
      _ = try await swarm.join(Hyperswarm.topic("forgotten"))
    }
    for _ in 0..<100 where weakLoop != nil { try await Task.sleep(for: .milliseconds(50)) }
    XCTAssertNil(weakLoop)
    await testnet.destroy()
  }

  private func writeAndForget(
    _ testnet: HyperDHT.Testnet
  ) async throws -> (Hyperswarm, Hyperswarm, HyperDHT.Connection) {
    let (a, b, connectionA, connectionB) = try await connectedPair(testnet)
    try await connectionA.write("last words")
    return (a, b, connectionB)
  }

  private func connectedPair(
    _ testnet: HyperDHT.Testnet
  ) async throws -> (Hyperswarm, Hyperswarm, HyperDHT.Connection, HyperDHT.Connection) {
    let a = try await Hyperswarm(options(testnet))
    let b = try await Hyperswarm(options(testnet))
    let topic = Bytes32((0..<32).map { _ in UInt8.random(in: 0...255) }) ?? Bytes32()
    _ = try await b.join(topic, client: false).flushed()
    try await a.join(topic, server: false)
    return (a, b, try await first(a.connections), try await first(b.connections))
  }
}

struct NothingCame: Error {}

func first<Element: Sendable>(_ events: HyperDHT.Events<Element, Never>) async throws -> Element {
  for await element in events { return element }
  throw NothingCame()
}

func first<Element: Sendable>(_ events: HyperDHT.Events<Element, Never>, orNil: Bool) async -> Element? {
  for await element in events { return element }
  return nil
}

/// Order- and content-sensitive, fast in debug builds too.
struct Checksum: Equatable {
  private(set) var count = 0
  private var state: UInt64 = 0xcbf2_9ce4_8422_2325

  mutating func update(_ bytes: [UInt8]) {
    count += bytes.count
    bytes.withUnsafeBytes { raw in
      var offset = 0
      while offset + 8 <= raw.count {
        state = (state ^ raw.loadUnaligned(fromByteOffset: offset, as: UInt64.self)) &* 0x0000_0100_0000_01b3
        offset += 8
      }
      while offset < raw.count {
        state = (state ^ UInt64(raw[offset])) &* 0x0000_0100_0000_01b3
        offset += 1
      }
    }
  }
}

final class Counter: @unchecked Sendable {
  private let lock = NSLock()
  private var count = 0

  var value: Int { lock.withLock { count } }
  func increment() { lock.withLock { count += 1 } }
}
