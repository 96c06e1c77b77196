import HyperProtomuxEngine

/// One end, what it has sent and what has happened at it.
final class EngineEnd {
  let engine: ProtomuxEngine
  var outbox: [[UInt8]] = []
  var events: [String] = []
  var violation: MuxViolation?
  /// What the program does with an offer.
  var onOffer: (ChannelName) -> Void = { _ in }

  init(maximumFrame: Int = 1 << 20, maximumChannels: Int = Limits.channels) {
    engine = ProtomuxEngine(maximumFrame: maximumFrame, maximumChannels: maximumChannels)
    engine.onFrame = { [unowned self] in outbox.append($0) }
  }

  /// Opens a channel with a name to tell it by in `events`.
  @discardableResult
  func open(_ name: String, id: [UInt8] = [], aliases: [String] = [], as label: String? = nil) throws -> MuxChannel {
    let channel = try create(name, id: id, aliases: aliases, as: label)
    try engine.open(channel)
    return channel
  }

  func create(_ name: String, id: [UInt8] = [], aliases: [String] = [], as label: String? = nil) throws -> MuxChannel {
    let channel = try engine.create(ChannelName(name, id: id), aliases: aliases.map { ChannelName($0, id: id) })
    channel.owner = Label(label ?? name)
    return channel
  }

  func receive(_ frame: [UInt8]) {
    engine.receive(frame)
    run()
  }

  func run() {
    do throws(MuxViolation) {
      while let event = try engine.next() {
        events.append(EngineEnd.text(event))
        if case .offer(let name) = event {
          onOffer(name)
          engine.offerHandled(name)
        }
      }
    } catch {
      violation = error
    }
  }

  func takeEvents() -> [String] {
    defer { events = [] }
    return events
  }

  func takeOutbox() -> [[UInt8]] {
    defer { outbox = [] }
    return outbox
  }

  static func text(_ event: MuxEvent) -> String {
    func label(_ channel: MuxChannel) -> String { (channel.owner as? Label)?.text ?? channel.name.text }
    switch event {
    case .offer(let name): return "offer \(name.text) \(name.id.prefix(8))"
    case .opened(let channel, let handshake): return "opened \(label(channel)) \(handshake)"
    case .message(let channel, let type, let body): return "message \(label(channel)) \(type) \(body)"
    case .closed(let channel, let isRejected): return "\(isRejected ? "rejected" : "closed") \(label(channel))"
    }
  }

  final class Label {
    let text: String
    init(_ text: String) { self.text = text }
  }
}

/// Delivers until nothing is under way.
func exchange(_ a: EngineEnd, _ b: EngineEnd) {
  while !a.outbox.isEmpty || !b.outbox.isEmpty {
    let (fromA, fromB) = (a.takeOutbox(), b.takeOutbox())
    for frame in fromA { b.receive(frame) }
    for frame in fromB { a.receive(frame) }
  }
}
