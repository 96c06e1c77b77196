import HyperRuntime

extension Protomux {
  /// One type of message of a channel.
  public struct Message<Codec: MessageCodec>: Sendable {
    /// The channel that it was added to.
    public let channel: Channel
    /// Its number on the wire, from 0 in the order of adding.
    public let type: Int
    /// How its values become bytes.
    public let codec: Codec
    let queue: MessageQueue<Codec.Value>?

    /// Sends one value, after waiting for room on the connection if there is none. A return says that the message is
    /// under way, not that it has arrived.
    /// - Parameter value: encoded inside the call.
    /// - Throws: `notOpened` before `open`; `closed`; `messageTooLarge`, of more than the connection's message less 38
    ///   bytes; `encodingFailed`; `cancelled`, and nothing was sent; why the connection failed.
    public nonisolated(nonsending) func send(_ value: Codec.Value) async throws(ProtomuxError) {
      let body = try codec.encoded(value)
      try await channel.core.drained()
      _ = try channel.core.send(channel, UInt64(type), body)
    }

    /// Sends one value without waiting for room: for callers that bound their own output.
    /// - Parameter value: encoded inside the call.
    /// - Returns: whether there is room for more; if not, wait for `drained`. Corked messages find room.
    /// - Throws: as `send`, but for `cancelled`.
    @discardableResult
    public func sendWithoutWaiting(_ value: Codec.Value) throws(ProtomuxError) -> Bool {
      try channel.core.send(channel, UInt64(type), try codec.encoded(value))
    }

    /// What has been received, in order. Ends when the channel closes, fails when the connection does. Each message
    /// goes to one reader; leaving the loop loses nothing. Empty for a type with a handler.
    public var messages: Messages<Codec.Value> { Messages(queue: queue) }
  }

  /// The messages of one type, as they arrive.
  public struct Messages<Value: Sendable>: AsyncSequence, Sendable {
    /// Why it ends before its time.
    public typealias Failure = ProtomuxError
    /// What was sent.
    public typealias Element = Value
    let queue: MessageQueue<Value>?

    /// Another reader of the same messages.
    public func makeAsyncIterator() -> Iterator { Iterator(queue: queue) }

    /// Takes the messages one by one.
    public struct Iterator: AsyncIteratorProtocol {
      let queue: MessageQueue<Value>?

      /// The next message; `nil` when the channel is closed, or the task cancelled. What had come before is handed out
      /// first.
      /// - Throws: why the connection failed: `decodingFailed`, `protocolViolation` or `connection`.
      public mutating func next(isolation actor: isolated (any Actor)?) async throws(ProtomuxError) -> Value? {
        try await queue?.next()
      }

      /// The same.
      public mutating func next() async throws(ProtomuxError) -> Value? { try await queue?.next() }
    }
  }
}

/// Messages that were received and have not been read. They count until they are read, or there is no reader any more.
final class MessageQueue<Value: Sendable>: Sendable {
  private struct Entry: Sendable {
    let value: Value
    let cost: Int
  }

  private let core: MuxCore
  private let queue = EventQueue<Entry, ProtomuxError>(capacity: .max)
  private let unread = Locked(0)

  init(core: MuxCore) { self.core = core }

  deinit { core.read(unread.withLock { $0 }) }

  func add(_ value: Value, bytes: Int) {
    let cost = bytes + Limits.messageCost
    unread.withLock { $0 += cost }
    core.received(cost)
    if !queue.push(Entry(value: value, cost: cost)) { took(cost) }
  }

  func finish(_ end: Result<Void, ProtomuxError>) { queue.finish(end) }

  nonisolated(nonsending) func next() async throws(ProtomuxError) -> Value? {
    core.start()
    guard let entry = try await queue.next() else { return nil }
    took(entry.cost)
    return entry.value
  }

  private func took(_ cost: Int) {
    unread.withLock { $0 -= cost }
    core.read(cost)
  }
}

/// Where a channel puts what it receives of one type.
protocol MessageReceiver: Sendable {
  func receive(_ body: [UInt8]) throws
  func finish(_ end: Result<Void, ProtomuxError>)
}

struct QueueReceiver<Codec: MessageCodec>: MessageReceiver {
  let codec: Codec
  private let place: WeakQueue<Codec.Value>

  init(codec: Codec, queue: MessageQueue<Codec.Value>) {
    self.codec = codec
    place = WeakQueue(queue)
  }

  func receive(_ body: [UInt8]) throws { place.queue?.add(try codec.decode(body), bytes: body.count) }
  func finish(_ end: Result<Void, ProtomuxError>) { place.queue?.finish(end) }
}

/// The program holds the queue: when it has let go of it, there is no reader, and what arrives is dropped.
private final class WeakQueue<Value: Sendable>: @unchecked Sendable {
  private(set) weak var queue: MessageQueue<Value>?

  init(_ queue: MessageQueue<Value>) { self.queue = queue }
}

struct HandlerReceiver<Codec: MessageCodec>: MessageReceiver {
  let codec: Codec
  let handler: @Sendable (Codec.Value) -> Void

  func receive(_ body: [UInt8]) throws { handler(try codec.decode(body)) }
  func finish(_ end: Result<Void, ProtomuxError>) {}
}
