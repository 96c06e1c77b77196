import HyperEnvironment
import HyperRuntime
import HyperSecretStream

extension HyperDHT.Connection {
  /// Sends one message that `fill` writes where it is encrypted and sent from: no array in between. Waits for room as
  /// the other forms of `write` do, after `fill`.
  /// - Parameters:
  ///   - capacity: bytes that the message may have at most; memory for so many is taken.
  ///   - fill: called once, within this call; what it has appended when it returns is the message.
  public nonisolated(nonsending) func write(
    capacity: Int, _ fill: (inout OutputRawSpan) -> Void
  ) async throws(ConnectionError) {
    let message = try Self.message(capacity, fill)
    do throws(CallFailure) {
      try await inner.writing.write(.owned(message))
    } catch {
      throw inner.closing.error(error)
    }
  }

  /// The same without waiting for room: for callers that bound their own output.
  /// - Returns: whether the caller should slow down (more than 1 MiB waits to be sent).
  @discardableResult
  public func writeWithoutWaiting(
    capacity: Int, _ fill: (inout OutputRawSpan) -> Void
  ) throws(ConnectionError) -> Bool {
    let message = try Self.message(capacity, fill)
    do throws(CallFailure) {
      return try inner.writing.put(.owned(message))
    } catch {
      throw inner.closing.error(error)
    }
  }

  private static func message(
    _ capacity: Int, _ fill: (inout OutputRawSpan) -> Void
  ) throws(ConnectionError) -> OwnedMessage {
    guard capacity <= maximumMessageSize else { throw .messageTooLarge(capacity) }
    return EncryptedStream.makeMessage(capacity: capacity, fill)
  }
}
