import HyperDHT
import HyperProtomuxEngine
import HyperRuntime

extension Protomux {
  /// One protocol on a connection, with its types of messages.
  ///
  /// Lives until either side closes it, or the connection ends, whether the program refers to it or not. May be used
  /// from any thread.
  public final class Channel: Sendable {
    /// The protocol that it was created with.
    public let protocolName: String
    /// The id that it was created with; empty for none.
    public let id: [UInt8]
    /// Further names of the protocol.
    public let aliases: [String]

    private struct State {
      var receivers: [any MessageReceiver] = []
      var handshake: [UInt8] = []
      /// It has ended, and how: for types that are added later.
      var end: Result<Void, ProtomuxError>?
    }

    let core: MuxCore
    /// Confined to the core's lock.
    let link: LoopBound<MuxChannel>
    private let state = Locked(State())
    /// Closes without a reason when the channel is open, with one if it closes before.
    private let opening = ClosingFlag<ProtomuxError>()
    private let closing = ClosingFlag<ProtomuxError>()

    init(core: MuxCore, link: MuxChannel, name: String, id: [UInt8], aliases: [String]) {
      self.core = core
      self.link = LoopBound(link)
      protocolName = name
      self.id = id
      self.aliases = aliases
    }

    // MARK: Messages

    /// Adds a type of message, which is read from its `messages`. Types are numbered in the order in which they are
    /// added; both sides must add them in the same order. What arrives for a type that is not there is dropped: add all
    /// types before `open`. The same goes for a type whose result the program has let go of.
    /// - Parameter codec: how values become bytes, and back.
    public func addMessage<Codec: MessageCodec>(_ codec: Codec) -> Message<Codec> {
      let queue = MessageQueue<Codec.Value>(core: core)
      let type = add(QueueReceiver(codec: codec, queue: queue))
      return Message(channel: self, type: type, codec: codec, queue: queue)
    }

    /// Adds a type of message with a handler for what is received.
    /// - Parameters:
    ///   - codec: how values become bytes, and back.
    ///   - onMessage: called for each message, one after the other for all channels of the connection, in a task of the
    ///     mux: it must not block. It may send, and close channels. It is held as long as the channel.
    public func addMessage<Codec: MessageCodec>(
      _ codec: Codec, onMessage: @escaping @Sendable (Codec.Value) -> Void
    ) -> Message<Codec> {
      let type = add(HandlerReceiver(codec: codec, handler: onMessage))
      return Message(channel: self, type: type, codec: codec, queue: nil)
    }

    /// Leaves out the number of a type that this side does not know; what arrives for it is dropped.
    public func skipMessage() { _ = add(HandlerReceiver(codec: .raw) { _ in }) }

    private func add(_ receiver: any MessageReceiver) -> Int {
      let (type, end) = state.withLock { state in
        state.receivers.append(receiver)
        return (state.receivers.count - 1, state.end)
      }
      if let end { receiver.finish(end) }
      return type
    }

    // MARK: Opening and closing

    /// Tells the peer. Messages can be sent from now on: the peer holds them until it has opened the channel.
    /// - Parameter handshake: bytes that the peer gets with it.
    /// - Throws: `closed` when it was opened before, or is closed; `messageTooLarge`.
    public func open(handshake: [UInt8] = []) throws(ProtomuxError) { try core.open(self, handshake: handshake) }

    /// Tells the peer, with a value that it gets.
    /// - Parameters:
    ///   - handshake: the value.
    ///   - codec: how it becomes bytes.
    /// - Throws: `encodingFailed`; else as above.
    public func open<Codec: MessageCodec>(handshake: Codec.Value, _ codec: Codec) throws(ProtomuxError) {
      try open(handshake: try codec.encoded(handshake))
    }

    /// Waits until the peer has opened the channel, too. Begins to read; waits for `open` of this side as well.
    /// - Returns: the bytes of the peer's handshake, also after the channel has closed again.
    /// - Throws: `rejected`; `closed`, or why the connection failed: `decodingFailed`, `protocolViolation`,
    ///   `connection`; `cancelled`.
    @discardableResult
    public nonisolated(nonsending) func opened() async throws(ProtomuxError) -> [UInt8] {
      core.start()
      try await TracedCall("hyperprotomux.opened").run { () async throws(ProtomuxError) in
        if let reason = try await opening.waited() { throw reason }
      }
      return state.withLock { $0.handshake }
    }

    /// Waits until the peer has opened the channel, too.
    /// - Parameter codec: how the peer's handshake becomes a value.
    /// - Returns: the peer's handshake. One that cannot be decoded destroys the connection.
    /// - Throws: `decodingFailed`; else as above.
    public nonisolated(nonsending) func opened<Codec: MessageCodec>(
      _ codec: Codec
    ) async throws(ProtomuxError) -> Codec.Value {
      let bytes = try await opened()
      do {
        return try codec.decode(bytes)
      } catch {
        let failure = ProtomuxError.decodingFailed("handshake of \(protocolName): \(error)")
        core.destroy(failure)
        throw failure
      }
    }

    /// Whether both sides have opened it, and neither has closed it.
    public var isOpened: Bool { opening.isClosed && opening.reason == nil && !isClosed }

    /// Tells the peer, and drops what it has sent. What has been received and not read can still be read.
    public func close() { core.close(self) }

    /// Whether either side has closed it, the peer has rejected it, or the connection has ended.
    public var isClosed: Bool { closing.isClosed }

    /// Waits until it is closed.
    /// - Returns: why: `rejected`, or what has happened to the connection; `nil` if either side closed it, or the
    ///   connection ended regularly.
    /// - Throws: `cancelled`.
    @discardableResult
    public nonisolated(nonsending) func closed() async throws(ProtomuxError) -> ProtomuxError? {
      core.start()
      return try await closing.waited()
    }

    // MARK: From the core

    func didOpen(_ handshake: [UInt8]) {
      state.withLock { $0.handshake = handshake }
      opening.close()
    }

    /// A message of the peer. Throws when it cannot be decoded.
    func received(_ type: UInt64, _ body: [UInt8]) throws(ProtomuxError) {
      let receiver = state.withLock { state in
        type < UInt64(state.receivers.count) ? state.receivers[Int(type)] : nil
      }
      do {
        try receiver?.receive(body)
      } catch {
        throw .decodingFailed("message \(type) of \(protocolName): \(error)")
      }
    }

    func didClose(_ reason: ProtomuxError?) {
      let end: Result<Void, ProtomuxError> = reason == nil || reason == .rejected ? .success(()) : .failure(reason!)
      let receivers = state.withLock { state in
        state.end = state.end ?? end
        return state.receivers
      }
      opening.record(reason ?? .closed)
      opening.close()
      closing.record(reason)
      closing.close()
      for receiver in receivers { receiver.finish(end) }
    }
  }
}

extension ClosingFlag<ProtomuxError> {
  nonisolated(nonsending) func waited() async throws(ProtomuxError) -> ProtomuxError? {
    do throws(CallFailure) {
      return try await wait()
    } catch {
      throw error == .cancelled ? .cancelled : .closed
    }
  }
}

extension MessageCodec {
  func encoded(_ value: Value) throws(ProtomuxError) -> [UInt8] {
    do { return try encode(value) } catch { throw .encodingFailed("\(error)") }
  }
}
