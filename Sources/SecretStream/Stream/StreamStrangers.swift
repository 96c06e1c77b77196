import HyperEnvironment

// The peer is a stranger: what it makes us keep is charged before it may arrive (`StrangerMemory`).
extension EncryptedStream {
  /// For a transport that exists before the stream does.
  package static var strangerLimit: ReceiveLimit { receiveLimit(window: Limits.Stranger.window) }

  private static func receiveLimit(window: Int) -> ReceiveLimit {
    ReceiveLimit(window: window, memory: window * Limits.Stranger.memoryPerWindow)
  }

  /// The stream starts.
  func meetStranger() {
    guard let strangers else { return }
    isStranger = true
    strangerWindow = Limits.Stranger.window
    byteTransport?.setReceiveLimit(Self.strangerLimit)
    let share = strangers.join(self)
    self.share = share
    if !share.takePlace() { fail(.evicted) }
  }

  /// The first message with content has been decrypted, or the application keeps an authenticated peer waiting.
  func becomeAcquainted() {
    leaveStrangers()
    byteTransport?.setReceiveLimit(nil)
  }

  /// The stream closes, or has become acquainted.
  func leaveStrangers() {
    guard isStranger else { return }
    isStranger = false
    lacksMemory = false
    frameTimer?.cancel()
    frameTimer = nil
    share?.leave()
    share = nil
  }

  /// After every pass over what has arrived.
  func settleStranger(hasArrived: Bool) {
    guard let share else { return }
    guard reader.bufferedCount > 0 else { return settleIdle(share) }
    if hasArrived || share.progress == nil { share.progress = environment.now }
    if frameTimer == nil { beginFrame() }
    askForMemory()
  }

  private func settleIdle(_ share: StrangerMemory.Share) {
    share.progress = nil
    frameTimer?.cancel()
    frameTimer = nil
    reader.release(keeping: Limits.Stream.firstBuffer)
    stopLackingMemory(share)
    share.release()
    // A peer that only reads, for hours, costs nothing once it has proved its key.
    if isAuthenticated { share.leavePlace() }
  }

  // MARK: Memory

  /// Charges what the begun frame takes and the room for what may arrive next, or closes the window.
  func askForMemory() {
    guard isLive, let share else { return }
    guard share.takePlace() else { return fail(.evicted) }
    let frame = reader.frameCount ?? Limits.Stream.prefixCount
    let kept = reader.bufferedCount
    let capacity = reader.bufferCapacity
    var wanted = capacity
    if capacity < min(frame, kept + Limits.Stranger.roomAhead) {
      // At most twice what has arrived.
      wanted = min(frame, max(2 * capacity, kept + Limits.Stranger.roomAhead))
    }
    let isLarge = frame > Limits.Stranger.smallFrame
    let window = min(max(wanted, strangerWindow), Limits.Stranger.widestWindow)
    if share.grow(to: growth(wanted, window), isLarge: isLarge) {
      widen(to: window)
    } else if !share.grow(to: growth(wanted, strangerWindow), isLarge: isLarge) {
      // More than a packet at once has been taken before it could be charged.
      guard share.grow(to: growth(capacity, strangerWindow), isLarge: isLarge) else { return fail(.evicted) }
      lacksMemory = true
      share.wait(for: wanted)
      return updateTransportFlow()
    }
    reader.reserve(wanted)
    stopLackingMemory(share)
  }

  /// Bytes beyond the place.
  private func growth(_ capacity: Int, _ window: Int) -> Int {
    max(capacity - Limits.Stream.firstBuffer, 0)
      + (window - Limits.Stranger.window) * Limits.Stranger.memoryPerWindow
  }

  private func widen(to window: Int) {
    guard window > strangerWindow else { return }
    strangerWindow = window
    byteTransport?.setReceiveLimit(Self.receiveLimit(window: window))
  }

  private func stopLackingMemory(_ share: StrangerMemory.Share) {
    guard lacksMemory else { return }
    lacksMemory = false
    share.stopWaiting()
    // The peer may send again, and has its time for it.
    if share.progress != nil { share.progress = environment.now }
    updateTransportFlow()
  }

  // MARK: Deadline

  private func beginFrame() {
    frameMark = reader.bufferedCount
    frameDeadline = environment.now + Limits.Stranger.deadline * 1_000
    armFrameTimer()
  }

  private func armFrameTimer() {
    guard let progress = share?.progress else { return }
    let stall = progress + Limits.Stranger.stall * 1_000
    let due = lacksMemory ? frameDeadline : min(stall, frameDeadline)
    let left = due > environment.now ? (due - environment.now + 999) / 1_000 : 0
    frameTimer = environment.schedule(after: left) { [weak self] in self?.frameTimerExpired() }
  }

  private func frameTimerExpired() {
    frameTimer = nil
    // The handshake has a deadline of its own.
    guard isLive, let share, let progress = share.progress else { return }
    let now = environment.now
    let stalled = !lacksMemory && now >= progress + Limits.Stranger.stall * 1_000
    let isLate = now >= frameDeadline && reader.bufferedCount - frameMark < Limits.Stranger.progress
    if stalled || isLate {
      strangers?.counters.framesTimedOut += 1
      return fail(.messageTimedOut)
    }
    if now >= frameDeadline { beginFrame() } else { armFrameTimer() }
  }
}
