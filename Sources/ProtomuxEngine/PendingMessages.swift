import HyperEncoding

/// Messages for a channel that this side has not opened, in the form in which they came: they take no more memory than
/// their bytes.
struct PendingMessages {
  private var writer = CompactWriter()
  private var offset = 0
  /// Bytes that the messages count, each with `Limits.pendingMessageCost`.
  private(set) var cost = 0

  static func cost(of body: [UInt8]) -> Int { body.count + Limits.pendingMessageCost }

  mutating func append(_ type: UInt64, _ body: [UInt8]) {
    writer.uint(type)
    writer.uint(UInt64(body.count))
    body.withUnsafeBytes { writer.raw($0) }
    cost += PendingMessages.cost(of: body)
  }

  /// The oldest one.
  mutating func popFirst() -> (type: UInt64, body: [UInt8])? {
    guard offset < writer.count else { return nil }
    let start = offset
    let message = try? writer.bytes.withReader(from: start) { reader throws(CompactError) in
      (type: try reader.uint(), body: Array(try reader.borrowedBuffer()), end: start + reader.offset)
    }
    guard let message else { preconditionFailure("what was written can be read") }
    offset = message.end
    cost -= PendingMessages.cost(of: message.body)
    return (message.type, message.body)
  }
}
