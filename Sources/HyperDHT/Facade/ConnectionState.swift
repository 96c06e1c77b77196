import CompactEncoding
import Environment
import EventLoop
import SecretStream
import UDX

/// The loop's side of a `Connection`: feeds the stream from the outbox and the inbox from the stream.
///
/// Held by the stream's callbacks until the stream closes, and by the handle. Everything but the boxes is confined to
/// the loop.
final class ConnectionState: @unchecked Sendable {
  let loop: UVEventLoop
  let stream: EncryptedStream
  let inbox = Inbox()
  let outbox = Outbox()
  let datagrams = EventQueue<[UInt8], Never>(capacity: FacadeLimits.datagrams)
  let closing = ClosingFlag()

  private var arrived: [[UInt8]] = []
  private var arrivedBytes = 0
  private var isDeliveryDue = false
  private var isAbandoned = false
  /// Taken from the outbox while the stream was full.
  private var waiting: [Outbox.Item] = []
  private var waitingHead = 0
  private var isBlocked = false
  private var isPumping = false

  /// Takes over the stream's `onMessage`, `onDatagram`, `onDrain`, `onEnd`; the owner calls `closed` from `onClose`.
  init(loop: UVEventLoop, stream: EncryptedStream) {
    self.loop = loop
    self.stream = stream
    stream.onMessage = { [self] in received($0) }
    stream.onDatagram = { [self] bytes in datagrams.push(Array(bytes)) }
    stream.onDrain = { [self] in
      isBlocked = false
      pump()
    }
    stream.onEnd = { [self] in
      deliver()
      inbox.finish(.success(()))
    }
  }

  /// Last act of the stream.
  func closed(_ error: EncryptedStreamError?) {
    deliver()
    let reason = error.map(ConnectionError.init)
    // Writing fails first: a reader that learns of the end may write at once.
    let unsent = waiting[waitingHead...]
    waiting = []
    waitingHead = 0
    outbox.close(reason ?? .closed)
    for case .flush(let done) in unsent { done(false) }
    inbox.finish(reason.map { .failure($0) } ?? .success(()))
    datagrams.finish()
    closing.close(reason)
  }

  // MARK: Receiving

  private func received(_ bytes: UnsafeRawBufferPointer) {
    guard !isAbandoned else { return }
    arrived.append(
      [UInt8](unsafeUninitializedCapacity: bytes.count) { target, count in
        UnsafeMutableRawBufferPointer(target).copyMemory(from: bytes)
        count = bytes.count
      })
    arrivedBytes &+= bytes.count &+ StreamBuffers.messageCost
    if arrivedBytes >= StreamBuffers.readStep {
      deliver()
    } else if !isDeliveryDue {
      isDeliveryDue = true
      loop.defer { [self] in
        isDeliveryDue = false
        deliver()
      }
    }
  }

  private func deliver() {
    guard arrivedBytes > 0 else { return }
    let batch = arrived
    let bytes = arrivedBytes
    arrived = []
    arrivedBytes = 0
    if inbox.push(batch, bytes: bytes) { stream.pause() }
  }

  func resumeReading() { stream.resume() }

  // MARK: Sending

  func pump() {
    guard !isPumping else { return }
    isPumping = true
    var taken = 0
    while !isBlocked {
      if waitingHead == waiting.count {
        if taken > 0 {
          outbox.took(taken)
          taken = 0
        }
        waiting = outbox.takeAll()
        waitingHead = 0
        if waiting.isEmpty { break }
      }
      let item = waiting[waitingHead]
      waiting[waitingHead] = .end
      waitingHead &+= 1
      switch item {
      case .message(let bytes):
        isBlocked = !stream.write(bytes) && !stream.isDestroying
        taken &+= bytes.count &+ StreamBuffers.messageCost
        if taken >= StreamBuffers.writeStep {
          outbox.took(taken)
          taken = 0
        }
      case .flush(let done): stream.flush(done)
      case .end: stream.end()
      }
    }
    if taken > 0 { outbox.took(taken) }
    isPumping = false
  }

  // MARK: Closing

  /// The handle is gone: what was written is still sent, what arrives is dropped.
  func abandon() {
    guard !stream.isDestroying else { return }
    isAbandoned = true
    arrived = []
    arrivedBytes = 0
    inbox.abandon()
    stream.resume()
    if case .taken(let announce) = outbox.add(.end), announce { pump() }
    let deadline = loop.schedule(after: FacadeLimits.abandonedGrace) { [stream] in stream.destroy() }
    closing.whenClosed { deadline.cancel() }
  }
}
