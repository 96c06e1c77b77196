import HyperEncoding

/// A message of a protomux channel. `channel` is the sender's local id, 1 or more.
struct ProtomuxMessage: Hashable, Sendable {
  var channel: UInt64
  var type: UInt64
  var body: [UInt8]
}

/// One frame of protomux as a whole (hyperdht.md 10.6), apart from the engine that is tested with it.
enum ProtomuxFrame: Hashable, Sendable {
  /// One message, or several of one or more channels.
  case messages([ProtomuxMessage])
  /// The sender opens a channel. An empty `id` and an absent one look the same; `handshake` is what follows.
  case open(localID: UInt64, protocol: String, id: [UInt8], handshake: [UInt8])
  /// The sender does not want the channel that the receiver opened under this id.
  case reject(remoteID: UInt64)
  case close(localID: UInt64)
  /// An empty frame, or a control frame of a later version.
  case ignored

  private enum Control {
    static let batch: UInt64 = 0
    static let open: UInt64 = 1
    static let reject: UInt64 = 2
    static let close: UInt64 = 3
  }

  /// Throws when the frame is malformed, which is fatal for the stream.
  init(_ bytes: UnsafeRawBufferPointer) throws(CompactError) {
    var reader = CompactReader(bytes)
    guard reader.remaining > 0 else {
      self = .ignored
      return
    }
    let channel = try reader.uint()
    let type = try reader.uint()
    guard channel == 0 else {
      self = .messages([ProtomuxMessage(channel: channel, type: type, body: reader.raw())])
      return
    }
    switch type {
    case Control.batch: self = .messages(try ProtomuxFrame.batch(&reader))
    case Control.open:
      self = .open(
        localID: try reader.uint(), protocol: try reader.string(), id: try reader.buffer(), handshake: reader.raw())
    case Control.reject: self = .reject(remoteID: try reader.uint())
    case Control.close: self = .close(localID: try reader.uint())
    default: self = .ignored
    }
  }

  init(_ bytes: [UInt8]) throws(CompactError) {
    let result: Result<ProtomuxFrame, CompactError> = bytes.withUnsafeBytes { buffer in
      do throws(CompactError) { return .success(try ProtomuxFrame(buffer)) } catch { return .failure(error) }
    }
    self = try result.get()
  }

  /// A length of 0 switches to the channel that follows; any other is that of type and body.
  private static func batch(_ reader: inout CompactReader) throws(CompactError) -> [ProtomuxMessage] {
    var messages: [ProtomuxMessage] = []
    var channel = try reader.uint()
    while reader.remaining > 0 {
      let part = try reader.borrowedBuffer()
      guard !part.isEmpty else {
        channel = try reader.uint()
        continue
      }
      var inner = CompactReader(part)
      messages.append(ProtomuxMessage(channel: channel, type: try inner.uint(), body: inner.raw()))
    }
    return messages
  }

  var encoded: [UInt8] {
    var writer = CompactWriter()
    switch self {
    case .messages(let messages) where messages.count == 1:
      writer.uint(messages[0].channel)
      writer.uint(messages[0].type)
      writer.raw(messages[0].body)
    case .messages(let messages): encode(messages, into: &writer)
    case .open(let localID, let name, let id, let handshake):
      writer.uint(0)
      writer.uint(Control.open)
      writer.uint(localID)
      writer.string(name)
      writer.buffer(id)
      writer.raw(handshake)
    case .reject(let remoteID):
      writer.uint(0)
      writer.uint(Control.reject)
      writer.uint(remoteID)
    case .close(let localID):
      writer.uint(0)
      writer.uint(Control.close)
      writer.uint(localID)
    case .ignored: break
    }
    return writer.bytes
  }

  private func encode(_ messages: [ProtomuxMessage], into writer: inout CompactWriter) {
    guard var channel = messages.first?.channel else { return }
    writer.uint(0)
    writer.uint(Control.batch)
    writer.uint(channel)
    for message in messages {
      if message.channel != channel {
        channel = message.channel
        writer.uint(0)
        writer.uint(channel)
      }
      var part = CompactWriter(reservingCapacity: message.body.count + 9)
      part.uint(message.type)
      part.raw(message.body)
      writer.buffer(part.bytes)
    }
  }
}
