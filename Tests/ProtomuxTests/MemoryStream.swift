import HyperDHT
import HyperProtomux
import HyperRuntime
import XCTest

/// One end of a stream inside the process, with as much room as the test gives it.
final class MemoryStream: ProtomuxStream {
  private struct State {
    var other: MemoryStream?
    var written: [[UInt8]] = []
    var hasRoom = true
  }

  let maximumMessageSize: Int
  private let state = Locked(State())
  private let inbox = EventQueue<[UInt8], ConnectionError>(capacity: .max)
  private let room = EventQueue<Void, Never>(capacity: .max)

  init(maximumMessageSize: Int) { self.maximumMessageSize = maximumMessageSize }

  static func pair(maximumMessageSize: Int = 16 << 20) -> (MemoryStream, MemoryStream) {
    let (a, b) = (
      MemoryStream(maximumMessageSize: maximumMessageSize), MemoryStream(maximumMessageSize: maximumMessageSize)
    )
    a.state.withLock { $0.other = b }
    b.state.withLock { $0.other = a }
    return (a, b)
  }

  /// What has been written, and is forgotten now.
  func takeWritten() -> [[UInt8]] {
    state.withLock { state in
      defer { state.written = [] }
      return state.written
    }
  }

  var hasRoom: Bool {
    get { state.withLock { $0.hasRoom } }
    set {
      state.withLock { $0.hasRoom = newValue }
      if newValue { for _ in 0..<100 { room.push(()) } }
    }
  }

  /// As if the peer had sent it.
  func receive(_ message: [UInt8]) { inbox.push(message) }

  func fail(_ error: ConnectionError) { inbox.finish(.failure(error)) }

  func read() async throws(ConnectionError) -> [UInt8]? { try await inbox.next() }

  func writeWithoutWaiting(_ message: [UInt8]) throws(ConnectionError) -> Bool {
    let (other, mustWait) = state.withLock { state in
      state.written.append(message)
      return (state.other, !state.hasRoom)
    }
    other?.receive(message)
    return mustWait
  }

  func drained() async throws(ConnectionError) {
    while !hasRoom {
      guard await room.next() != nil else { throw .cancelled }
    }
  }

  func end() { state.withLock { $0.other }?.inbox.finish() }
  func close() async { destroy() }

  func destroy() {
    end()
    inbox.finish()
  }
}

/// Two ends of one stream.
func pair() -> (Protomux, Protomux) {
  let (a, b) = MemoryStream.pair()
  return (Protomux(over: a), Protomux(over: b))
}

func eventually(
  _ what: String, file: StaticString = #filePath, line: UInt = #line, _ condition: () async -> Bool
) async throws {
  for _ in 0..<2000 {
    if await condition() { return }
    try await Task.sleep(for: .milliseconds(5))
  }
  XCTFail("never: \(what)", file: file, line: line)
}

func first<Value>(_ messages: Protomux.Messages<Value>) async throws -> Value? {
  try await messages.first { _ in true }
}
