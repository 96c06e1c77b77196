import Dispatch
import HyperDHT
import HyperEncoding
import HyperFileTransfer

/// What a transfer of files runs on: messages both ways, with back-pressure.
protocol TransferChannel: Sendable {
  var peer: Bytes32 { get }
  /// `isReceiver` says which role this side has.
  func pairing(isReceiver: Bool) -> Pairing.Channel
  func send(_ message: [UInt8]) async throws
  /// `nil` when the peer has ended its half.
  func receive() async throws -> [UInt8]?
  /// Ends the writing half after everything written.
  func end()
  func destroy()
  /// The peer has said what it wants, its code included.
  func settle()
}

extension TransferChannel {
  func settle() {}

  func send(_ message: Message) async throws { try await send(message.encoded) }

  /// The next message, which is no refusal.
  func next() async throws -> Message {
    guard let bytes = try await receive() else { throw TransferError.ended }
    let message = try Message(bytes)
    if case .refuse(let refusal, let text) = message {
      if refusal == .wrongCode { throw TransferError.wrongCode }
      throw TransferError.refused(refusal, FileName.printable(text))
    }
    return message
  }

  /// Tells the peer why this side gives up, and ends; the peer has `FileLimits.farewell` to take it.
  func giveUp(because error: any Error) async {
    let refusal: Message?
    switch error {
    case let error as TransferError:
      refusal = error.refusal.map { .refuse($0, Array(error.description.utf8)) }
    case is CancellationError, is ConnectionError: refusal = nil
    default: refusal = .refuse(.failed, [])
    }
    if let refusal { await sayLast(refusal) }
    destroy()
  }

  /// Sends the last message, ends, and waits for the peer's end, which says that it knows: for as long as
  /// `FileLimits.farewell`.
  func sayLast(_ message: Message) async {
    let deadline = Task {
      try await Task.sleep(for: FileLimits.farewell)
      destroy()
    }
    defer { deadline.cancel() }
    guard (try? await send(message)) != nil else { return }
    end()
    // What the peer has sent in the meantime is dropped until it ends, too.
    while (try? await receive()) ?? nil != nil {}
  }
}

struct ConnectionChannel: TransferChannel {
  let connection: HyperDHT.Connection
  /// Of a sender.
  private let place: Places.Place?

  init(_ connection: HyperDHT.Connection, place: Places.Place? = nil) {
    self.connection = connection
    self.place = place
    connection.setTimeout(FileLimits.silence)
  }

  var peer: Bytes32 { connection.remotePublicKey }

  func pairing(isReceiver: Bool) -> Pairing.Channel {
    Pairing.Channel(
      handshakeHash: connection.handshakeHash,
      receiver: isReceiver ? connection.publicKey : connection.remotePublicKey,
      sender: isReceiver ? connection.remotePublicKey : connection.publicKey)
  }

  func send(_ message: [UInt8]) async throws {
    try await connection.write(message)
    place?.touch()
  }

  func receive() async throws -> [UInt8]? {
    let message = try await connection.read()
    place?.touch()
    return message
  }

  func settle() { place?.settle() }
  func end() { connection.end() }
  func destroy() { connection.destroy() }
}

/// Runs tasks that wait for disks, away from the threads that others share.
final class BlockingExecutor: TaskExecutor {
  private let queue = DispatchQueue(label: "hyperswarm.files")

  func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    queue.async { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
  }
}
