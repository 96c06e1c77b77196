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
}

extension TransferChannel {
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
    if let refusal { await farewell(refusal) }
    destroy()
  }

  private func farewell(_ message: Message) async {
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

  init(_ connection: HyperDHT.Connection) {
    self.connection = connection
    connection.setTimeout(FileLimits.silence)
  }

  var peer: Bytes32 { connection.remotePublicKey }

  func pairing(isReceiver: Bool) -> Pairing.Channel {
    Pairing.Channel(
      handshakeHash: connection.handshakeHash,
      receiver: isReceiver ? connection.publicKey : connection.remotePublicKey,
      sender: isReceiver ? connection.remotePublicKey : connection.publicKey)
  }

  func send(_ message: [UInt8]) async throws { try await connection.write(message) }
  func receive() async throws -> [UInt8]? { try await connection.read() }
  func end() { connection.end() }
  func destroy() { connection.destroy() }
}

/// Bounds of `send` and `receive` beside those of their protocol.
enum FileLimits {
  /// Milliseconds without anything from the peer after which a connection counts as lost: several keepalives.
  static let silence: UInt64 = 20_000
  /// For a peer to take why this side gives up.
  static let farewell = Duration.seconds(3)
  /// For a receiver to say what it wants, its code included: then strangers make room for others.
  static let greeting = Duration.seconds(30)
  /// Receivers served at a time; further ones are refused in the answer to their handshake.
  static let sessions = 32
  /// How long a lost connection is dialled again without a byte of progress.
  static let reconnecting = Duration.seconds(120)
  /// Longest pause between two attempts.
  static let pause = Duration.seconds(8)
  /// How long a sender is looked for under a code.
  static let search = Duration.seconds(30)
  /// For one candidate under a code: several may be there, the dead ones included.
  static let candidate: UInt64 = 15_000
  /// Candidates that a code is tried with: each gets one guess at it.
  static let guesses = 3
  /// Announcements last 20 minutes.
  static let announcing = Duration.seconds(480)
  /// Names that are shown before the question whether to receive.
  static let shownNames = 10
  /// Bytes of one read of a file whose beginning is hashed again.
  static let rereading = 1 << 20
}

/// Runs tasks that wait for disks, away from the threads that others share.
final class BlockingExecutor: TaskExecutor {
  private let queue = DispatchQueue(label: "hyperswarm.files")

  func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    queue.async { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
  }
}
