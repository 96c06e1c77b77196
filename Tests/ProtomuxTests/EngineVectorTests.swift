import Foundation
import HyperProtomuxEngine
import HyperTestVectors
import XCTest

/// `protomux.json`: both sides of every recorded conversation, with the same bytes and the same events in each step.
final class EngineVectorTests: XCTestCase {
  private struct Step: Decodable {
    var side: String?
    var action: String
    var channel: String?
    var `protocol`: String?
    var id: String?
    var aliases: [String]?
    var unique: Bool?
    var handshake: Handshake?
    var type: UInt64?
    var body: String?
    var frame: String?
    var then: [Step]?
    var refused: Bool?
    var destroyed: Bool?
    var out: [String]?
    var events: [Event]?
  }

  /// Bytes, or whether there is one at all.
  private enum Handshake: Decodable {
    case bytes([UInt8])
    case isUsed(Bool)

    init(from decoder: any Decoder) throws {
      let container = try decoder.singleValueContainer()
      if let text = try? container.decode(String.self) {
        self = .bytes(Vectors.bytes(text))
      } else {
        self = .isUsed(try container.decode(Bool.self))
      }
    }
  }

  private struct Event: Decodable {
    var event: String
    var channel: String?
    var handshake: String?
    var type: UInt64?
    var body: String?
    var id: String?
    var isRemote: Bool?
  }

  private struct Case: Decodable {
    var id: String
    var group: String
    var note: String
    var steps: [Step]
  }

  private final class Side {
    let end = EngineEnd()
    var channels: [String: MuxChannel] = [:]
    var offers: [ChannelName: [Step]] = [:]
    var wasRefused = false

    init() {
      end.onOffer = { [unowned self] name in
        for step in offers[name] ?? offers[ChannelName(name.text)] ?? [] { try? perform(step) }
      }
    }

    func name(_ step: Step) -> ChannelName { ChannelName(step.protocol ?? "", id: Vectors.bytes(step.id ?? "")) }

    func perform(_ step: Step) throws {
      let channel = step.channel.flatMap { channels[$0] }
      switch step.action {
      case "create": create(step)
      case "open":
        guard let channel else { return }
        var bytes: [UInt8] = []
        if case .bytes(let handshake) = step.handshake { bytes = handshake }
        try end.engine.open(channel, handshake: bytes)
      case "send":
        // JavaScript says `false` for a closed one.
        try? end.engine.send(try XCTUnwrap(channel), type: step.type ?? 0, body: Vectors.bytes(step.body ?? ""))
      case "close": end.engine.close(try XCTUnwrap(channel))
      case "cork": end.engine.cork()
      case "uncork": end.engine.uncork()
      case "pair":
        end.engine.pair(name(step))
        offers[name(step)] = step.then
      case "unpair":
        end.engine.unpair(name(step))
        offers[name(step)] = nil
      case "receive": end.receive(Vectors.bytes(step.frame ?? ""))
      default: XCTFail("unknown action \(step.action)")
      }
      end.run()
    }

    private func create(_ step: Step) {
      let id = Vectors.bytes(step.id ?? "")
      let made = try? end.engine.create(
        name(step), aliases: (step.aliases ?? []).map { ChannelName($0, id: id) }, isUnique: step.unique ?? true)
      made?.owner = EngineEnd.Label(step.channel ?? "")
      channels[step.channel ?? ""] = made
      wasRefused = made == nil
    }
  }

  /// How `EngineEnd` says what JavaScript has said; it says nothing of what the program itself has closed.
  private func text(_ event: Event) -> String? {
    let channel = event.channel ?? ""
    switch event.event {
    case "opened": return "opened \(channel) \(Vectors.bytes(event.handshake ?? ""))"
    case "message": return "message \(channel) \(event.type ?? 0) \(Vectors.bytes(event.body ?? ""))"
    case "closed": return event.isRemote == true ? "closed \(channel)" : nil
    default: return nil
    }
  }

  func testRecordedConversations() throws {
    var steps = 0
    for json in try Vectors.cases("protomux") {
      let vector = try JSONDecoder().decode(Case.self, from: JSONSerialization.data(withJSONObject: json))
      let sides = ["a": Side(), "b": Side()]
      for (index, step) in vector.steps.enumerated() {
        let what = "\(vector.id), \(vector.note), step \(index)"
        let side = try XCTUnwrap(sides[step.side ?? ""], what)
        try side.perform(step)
        steps += 1
        XCTAssertEqual(side.end.takeOutbox().map { Vectors.hex($0) }, step.out, what)
        // JavaScript does not tell a rejection from a close.
        let events = side.end.takeEvents().filter { !$0.hasPrefix("offer") }
          .map { $0.hasPrefix("rejected") ? "closed" + $0.dropFirst(8) : $0 }
        XCTAssertEqual(events, (step.events ?? []).compactMap { text($0) }, what)
        XCTAssertEqual(side.end.violation != nil, step.destroyed ?? false, what)
        if step.action == "create" { XCTAssertEqual(side.wasRefused, step.refused ?? false, what) }
      }
    }
    print("protomux: \(steps) recorded steps")
    XCTAssertGreaterThan(steps, 1700)
  }
}
