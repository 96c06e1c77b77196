import HyperEnvironment
import HyperRuntime

/// Writes to a stream and knows when everything before a flush is acknowledged. Confined to the loop.
final class AcknowledgedWriter: MessageSink {
  private let stream: UDXStream
  private let acknowledgements = AcknowledgementQueue()

  init(_ stream: UDXStream) { self.stream = stream }

  func send(_ message: [UInt8]) -> Bool {
    guard !message.isEmpty else { return true }
    return stream.write(OwnedBuffer(message), acknowledgements.write())
  }

  func sendDatagram(_ bytes: [UInt8]) -> Bool {
    stream.sendMessage(bytes)
    return true
  }

  func flush(_ done: @escaping (Bool) -> Void) {
    guard !stream.isClosed else { return done(false) }
    if !acknowledgements.flush(done) { done(true) }
  }

  func end() { stream.end() }

  /// The stream has closed: nothing more will be acknowledged.
  func close() { acknowledgements.close() }
}
