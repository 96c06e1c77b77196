import HyperDHT

/// What channels run on: an ordered, reliable stream of messages in both directions. Encrypted connections are one;
/// a program can bring another.
///
/// All calls may come from any thread, and none may call back into the `Protomux` before it returns.
public protocol ProtomuxStream: Sendable {
  /// Bytes that one message can have: always the same, more than 38. Messages of channels have 38 less.
  var maximumMessageSize: Int { get }
  /// The next message; `nil` after the peer has ended its half. Called by one task at a time. `closed` is a regular
  /// end, too; every other error is why the mux fails.
  func read() async throws(ConnectionError) -> [UInt8]?
  /// Sends one message behind those before it, without waiting.
  /// - Parameter message: one frame of the mux; the stream's own from now on.
  /// - Returns: whether the caller should slow down and wait for `drained`.
  func writeWithoutWaiting(_ message: [UInt8]) throws(ConnectionError) -> Bool
  /// Returns when there is room again.
  func drained() async throws(ConnectionError)
  /// Ends the writing half after what has been written.
  func end()
  /// Sends what has been written, ends, and waits until the peer has ended, too.
  func close() async
  /// Aborts at once. `read` and `drained` that wait return or throw.
  func destroy()
}

/// An encrypted connection as a stream for channels.
struct ConnectionStream: ProtomuxStream {
  let connection: HyperDHT.Connection

  var maximumMessageSize: Int { HyperDHT.Connection.maximumMessageSize }
  func read() async throws(ConnectionError) -> [UInt8]? { try await connection.read() }
  func writeWithoutWaiting(_ message: [UInt8]) throws(ConnectionError) -> Bool {
    try connection.writeWithoutWaiting(message)
  }
  func drained() async throws(ConnectionError) { try await connection.drained() }
  func end() { connection.end() }
  func close() async { await connection.close() }
  func destroy() { connection.destroy() }
}
