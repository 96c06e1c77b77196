import HyperRuntime
import HyperSecretStream

extension SecretStream {
  // MARK: Messages

  /// Sends one message. While more than 1 MiB waits to be sent, suspends first until it is down to half of that; the
  /// bound holds for all writers of the stream together. A return says that the message is under way, not that it has
  /// arrived: see `flush`. A call that throws for its cancellation has sent nothing.
  ///
  /// An empty message is sent, but is what the protocol keeps streams alive with: a peer whose own keep-alive is on
  /// drops it.
  /// - Throws: `messageTooLarge` above `maximumMessageSize` bytes; `closed` after `end`; why the stream has closed;
  ///   `cancelled`.
  public nonisolated(nonsending) func write(_ message: [UInt8]) async throws(SecretStreamError) {
    guard message.count <= SecretStream.maximumMessageSize else { throw .messageTooLarge(message.count) }
    do throws(CallFailure) {
      try await state.writing.write(.message(message))
    } catch {
      throw state.closing.error(error)
    }
  }

  /// Sends the text in UTF-8 as one message. Waits for room, and throws, as the other forms of `write` do.
  public nonisolated(nonsending) func write(_ text: String) async throws(SecretStreamError) {
    try await write(Array(text.utf8))
  }

  /// Sends one message without waiting for room: for callers that bound their own output. What waits has no bound of
  /// its own.
  /// - Returns: whether the caller should slow down (more than 1 MiB waits to be sent).
  /// - Throws: `messageTooLarge` above `maximumMessageSize` bytes; `closed` after `end`; why the stream has closed.
  @discardableResult
  public func writeWithoutWaiting(_ message: [UInt8]) throws(SecretStreamError) -> Bool {
    guard message.count <= SecretStream.maximumMessageSize else { throw .messageTooLarge(message.count) }
    do throws(CallFailure) {
      return try state.writing.put(message)
    } catch {
      throw state.closing.error(error)
    }
  }

  /// Waits until there is room, as `write` does: after `writeWithoutWaiting` has said to slow down.
  /// - Throws: `closed` after `end`; why the stream has closed; `cancelled`.
  public nonisolated(nonsending) func drained() async throws(SecretStreamError) {
    do throws(CallFailure) {
      try await state.writing.waitForRoom()
    } catch {
      throw state.closing.error(error)
    }
  }

  /// Waits until the transport has everything that was written before; over UDX, until the peer has acknowledged it.
  /// Waits for the handshake, too, if that is not done.
  /// - Throws: why the stream has closed, `closed` for a regular end; `cancelled`.
  public nonisolated(nonsending) func flush() async throws(SecretStreamError) {
    let reason: SecretStreamError?
    do throws(CallFailure) {
      if try await state.writing.flush() { return }
      // The stream has begun to close; its last act says why.
      reason = try await state.closing.wait()
    } catch {
      throw state.closing.error(error)
    }
    throw reason ?? .closed
  }

  // MARK: Datagrams

  /// Sends one datagram, unordered and unreliable. An observer of the handshake can compute its key: no place for
  /// secrets.
  /// - Returns: `false`, with nothing sent, when the transport is not UDX, before the handshake is done, above the
  ///   path's limit (the path's packet size less 72 bytes: 1,128 at first), or when the stream is closing.
  @discardableResult
  public nonisolated(nonsending) func sendDatagram(_ bytes: [UInt8]) async -> Bool {
    let state = state
    return await onLoop(state.loop) { state.stream.sendDatagram(bytes) } ?? false
  }

  /// As `sendDatagram`, without waiting to hear whether it was sent.
  public func trySendDatagram(_ bytes: [UInt8]) {
    let state = state
    state.loop.post { _ = state.stream.sendDatagram(bytes) }
  }

  /// Waits for the next datagram; `nil` when the stream is closed or the task cancelled, and always without UDX. Up to
  /// 256 wait to be read, further ones are dropped.
  public nonisolated(nonsending) func nextDatagram() async -> [UInt8]? {
    await state.datagrams.next()
  }

  // MARK: Settings and numbers

  /// As `Options.keepAlive`, from now on.
  public func setKeepAlive(_ interval: Duration) {
    let (state, milliseconds) = (state, interval.wholeMilliseconds)
    state.loop.post { state.stream.keepAlive = milliseconds }
  }

  /// As `Options.timeout`, from now on.
  public func setTimeout(_ limit: Duration) {
    let (state, milliseconds) = (state, limit.wholeMilliseconds)
    state.loop.post { state.stream.timeout = milliseconds }
  }

  /// What the options, or `setKeepAlive`, have set; zero is off, as after `end`.
  public nonisolated(nonsending) func keepAlive() async -> Duration {
    let state = state
    let milliseconds = await onLoop(state.loop) { state.stream.keepAlive }
    return .milliseconds(Int64(clamping: milliseconds ?? 0))
  }

  /// What the options, or `setTimeout`, have set; zero is off.
  public nonisolated(nonsending) func timeout() async -> Duration {
    let state = state
    let milliseconds = await onLoop(state.loop) { state.stream.timeout }
    return .milliseconds(Int64(clamping: milliseconds ?? 0))
  }

  /// Sends one empty message now, if the handshake is done and `end` has not been called.
  public func sendKeepAlive() {
    let state = state
    state.loop.post { state.stream.sendKeepAliveIfOpen() }
  }

  /// The stream's counters at this moment; all zero once its loop has ended.
  public nonisolated(nonsending) func statistics() async -> Statistics {
    let state = state
    return await onLoop(state.loop) { Statistics(state.stream) } ?? Statistics()
  }
}

extension EncryptedStream {
  fileprivate func sendKeepAliveIfOpen() { if isOpen { sendKeepAlive() } }
}
