import HyperEncoding
import HyperEnvironment
import HyperSecretStream

/// A path that was tried on a claim and has not brought the peer's header in time. It stays beside the second
/// handshake, because the packet with the header may only have been lost.
final class FormerTrial {
  let raw: any TransportStream
  let handshaken: Handshaken
  let opening: StreamOpening
  private(set) var bytes: [UInt8] = []
  private(set) var isEnded = false
  private var timer: (any ScheduledAction)?

  /// One of the two runs, once: the header is here, or it will not come.
  init(
    raw: any TransportStream, handshaken: Handshaken, opening: StreamOpening, bytes: [UInt8],
    environment: any Environment, onHeader: @escaping () -> Void, onFailed: @escaping () -> Void
  ) {
    self.raw = raw
    self.handshaken = handshaken
    self.opening = opening
    self.bytes = bytes
    let fail = { [weak self] in
      self?.discard()
      onFailed()
    }
    raw.onData = { [weak self] data in
      guard let self else { return }
      guard self.bytes.count + data.count <= Limits.Connect.earlyBytes else { return fail() }
      self.bytes.append(contentsOf: data)
      if self.bytes.count >= StreamOpening.minimumAnswer { onHeader() }
    }
    raw.onEnd = { [weak self] in self?.isEnded = true }
    raw.onClose = { _ in fail() }
    timer = environment.schedule(after: Limits.Connect.pathTrial - Limits.Connect.judgementTrial, fail)
  }

  /// The transport is the taker's.
  func release() {
    timer?.cancel()
    timer = nil
    raw.onData = nil
    raw.onEnd = nil
    raw.onClose = nil
  }

  func discard() {
    release()
    raw.destroy()
  }
}
