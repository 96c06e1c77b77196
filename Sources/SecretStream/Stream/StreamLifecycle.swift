import HyperEnvironment

extension EncryptedStream {
  /// Callbacks for the layers between this stream and its user, whose own callbacks stay free. They run before the
  /// user's: `open` and `authenticated` at most once, `close` exactly once, in the order of registration.
  package func observe(
    open: (() -> Void)? = nil, authenticated: (() -> Void)? = nil, close: ((EncryptedStreamError?) -> Void)? = nil
  ) {
    guard phase != .closed else { return environment.defer { [closeError] in close?(closeError) } }
    observers.append(Observer(open: open, authenticated: authenticated, close: close))
  }

  /// Aborts: queued messages are dropped, the transport is destroyed, `onClose` follows with `error` (the first error
  /// wins). Idempotent.
  package func destroy(_ error: EncryptedStreamError? = nil) {
    guard isLive else { return }
    phase = .destroying
    closeError = error
    cancelTimers()
    dropQueues()
    reportDestroying()
    if let byteTransport, !transportIsClosed {
      byteTransport.destroy()
    } else {
      scheduleClose()
    }
  }

  func fail(_ error: EncryptedStreamError) { destroy(error) }

  func transportClosed(_ error: TransportStreamError?) {
    guard !transportIsClosed else { return }
    transportIsClosed = true
    guard isLive else { return scheduleClose() }
    if let error { return finishClose(.transport(error)) }
    if phase == .handshaking { return finishClose(.endedDuringHandshake) }
    if remoteHasEnded, !endIsDelivered {
      // The reader still has messages to take.
      closesWhenRead = true
      return
    }
    finishClose(nil)
  }

  /// The transport is gone, or was never there.
  func finishClose(_ error: EncryptedStreamError?) {
    guard isLive else { return }
    phase = .destroying
    closeError = error
    cancelTimers()
    dropQueues()
    reportDestroying()
    scheduleClose()
  }

  private func reportDestroying() {
    let report = onDestroying
    onDestroying = nil
    report?()
  }

  private func dropQueues() {
    batch = nil
    early = []
    earlyCount = 0
    handshake = nil
    keptMessage = nil
    guard isStranger else { return }
    leaveStrangers()
    if !isProcessing { reader.removeAll() }
  }

  private func scheduleClose() {
    guard !closeIsScheduled else { return }
    closeIsScheduled = true
    environment.defer { [self] in close() }
  }

  private func close() {
    guard phase == .destroying else { return }
    phase = .closed
    if let byteTransport {
      byteTransport.onData = nil
      byteTransport.onEnd = nil
      byteTransport.onDrain = nil
      byteTransport.onClose = nil
    }
    transport?.onMessage = nil
    transport?.judgesSource = nil
    transport?.judgesMessage = nil
    transport?.onPeerMoved = nil
    sealer = nil
    opener = nil
    keys = nil
    datagrams = nil
    reader.removeAll()
    releaseIdleBuffers()

    acknowledgements.close()
    let waiting = earlyFlushes
    earlyFlushes = []
    for done in waiting { done(false) }

    let told = observers
    observers = []
    let closed = onClose
    onHandshake = nil
    onOpen = nil
    onAuthenticated = nil
    onRemoteHeader = nil
    onMessage = nil
    onOwnedMessage = nil
    onDatagram = nil
    onTransportActivity = nil
    onPathChange = nil
    isMoving = nil
    onDrain = nil
    onEnd = nil
    onClose = nil
    for observer in told { observer.close?(closeError) }
    closed?(closeError)
  }
}
