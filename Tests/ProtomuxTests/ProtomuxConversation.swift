import HyperProtomux
import HyperProtomuxJSON
import HyperRuntime
import XCTest

/// What two peers say to each other in the tests over connections; `Tests/Interop/protomux.js` says the same.
enum ProtomuxConversation {
  struct Number: Codable, Equatable, Sendable {
    var n: Int
  }

  static let many = 300

  /// A message type that answers itself.
  private static func reply<Codec: MessageCodec>(
    _ channel: Protomux.Channel, _ codec: Codec, _ body: @escaping @Sendable (Codec.Value) -> Codec.Value
  ) {
    let own = Locked<Protomux.Message<Codec>?>(nil)
    let message = channel.addMessage(codec) { value in _ = try? own.withLock { $0 }?.sendWithoutWaiting(body(value)) }
    own.withLock { $0 = message }
  }

  static func answer(_ mux: Protomux) throws {
    mux.pair(protocol: "echo") { mux, id in
      guard let channel = try? mux.createChannel(protocol: "echo", id: id) else { return }
      reply(channel, .string) { $0.uppercased() }
      reply(channel, .json(Number.self)) { Number(n: $0.n + 1) }
      reply(channel, .raw) { $0 }
      try? channel.open(handshake: "hello from the answering side", .string)
    }
    mux.pair(protocol: "many") { mux, id in
      guard let channel = try? mux.createChannel(protocol: "many", id: id) else { return }
      reply(channel, .uint) { $0 * 2 }
      _ = channel.addMessage(.bool) { _ in channel.close() }
      try? channel.open()
    }
    // The program takes its time: messages wait.
    mux.pair(protocol: "bulk") { mux, id in
      try? await Task.sleep(for: .milliseconds(50))
      guard let channel = try? mux.createChannel(protocol: "bulk", id: id) else { return }
      let count = Locked<UInt64>(0)
      _ = channel.addMessage(.raw) { bytes in count.withLock { $0 += UInt64(bytes.count) } }
      reply(channel, .uint) { _ in count.withLock { $0 } }
      try? channel.open()
    }
    let fresh = try mux.createChannel(protocol: "fresh/2", aliases: ["fresh/1"])
    reply(fresh, .string) { $0 + "!" }
    try fresh.open()
    mux.start()
  }

  static func ask(_ mux: Protomux) async throws {
    let fresh = try mux.createChannel(protocol: "fresh/1", aliases: ["fresh/2"])
    let alias = fresh.addMessage(.string)
    try fresh.open()
    let unknown = try mux.createChannel(protocol: "unknown")
    try unknown.open()
    let echo = try mux.createChannel(protocol: "echo", id: Array("one".utf8))
    let (text, number, raw) = (echo.addMessage(.string), echo.addMessage(.json(Number.self)), echo.addMessage(.raw))
    try echo.open(handshake: "hello from the asking side", .string)
    try await text.send("before it is open")
    let refusal = try await unknown.closed()
    XCTAssertEqual(refusal, .rejected)
    let handshake = try await echo.opened(.string)
    XCTAssertEqual(handshake, "hello from the answering side")
    let early = try await next(text)
    XCTAssertEqual(early, "BEFORE IT IS OPEN")
    try await number.send(Number(n: 41))
    let answer = try await next(number)
    XCTAssertEqual(answer, Number(n: 42))
    let large = [UInt8](repeating: 7, count: 300_000)
    try await raw.send(large)
    let back = try await next(raw)
    XCTAssertEqual(back, large)
    try await fresh.opened()
    try await alias.send("alias")
    let new = try await next(alias)
    XCTAssertEqual(new, "alias!")
    for _ in 0..<2 { try await askMany(mux) }
    try await askBulk(mux)
  }

  private static func askMany(_ mux: Protomux) async throws {
    typealias One = (Protomux.Channel, Protomux.Message<CompactCodec<UInt64>>, Protomux.Message<CompactCodec<Bool>>)
    let channels: [One] = try mux.corked {
      try (0..<many).map { index in
        let channel = try mux.createChannel(protocol: "many", id: [UInt8(index >> 8), UInt8(index & 255)])
        let (number, end) = (channel.addMessage(.uint), channel.addMessage(.bool))
        try channel.open()
        try number.sendWithoutWaiting(UInt64(index))
        return (channel, number, end)
      }
    }
    for (index, one) in channels.enumerated() {
      let answer = try await next(one.1)
      XCTAssertEqual(answer, UInt64(index) * 2)
    }
    for (index, one) in channels.enumerated() {
      if index % 2 == 1 { one.0.close() } else { try await one.2.send(true) }
    }
    for one in channels {
      let reason = try await one.0.closed()
      XCTAssertNil(reason)
    }
  }

  private static func askBulk(_ mux: Protomux) async throws {
    let bulk = try mux.createChannel(protocol: "bulk", id: [1])
    let (piece, end) = (bulk.addMessage(.raw), bulk.addMessage(.uint))
    try bulk.open()
    for index in 0..<500 { try await piece.send([UInt8](repeating: UInt8(index & 255), count: 10_000)) }
    try await end.send(0)
    let total = try await next(end)
    XCTAssertEqual(total, 5_000_000)
  }

  private static func next<Codec: MessageCodec>(_ message: Protomux.Message<Codec>) async throws -> Codec.Value {
    var iterator = message.messages.makeAsyncIterator()
    let value = try await iterator.next()
    return try XCTUnwrap(value, "message \(message.type) of \(message.channel.protocolName)")
  }
}
