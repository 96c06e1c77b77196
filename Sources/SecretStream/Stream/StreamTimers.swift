import HyperEnvironment

// Timers do not move with every frame: they look at the time of the last frame when they fire and wait for the rest.
extension EncryptedStream {
  func armTimers() {
    keepAliveChanged()
    timeoutChanged()
    guard handshakeTimeout > 0, handshakeTimer == nil else { return }
    handshakeTimer = environment.schedule(after: handshakeTimeout) { [weak self] in
      // The header may wait in the socket of a loop that was blocked.
      guard let self, phase < .receiving else { return }
      handshakeTimer = environment.schedule(after: 0) { [weak self] in self?.handshakeExpired() }
    }
  }

  func cancelTimers() {
    cancelKeepAlive()
    timeoutTimer?.cancel()
    timeoutTimer = nil
    handshakeTimer?.cancel()
    handshakeTimer = nil
  }

  private func handshakeExpired() {
    handshakeTimer = nil
    if phase < .receiving { fail(.handshakeTimedOut) }
  }

  // MARK: Keepalive (secret-stream.md 10.1)

  /// Writes one empty message now, if the keys exist.
  package func sendKeepAlive() {
    guard isLive, !isEnding else { return }
    let empty = UnsafeRawBufferPointer(start: nil, count: 0)
    if batch == nil { sealAlone(empty, tag: .message) } else { seal(empty, tag: .message) }
  }

  func keepAliveChanged() {
    cancelKeepAlive()
    if isEnding {
      keepAliveAfterEnd = keepAlive
      if transportIsEnded, isLive { byteTransport?.keepAliveAfterEnd(keepAlive) }
    }
    guard keepAlive > 0, byteTransport != nil, isLive, !isEnding else { return }
    armKeepAlive(after: keepAlive)
  }

  private func cancelKeepAlive() {
    environment.sharedTicks.cancel(self)
    keepAliveTimer?.cancel()
    keepAliveTimer = nil
  }

  /// Long intervals may end a little early, and share their wake-ups with those of other streams.
  private var keepAliveSlack: UInt64 { keepAlive >= Limits.Stream.sharedKeepAlive ? SharedTicks.slack : 0 }

  private func armKeepAlive(after milliseconds: UInt64) {
    if milliseconds > keepAliveSlack, keepAliveSlack > 0 {
      environment.sharedTicks.schedule(self, within: milliseconds)
    } else {
      keepAliveTimer = environment.schedule(after: milliseconds) { [weak self] in self?.keepAliveExpired() }
    }
  }

  package func ticked() { keepAliveExpired() }

  private func keepAliveExpired() {
    keepAliveTimer = nil
    guard isLive, keepAlive > 0 else { return }
    let left = remaining(of: keepAlive, since: lastSent)
    guard left <= keepAliveSlack else { return armKeepAlive(after: left) }
    if isBlocked || !acknowledgements.isEmpty {
      // What waits for the peer's acknowledgement proves more than another empty message could.
      statisticsStorage.keepAlivesSkipped &+= 1
    } else {
      sendKeepAlive()
    }
    // The peer's own keepalives come as regularly, and need no buffers that last.
    let read = statisticsStorage.messageBytesRead
    if read == readAtKeepAlive, reader.bufferedCount == 0 { releaseIdleBuffers() }
    readAtKeepAlive = read
    guard isLive, keepAlive > 0 else { return }
    armKeepAlive(after: keepAlive)
  }

  // MARK: Receive timeout (secret-stream.md 10.2)

  func timeoutChanged() {
    timeoutTimer?.cancel()
    timeoutTimer = nil
    guard timeout > 0, byteTransport != nil, isLive else { return }
    lastReceived = environment.now
    isReadingBeforeTimeout = false
    armTimeout(after: timeout)
  }

  private func armTimeout(after milliseconds: UInt64) {
    timeoutTimer = environment.schedule(after: milliseconds) { [weak self] in self?.timeoutExpired() }
  }

  private func timeoutExpired() {
    timeoutTimer = nil
    guard isLive, timeout > 0 else { return }
    // A paused reader says nothing about the peer.
    if transportIsPaused {
      isReadingBeforeTimeout = false
      return armTimeout(after: timeout)
    }
    let left = remaining(of: timeout, since: lastReceived)
    if left > 0 {
      isReadingBeforeTimeout = false
      return armTimeout(after: left)
    }
    if isReadingBeforeTimeout { return fail(.timedOut) }
    // The loop may have been blocked, or the process stopped: timers come before the sockets, and what the peer has
    // said meanwhile waits there.
    isReadingBeforeTimeout = true
    let wasBlocked = (environment.now &- lastReceived) / 1_000 > timeout + Limits.Stream.punctualTimer
    armTimeout(after: wasBlocked ? Limits.Stream.readingBeforeTimeout : 0)
  }

  /// Whole milliseconds until `interval` (ms) after `start` (µs), rounded up.
  private func remaining(of interval: UInt64, since start: UInt64) -> UInt64 {
    let elapsed = environment.now &- start
    let (total, overflow) = interval.multipliedReportingOverflow(by: 1_000)
    if overflow { return interval }
    return elapsed >= total ? 0 : (total - elapsed + 999) / 1_000
  }
}
