import HyperEnvironment
import HyperRuntime
import HyperSecretStream

extension SecretStream {
  /// Sends one message that `fill` writes where it is encrypted and sent from: no array in between. Waits for room as
  /// the other forms of `write` do, after `fill`, and throws as they do.
  /// - Parameters:
  ///   - capacity: bytes that the message may have at most, not negative: memory for so many is taken. Above
  ///     `maximumMessageSize` the call throws `messageTooLarge`, and `fill` is not called.
  ///   - fill: called once, within this call; what it has appended when it returns is the message. To append more than
  ///     `capacity` is a programming error that stops the program.
  public nonisolated(nonsending) func write(
    capacity: Int, _ fill: (inout OutputRawSpan) -> Void
  ) async throws(SecretStreamError) {
    let message = try Self.message(capacity, fill)
    do throws(CallFailure) {
      try await state.writing.write(.owned(message))
    } catch {
      throw state.closing.error(error)
    }
  }

  /// The same without waiting for room: for callers that bound their own output.
  /// - Returns: whether the caller should slow down (more than 1 MiB waits to be sent).
  /// - Throws: `messageTooLarge`; `closed` after `end`; why the stream has closed.
  @discardableResult
  public func writeWithoutWaiting(
    capacity: Int, _ fill: (inout OutputRawSpan) -> Void
  ) throws(SecretStreamError) -> Bool {
    let message = try Self.message(capacity, fill)
    do throws(CallFailure) {
      return try state.writing.put(.owned(message))
    } catch {
      throw state.closing.error(error)
    }
  }

  private static func message(
    _ capacity: Int, _ fill: (inout OutputRawSpan) -> Void
  ) throws(SecretStreamError) -> OwnedMessage {
    guard capacity <= maximumMessageSize else { throw .messageTooLarge(capacity) }
    return EncryptedStream.makeMessage(capacity: capacity, fill)
  }
}

extension SecretStream {
  /// Sends the bytes of any collection as one message: `Data`, a slice, a buffer of another library. They are copied
  /// once, to where they are encrypted. Waits for room, and throws, as the other forms of `write` do.
  public nonisolated(nonsending) func write(_ bytes: some Collection<UInt8>) async throws(SecretStreamError) {
    try await write(capacity: bytes.count) { $0.append(copying: bytes) }
  }

  /// The same without waiting for room: for callers that bound their own output.
  /// - Returns: whether the caller should slow down (more than 1 MiB waits to be sent).
  /// - Throws: `messageTooLarge`; `closed` after `end`; why the stream has closed.
  @discardableResult
  public func writeWithoutWaiting(_ bytes: some Collection<UInt8>) throws(SecretStreamError) -> Bool {
    try writeWithoutWaiting(capacity: bytes.count) { $0.append(copying: bytes) }
  }

  /// Sends borrowed bytes as one message. They are copied once, to where they are encrypted, before the call waits
  /// for room. Waits, and throws, as the other forms of `write` do.
  public nonisolated(nonsending) func write(_ bytes: RawSpan) async throws(SecretStreamError) {
    let message = try Self.message(copying: bytes)
    do throws(CallFailure) {
      try await state.writing.write(.owned(message))
    } catch {
      throw state.closing.error(error)
    }
  }

  /// The same without waiting for room: for callers that bound their own output.
  /// - Returns: whether the caller should slow down (more than 1 MiB waits to be sent).
  /// - Throws: `messageTooLarge`; `closed` after `end`; why the stream has closed.
  @discardableResult
  public func writeWithoutWaiting(_ bytes: RawSpan) throws(SecretStreamError) -> Bool {
    let message = try Self.message(copying: bytes)
    do throws(CallFailure) {
      return try state.writing.put(.owned(message))
    } catch {
      throw state.closing.error(error)
    }
  }

  /// Lends the next message to `body` where it was decrypted: nothing is copied, and the compiler keeps the span from
  /// outliving the call. `body` is called at most once, within this call, by the task that calls. Otherwise as `read`.
  /// - Returns: what `body` returns; `nil` after the peer has ended its half.
  public nonisolated(nonsending) func withNextSpan<R>(
    _ body: (RawSpan) -> R
  ) async throws(SecretStreamError) -> R? {
    guard let message = try await read() else { return nil }
    return body(message.span.bytes)
  }

  private static func message(copying bytes: RawSpan) throws(SecretStreamError) -> OwnedMessage {
    try bytes.withUnsafeBytes { (bytes) throws(SecretStreamError) in
      try message(bytes.count) { $0.append(copying: bytes) }
    }
  }
}
