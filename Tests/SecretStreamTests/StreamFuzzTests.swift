import HyperCrypto
import HyperEncoding
import HyperEnvironment
import HyperTestVectors
import HyperswarmTesting
import XCTest

@testable import HyperSecretStream

/// Hostile bytes with fixed seeds: nothing crashes, nothing is delivered that was not sent, every stream closes once.
final class StreamFuzzTests: XCTestCase {
  private struct Recording {
    var bytes: [UInt8]
    var messages: [[UInt8]]
  }

  /// What an initiator sends to an out-of-band responder.
  private func recordOutOfBand() -> Recording {
    let pair = StreamPair()
    let wire = WireTransport(pair.environment)
    pair.a.start(transport: wire, keys: pair.keysA)
    let messages: [[UInt8]] = [Array("hello".utf8), [], [UInt8](repeating: 9, count: 70), Array("bye".utf8)]
    for message in messages { pair.a.write(message) }
    pair.run()
    return Recording(bytes: wire.written, messages: [[]] + messages)
  }

  private func responder(_ environment: any Environment) -> (EncryptedStream, Recorder, WireTransport) {
    let stream = EncryptedStream(environment: environment, isInitiator: false)
    let record = Recorder(stream)
    let wire = WireTransport(environment)
    stream.start(transport: wire, keys: StreamPair.keys().1)
    return (stream, record, wire)
  }

  func testEveryFlippedBitOfASession() {
    let recording = recordOutOfBand()
    let network = VirtualNetwork(seed: 1)
    let environment = network.makeHost()
    for byte in recording.bytes.indices {
      for bit in UInt8(0)..<8 {
        var bytes = recording.bytes
        bytes[byte] ^= 1 << bit
        let (stream, record, wire) = responder(environment)
        wire.feed(bytes)
        wire.onEnd?()
        network.advance(by: 1)
        XCTAssertNotNil(record.error, "byte \(byte) bit \(bit)")
        XCTAssertEqual(record.closeCount, 1)
        XCTAssertTrue(stream.isClosed)
        XCTAssertEqual(record.messages, Array(recording.messages.prefix(record.messages.count)))
        XCTAssertLessThan(record.messages.count, recording.messages.count)
      }
    }
    report(
      attack: "each of \(8 * recording.bytes.count) bits of a session turned over",
      bound: "an error; no message but those before it", measured: "all ended with an error")
  }

  func testEveryFlippedByteOfAnInBandHandshake() throws {
    for pattern in [NoisePattern.xx, .ik] {
      for isFromA in [true, false] {
        var byte = 0
        while true {
          let network = VirtualNetwork(seed: 1)
          let environment = network.makeHost()
          let a = EncryptedStream(
            environment: environment, isInitiator: true,
            remotePublicKey: pattern == .ik ? keyPair(2).publicKey : nil)
          let b = EncryptedStream(environment: environment, isInitiator: false)
          let (recordA, recordB) = (Recorder(a), Recorder(b))
          let (pipeA, pipeB) = PipeTransport.pair(environment)
          var isDone = true
          let target = byte
          (isFromA ? pipeA : pipeB).tamper = { bytes, offset in
            guard (offset..<offset + bytes.count).contains(target) else { return }
            bytes[target - offset] ^= 1 << UInt8(target % 8)
            isDone = false
          }
          a.write(Array("from a".utf8))
          b.write(Array("from b".utf8))
          try a.startInBand(transport: pipeA, pattern: pattern, keyPair: keyPair(1), ephemeral: keyPair(3))
          try b.startInBand(transport: pipeB, pattern: pattern, keyPair: keyPair(2), ephemeral: keyPair(4))
          a.end()
          b.end()
          // A longer length stalls until the deadline.
          network.advance(by: Limits.Stream.handshakeTimeout + 100)
          if isDone { break }
          XCTAssertTrue(recordA.error != nil || recordB.error != nil, "\(pattern) \(isFromA) byte \(byte)")
          XCTAssertEqual(recordA.closeCount, 1, "\(pattern) \(isFromA) byte \(byte)")
          XCTAssertEqual(recordB.closeCount, 1, "\(pattern) \(isFromA) byte \(byte)")
          XCTAssertTrue([[], [Array("from b".utf8)]].contains(recordA.messages))
          XCTAssertTrue([[], [Array("from a".utf8)]].contains(recordB.messages))
          byte += 1
        }
        XCTAssertGreaterThan(byte, 100)
      }
    }
  }

  func testEveryTruncation() {
    let recording = recordOutOfBand()
    let network = VirtualNetwork(seed: 1)
    let environment = network.makeHost()
    for count in 0...recording.bytes.count {
      let (stream, record, wire) = responder(environment)
      wire.feed(Array(recording.bytes[..<count]))
      XCTAssertFalse(stream.isDestroying)
      XCTAssertEqual(record.messages, Array(recording.messages.prefix(record.messages.count)))
      wire.close(.reset)
      network.advance(by: 1)
      XCTAssertEqual(record.closeCount, 1)
      XCTAssertEqual(record.error, .transport(.reset))
    }
  }

  func testRandomBytes() throws {
    var random = SeededRandom(seed: 20_26)
    let network = VirtualNetwork(seed: 1)
    let environment = network.makeHost()
    for round in 0..<3_000 {
      let stream = EncryptedStream(environment: environment, isInitiator: round % 2 == 0)
      let record = Recorder(stream)
      let wire = WireTransport(environment)
      switch round % 3 {
      case 0: stream.start(transport: wire, keys: round % 2 == 0 ? StreamPair.keys().0 : StreamPair.keys().1)
      case 1: try stream.startInBand(transport: wire, pattern: .xx, keyPair: keyPair(1), ephemeral: keyPair(3))
      default:
        let responder = EncryptedStream(environment: environment, isInitiator: false)
        try responder.startInBand(transport: wire, pattern: .ik, keyPair: keyPair(2), ephemeral: keyPair(4))
      }
      for _ in 0..<(1 + random.next() % 6) {
        var bytes = random.bytes(Int(random.next() % 300))
        // Small lengths get further into the parser.
        if random.next() % 2 == 0, bytes.count > 3 {
          bytes[1] = UInt8(random.next() % 2)
          bytes[2] = 0
        }
        wire.feed(bytes)
      }
      XCTAssertEqual(record.messages, [])
      XCTAssertLessThanOrEqual(stream.reader.bufferCapacity, Limits.Stream.firstBuffer)
      wire.close(.reset)
      network.advance(by: 1)
    }
    network.advance(by: Limits.Stream.handshakeTimeout * 2)
    XCTAssertEqual(network.pendingEventCount, 0)
  }

  /// Frames dropped, doubled, swapped, cut out and glued together.
  func testShuffledFrames() {
    var random = SeededRandom(seed: 99)
    let recording = recordOutOfBand()
    let all = frames(recording.bytes)
    let network = VirtualNetwork(seed: 1)
    let environment = network.makeHost()
    for _ in 0..<2_000 {
      var list = all
      for _ in 0...(random.next() % 3) where list.count > 1 {
        let i = Int(random.next() % UInt64(list.count))
        let j = Int(random.next() % UInt64(list.count))
        switch random.next() % 4 {
        case 0: list.swapAt(i, j)
        case 1: list.insert(list[i], at: j)
        case 2: list.remove(at: i)
        default: list[i] = Array(list[i].prefix(Int(random.next() % UInt64(list[i].count + 1))))
        }
      }
      let (_, record, wire) = responder(environment)
      wire.feed(list.flatMap { frame($0) })
      let common = zip(list, all).prefix { $0 == $1 }.count
      XCTAssertEqual(record.messages, Array(recording.messages.prefix(max(0, common - 1))))
      if common < list.count {
        network.advance(by: 1)
        XCTAssertNotNil(record.error)
      }
      wire.close(nil)
      network.advance(by: 1)
      XCTAssertEqual(record.closeCount, 1)
    }
  }

  func testRandomDatagrams() throws {
    let lab = try UDXPair(seed: 3)
    let (keysA, keysB) = StreamPair.keys()
    let a = EncryptedStream(environment: lab.hostA, isInitiator: true)
    let b = EncryptedStream(environment: lab.hostB, isInitiator: false)
    let recordB = Recorder(b)
    a.start(transport: lab.transportA, keys: keysA)
    b.start(transport: lab.transportB, keys: keysB)
    lab.network.advance(by: 10)
    var random = SeededRandom(seed: 5)
    var cipher = DatagramCipher(keys: keysA, start: 77)
    let good = try XCTUnwrap(cipher.seal(Array("good".utf8)))
    for _ in 0..<2_000 {
      lab.transportA.sendMessage(random.bytes(Int(random.next() % 1_500)))
      var bad = good
      bad[Int(random.next() % UInt64(bad.count))] ^= 1 << UInt8(random.next() % 8)
      lab.transportA.sendMessage(bad)
    }
    for count in 0..<good.count { lab.transportA.sendMessage(Array(good[..<count])) }
    lab.network.advance(by: 100)
    XCTAssertEqual(recordB.datagrams, [])
    lab.transportA.sendMessage(good)
    lab.transportA.sendMessage(good)
    lab.network.advance(by: 100)
    XCTAssertEqual(recordB.datagrams, [Array("good".utf8)])
    XCTAssertEqual(b.statistics.datagramsReplayed, 1)
    XCTAssertEqual(b.statistics.datagramsDropped, 4_000 + UInt64(good.count))
    XCTAssertEqual(recordB.closeCount, 0)
  }

  /// Random cuts, pauses and writes on both sides over a lossy network: everything arrives, in order, once.
  func testSoakOverALossyTransport() throws {
    for seed in UInt64(1)...8 {
      let lab = try UDXPair(seed: seed)
      var random = SeededRandom(seed: seed)
      lab.network.shouldDrop = { _ in random.next() % 10 == 0 }
      let (keysA, keysB) = StreamPair.keys()
      let a = EncryptedStream(environment: lab.hostA, isInitiator: true)
      let b = EncryptedStream(environment: lab.hostB, isInitiator: false)
      a.keepAlive = 1_000
      b.keepAlive = 1_000
      let (recordA, recordB) = (Recorder(a), Recorder(b))
      a.start(transport: lab.transportA, keys: keysA)
      b.start(transport: lab.transportB, keys: keysB)
      var sentA: [[UInt8]] = []
      var sentB: [[UInt8]] = []
      var actions = SeededRandom(seed: seed &* 1_000)
      for _ in 0..<300 {
        for (stream, isA) in [(a, true), (b, false)] {
          switch actions.next() % 8 {
          case 0...3:
            let message = actions.bytes(1 + Int(actions.next() % (actions.next() % 10 == 0 ? 40_000 : 300)))
            stream.write(message)
            if isA { sentA.append(message) } else { sentB.append(message) }
          case 4: stream.pause()
          case 5, 6: stream.resume()
          default: lab.network.advance(by: actions.next() % 30)
          }
        }
      }
      a.resume()
      b.resume()
      a.end()
      b.end()
      lab.network.advance(by: 60_000)
      XCTAssertTrue(recordB.messages == sentA, "seed \(seed)")
      XCTAssertTrue(recordA.messages == sentB, "seed \(seed)")
      XCTAssertEqual(recordA.events.suffix(2), ["end", "close"], "seed \(seed)")
      XCTAssertEqual(recordB.events.suffix(2), ["end", "close"], "seed \(seed)")
      XCTAssertNil(recordA.error)
      XCTAssertNil(recordB.error)
    }
  }
}
