import HyperEnvironment
import HyperRuntime

/// A transport of the program's own, with its waiting calls, as the engine wants it: with callbacks on the loop.
///
/// Two tasks that prefer the loop read and write; everything here runs on the loop.
final class TransportBridge: ByteTransport, @unchecked Sendable {
  var onData: ((UnsafeRawBufferPointer) -> Void)?
  var onEnd: (() -> Void)?
  var onDrain: (() -> Void)?
  var onClose: ((TransportStreamError?) -> Void)?
  private(set) var isClosed = false
  /// What the transport has thrown.
  private(set) var failure: String?

  private typealias Write = (buffer: OwnedBuffer, done: ((Bool) -> Void)?)
  private let loop: UVEventLoop
  private let base: any SecretStreamTransport
  private var queue: [Write] = []
  private var queuedBytes = 0
  private var owesDrain = false
  private var isWriting = false
  private var isEnding = false
  private var hasEnded = false
  private var isReading = false
  private var isPaused = false
  private var peerHasEnded = false

  init(loop: UVEventLoop, base: any SecretStreamTransport) {
    self.loop = loop
    self.base = base
  }

  // MARK: Writing

  func write(_ buffer: OwnedBuffer, _ onAcknowledged: ((Bool) -> Void)?) -> Bool {
    guard !isClosed, !isEnding else {
      onAcknowledged?(false)
      return true
    }
    queue.append((buffer, onAcknowledged))
    queuedBytes += buffer.count
    startWriting()
    if queuedBytes > Limits.transportWindow { owesDrain = true }
    return !owesDrain
  }

  func end() {
    guard !isClosed, !isEnding else { return }
    isEnding = true
    startWriting()
  }

  private func startWriting() {
    guard !isWriting else { return }
    isWriting = true
    Task(executorPreference: loop) { [self] in await writeAll() }
  }

  private func writeAll() async {
    do {
      while !isClosed {
        if let next = queue.first {
          try await base.write(Array(next.buffer.bytes))
          if !isClosed { written() }
          continue
        }
        guard isEnding, !hasEnded else { break }
        try await base.end()
        hasEnded = true
        closeIfOver()
      }
      isWriting = false
    } catch {
      fail(error)
    }
  }

  private func written() {
    let (buffer, done) = queue.removeFirst()
    queuedBytes -= buffer.count
    done?(true)
    guard owesDrain, queuedBytes <= Limits.transportResume, !isClosed else { return }
    owesDrain = false
    onDrain?()
  }

  // MARK: Reading

  /// The callbacks are set: begins to read.
  func startReading() {
    guard !isReading, !isPaused, !peerHasEnded, !isClosed else { return }
    isReading = true
    Task(executorPreference: loop) { [self] in await readAll() }
  }

  private func readAll() async {
    do {
      while !isPaused {
        let bytes = try await base.read()
        guard !isClosed else { return }
        guard let bytes else {
          peerHasEnded = true
          onEnd?()
          closeIfOver()
          break
        }
        bytes.withUnsafeBytes { onData?($0) }
        guard !isClosed else { return }
      }
      isReading = false
    } catch {
      fail(error)
    }
  }

  func pauseReading() { isPaused = true }

  func resumeReading() {
    isPaused = false
    startReading()
  }

  // MARK: Closing

  func destroy() { close(nil) }

  private func fail(_ error: any Error) {
    guard !isClosed else { return }
    if case .reset? = error as? SecretStreamError { return close(.reset) }
    failure = "\(error)"
    close(.other(0))
  }

  private func closeIfOver() { if hasEnded, peerHasEnded { close(nil) } }

  private func close(_ error: TransportStreamError?) {
    guard !isClosed else { return }
    isClosed = true
    base.destroy()
    let unsent = queue
    queue = []
    for write in unsent { write.done?(false) }
    loop.defer { [self] in
      let report = onClose
      onClose = nil
      report?(error)
    }
  }
}
