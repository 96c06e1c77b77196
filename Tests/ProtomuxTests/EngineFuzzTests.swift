import HyperEncoding
import HyperTestVectors
import HyperswarmTesting
import XCTest

@testable import HyperProtomuxEngine

/// Bytes of strangers, and programs that do anything in any order.
final class EngineFuzzTests: XCTestCase {
  /// What holds at any time, whatever the peer sends.
  private func check(_ end: EngineEnd, frame: Int, _ what: String) {
    let engine = end.engine
    XCTAssertEqual(engine.pendingBytes, engine.remotes.values.reduce(0) { $0 + $1.held }, what)
    XCTAssertLessThanOrEqual(
      engine.pendingBytes, Limits.pendingBytes + Limits.pendingMessageCost + frame, what)
    XCTAssertEqual(engine.offerCount, engine.offers.values.reduce(0, +), what)
    XCTAssertLessThanOrEqual(engine.offerCount, Limits.offers, what)
    XCTAssertLessThanOrEqual(engine.remotes.count, engine.maximumChannels, what)
    XCTAssertEqual(Set(engine.freeLocalIDs).count, engine.freeLocalIDs.count, "an id is free once: \(what)")
    let used = Set(engine.channels.values.map(\.localID)).subtracting([0])
    XCTAssertTrue(used.isDisjoint(with: engine.freeLocalIDs), "a free id is not in use: \(what)")
    for (id, remote) in engine.remotes {
      guard let channel = remote.channel else { continue }
      XCTAssertEqual(channel.remoteID, id, what)
      XCTAssertNotEqual(channel.stage, .closed, what)
    }
  }

  func testFramesOfStrangers() throws {
    var random = SeededRandom(seed: 310)
    func below(_ bound: Int) -> Int { Int(random.next() % UInt64(bound)) }
    let seeds: [[UInt8]] = [
      [0, 1, 1, 1, 0x78, 0], [0, 1, 2, 1, 0x79, 1, 7, 9, 9], [0, 2, 1], [0, 3, 1], [1, 0, 1, 2, 3], [2, 1],
      [0, 0, 1, 3, 0, 7, 8, 0, 0, 2, 3, 1, 5, 1, 1, 1, 0x78, 0], [0, 0, 0, 5, 1, 3, 1, 0x7a, 0, 2, 2, 1, 0, 2, 1, 0],
    ]
    var ends: [MuxViolation?: Int] = [:]
    for round in 0..<3000 {
      let end = EngineEnd(maximumChannels: 4)
      for name in ["y", "z"] { end.engine.pair(ChannelName(name)) }
      var open: [ChannelName] = []
      let channel = try end.open("x")
      end.onOffer = { name in
        open.append(name)
        if round % 3 == 0 { _ = try? end.open(name.text, id: name.id) }
      }
      for step in 0..<below(24) {
        var frame = seeds[below(seeds.count)]
        for _ in 0..<(below(4) == 0 ? 1 + below(3) : 0) {
          let index = below(frame.count)
          switch below(4) {
          case 0: frame[index] = UInt8(truncatingIfNeeded: random.next())
          case 1: frame.insert(UInt8(below(4)), at: index)
          case 2: if frame.count > 1 { frame.remove(at: index) }
          default: frame[index] = [0xfd, 0xfe, 0xff, 0][below(4)]
          }
        }
        if end.engine.isIdle { end.receive(frame) } else { end.run() }
        check(end, frame: frame.count, "round \(round), step \(step): \(frame)")
        if below(9) == 0 { end.engine.close(channel) }
      }
      XCTAssertLessThanOrEqual(end.outbox.count, 200)
      ends[end.violation, default: 0] += 1
    }
    print("fuzzed protomux: \(ends)")
    for violation in [nil, .malformed, .invalidOpen, .invalidReject] as [MuxViolation?] {
      XCTAssertGreaterThan(ends[violation] ?? 0, 20, "\(String(describing: violation))")
    }
  }

  /// The corpus and its mutations: frames with a byte of length each, for a program that opens what is offered.
  func testFramesOfTheCorpus() throws {
    let frames: [[UInt8]] = [
      [0, 1, 1, 1, 0x78, 0], [0, 1, 2, 1, 0x79, 1, 7, 9, 9], [0, 2, 1], [0, 3, 1], [1, 0, 1, 2, 3], [2, 1],
      [0, 0, 1, 3, 0, 7, 8, 0, 0, 2, 3, 1, 5, 1, 1, 1, 0x78, 0], [0, 0, 0, 5, 1, 3, 1, 0x7a, 0, 2, 2, 1, 0, 2, 1, 0],
    ]
    let seeds = frames.map { [UInt8($0.count)] + $0 } + [frames.flatMap { [UInt8($0.count)] + $0 }]
    try Fuzzer(name: "channels", mutations: 500, allocates: (256 << 10, 2048), seeds: seeds) { bytes in
      let end = EngineEnd(maximumChannels: 4)
      for name in ["y", "z"] { end.engine.pair(ChannelName(name)) }
      _ = try end.open("x")
      end.onOffer = { name in _ = try? end.open(name.text, id: name.id) }
      var rest = bytes[...]
      while let count = rest.popFirst(), end.violation == nil {
        let frame = Array(rest.prefix(Int(count)))
        rest = rest.dropFirst(Int(count))
        end.receive(frame)
        self.check(end, frame: frame.count, "\(bytes)")
      }
      let sent = end.outbox.reduce(0) { $0 + $1.count }
      XCTAssertLessThanOrEqual(sent, 64 + 16 * bytes.count, "\(bytes)")
      return [
        end.violation == nil ? 0 : 1, min(end.outbox.count, 6), end.engine.remotes.count, min(end.events.count, 6),
      ]
    }.test()
  }

  /// Two programs that open, send, cork and close as they like, with frames that take their time: neither ever says
  /// that the other one breaks the protocol, and in the end both know of the same channels.
  func testProgramsThatDoAnything() throws {
    var (opened, delivered) = (0, 0)
    for seed in 0..<400 as Range<UInt64> {
      var random = SeededRandom(seed: seed)
      func below(_ bound: Int) -> Int { Int(random.next() % UInt64(bound)) }
      let ends = [EngineEnd(), EngineEnd()]
      var mine: [[MuxChannel]] = [[], []]
      var wire: [[[UInt8]]] = [[], []]
      var late: [[ChannelName]] = [[], []]
      for (side, end) in ends.enumerated() {
        end.engine.pair(ChannelName("p"))
        end.onOffer = { name in
          if name.id.first ?? 0 < 3 { mine[side].append(try! end.open("p", id: name.id)) }
          late[side].append(name)
        }
      }
      func deliver(_ side: Int, _ count: Int) {
        for _ in 0..<min(count, wire[side].count) where ends[side].engine.isIdle {
          ends[side].receive(wire[side].removeFirst())
        }
        ends[side].run()
      }
      for _ in 0..<150 {
        let side = below(2)
        let end = ends[side]
        let channel = mine[side].isEmpty ? nil : mine[side][below(mine[side].count)]
        switch below(9) {
        case 0, 1: if let made = try? end.open("c\(below(4))", id: below(2) == 0 ? [] : [9]) { mine[side].append(made) }
        case 2: if let made = try? end.open("p", id: [UInt8(below(6))]) { mine[side].append(made) }
        case 3, 4:
          if let channel { try? end.engine.send(channel, type: UInt64(below(3)), body: random.bytes(below(5))) }
        case 5: if let channel { end.engine.close(channel) }
        case 6: end.engine.cork()
        case 7: end.engine.uncork()
        default: deliver(side, 1 + below(4))
        }
        wire[1 - side] += end.takeOutbox()
        check(end, frame: 1 << 10, "seed \(seed)")
      }
      for end in ends { for _ in 0..<150 { end.engine.uncork() } }
      for _ in 0..<100 {
        for side in 0...1 {
          deliver(side, 1000)
          for side in 0...1 { wire[1 - side] += ends[side].takeOutbox() }
        }
      }
      XCTAssertNil(ends[0].violation ?? ends[1].violation, "seed \(seed)")
      let names = ends.map { end in
        end.engine.liveChannels.filter { $0.stage == .open }.map { "\($0.name.text)\($0.name.id)" }.sorted()
      }
      XCTAssertEqual(names[0], names[1], "seed \(seed)")
      XCTAssertTrue(ends.allSatisfy { $0.engine.liveChannels.allSatisfy { $0.stage == .open } }, "seed \(seed)")
      opened += ends[0].events.count { $0.hasPrefix("opened") }
      delivered += ends[0].events.count { $0.hasPrefix("message") }
    }
    print("protomux at random: \(opened) channels opened, \(delivered) messages")
    XCTAssertGreaterThan(opened, 2000)
    XCTAssertGreaterThan(delivered, 500)
  }
}
