import HyperEnvironment

extension EncryptedStream {
  /// Stops delivery after the message being delivered, and then the transport, so that the peer feels it.
  package func pause() {
    guard !isPaused else { return }
    isPaused = true
    if !isProcessing { updateTransportFlow() }
  }

  /// Delivery goes on in the next turn.
  package func resume() {
    guard isPaused else { return }
    isPaused = false
    scheduleReading()
  }

  /// As `pause`, for the layer that hands the stream out: independent of the application's `pause` and `resume`.
  package func hold() {
    guard !isHeld else { return }
    isHeld = true
    if !isProcessing { updateTransportFlow() }
  }

  /// Ends `hold`.
  package func release() {
    guard isHeld else { return }
    isHeld = false
    scheduleReading()
  }

  func transportDelivered(_ bytes: UnsafeRawBufferPointer) {
    guard isLive, !remoteHasEnded, !bytes.isEmpty else { return }
    lastReceived = environment.now
    if let onTransportActivity {
      onTransportActivity()
      guard isLive else { return }
    }
    // Kept bytes come first; the pass that resumes is scheduled whenever there are any.
    if isProcessing || holdsBack || readingIsScheduled {
      if !reader.append(bytes) { fail(.queueOverflow) }
      return
    }
    process(bytes)
  }

  func readerChanged() {
    if hasReader, isWaitingForReader || keptMessage != nil { scheduleReading() }
  }

  func scheduleReading() {
    guard !readingIsScheduled, !isProcessing, isLive else { return }
    readingIsScheduled = true
    environment.defer { [self] in
      readingIsScheduled = false
      readKept()
    }
  }

  /// Works on what is kept, then on the transport's end.
  func readKept() {
    guard isLive, !isProcessing else { return }
    process(UnsafeRawBufferPointer(start: nil, count: 0))
  }

  /// No reader takes messages now.
  private var isDeliveryBlocked: Bool { isPaused || isHeld || !hasReader }

  /// No more frames are read. Handshake, header and the frame that authenticates the peer are taken even while delivery
  /// is blocked: the layers above wait for them.
  var holdsBack: Bool {
    guard phase == .receiving, isDeliveryBlocked else { return false }
    return keptMessage != nil || isAuthenticated && (isPaused || isHeld || isWaitingForReader)
  }

  private func process(_ bytes: UnsafeRawBufferPointer) {
    isProcessing = true
    isWaitingForReader = false
    if let kept = keptMessage, !isDeliveryBlocked {
      keptMessage = nil
      deliver(kept)
    }
    reader.begin(bytes)
    repeat {
      do throws(FrameReader.BadLength) {
        while isLive, !holdsBack, let frame = try nextFrame() { handle(frame) }
      } catch {
        refuse(error)
      }
    } while reader.finish() && isLive && !holdsBack
    isProcessing = false
    guard isLive else { return }
    if reader.bufferCapacity > Limits.Stream.keptBuffer { reader.release(keeping: Limits.Stream.keptBuffer) }
    if isStranger {
      settleStranger(hasArrived: !bytes.isEmpty)
      guard isLive else { return }
    }
    updateTransportFlow()
    finishRemoteEnd()
  }

  @inline(__always)
  private func nextFrame() throws(FrameReader.BadLength) -> FrameReader.Frame? {
    switch phase {
    case .receiving:
      let bounds = Limits.Stream.messageOverhead...max(maximumFrame, Limits.Stream.messageOverhead)
      guard !hasReader, isAuthenticated else { return try reader.next(in: bounds) }
      // Without a subscriber only empty messages that would be swallowed are taken.
      let heldFrom = Limits.Stream.messageOverhead + (swallowsEmptyMessages ? 1 : 0)
      let frame = try reader.next(in: bounds, heldFrom: heldFrom)
      isWaitingForReader = reader.holdsFrame
      return frame
    case .keyed: return try reader.next(in: Limits.Stream.headerBody...Limits.Stream.headerBody)
    case .handshaking: return try reader.next(in: handshakeBounds)
    case .created, .destroying, .closed: return nil
    }
  }

  private func refuse(_ bad: FrameReader.BadLength) {
    switch phase {
    case .handshaking:
      fail(.handshakeFailed(bad.length < handshakeBounds.lowerBound ? .messageTooShort : .payloadTooLarge))
    case .keyed: fail(.invalidHeaderLength)
    default: fail(bad.length < Limits.Stream.messageOverhead ? .invalidMessage : .frameTooLarge)
    }
  }

  private func handle(_ frame: FrameReader.Frame) {
    switch phase {
    case .receiving: receiveMessage(frame)
    case .keyed: receiveHeader(frame.body)
    case .handshaking: receiveHandshake(frame.body)
    case .created, .destroying, .closed: break
    }
  }

  private func receiveMessage(_ frame: FrameReader.Frame) {
    guard let opener else { return }
    let count = frame.body.count &- Limits.Stream.messageOverhead
    statisticsStorage.frameBytesRead &+= UInt64(frame.body.count)
    if onOwnedMessage != nil, count > 0 {
      // Straight into what the reader keeps.
      var tag: UInt8?
      let message = [UInt8](unsafeUninitializedCapacity: count) { target, written in
        tag = opener.open(frame.body, to: target.baseAddress)
        written = tag == nil ? 0 : count
      }
      guard let tag else { return fail(.decryptionFailed) }
      accept(tag, count)
      guard isLive else { return }
      return keepOrDeliver(message)
    }
    // In place where the bytes are ours, else into the scratch buffer: no copy besides the decryption.
    let target = count == 0 ? nil : frame.writable.map { $0 + 1 } ?? scratchSpace(count)
    guard let tag = opener.open(frame.body, to: target) else { return fail(.decryptionFailed) }
    accept(tag, count)
    guard isLive, count > 0 || !swallowsEmptyMessages else { return }
    let message = UnsafeRawBufferPointer(start: target, count: count)
    if !isDeliveryBlocked, let onMessage { onMessage(message) } else { keepOrDeliver(Array(message)) }
  }

  /// A message has been decrypted.
  @inline(__always)
  private func accept(_ tag: UInt8, _ count: Int) {
    statisticsStorage.messagesRead &+= 1
    statisticsStorage.messageBytesRead &+= UInt64(count)
    if tag == FrameTag.final.rawValue { receivedFinal = true }
    if awaitsFirst { acceptFirst(count) }
  }

  private func acceptFirst(_ count: Int) {
    if isStranger, count > 0 { becomeAcquainted() }
    awaitsFirst = isStranger
    guard !isAuthenticated else { return }
    isAuthenticated = true
    for index in observers.indices { take(&observers[index].authenticated)?() }
    take(&onAuthenticated)?()
  }

  private func keepOrDeliver(_ message: [UInt8]) {
    if isDeliveryBlocked { keptMessage = message } else { deliver(message) }
  }

  private func deliver(_ message: [UInt8]) {
    if let onOwnedMessage { onOwnedMessage(message) } else { message.withUnsafeBytes { onMessage?($0) } }
  }

  var swallowsEmptyMessages: Bool { keepAlive != 0 || swallowsAfterEnd }

  private func scratchSpace(_ count: Int) -> UnsafeMutableRawPointer? {
    if scratchCapacity < count {
      scratch?.deallocate()
      // Twice the need at most, so that growing messages do not allocate each time; the frame itself has arrived whole.
      scratchCapacity = max(count, min(2 * scratchCapacity, Limits.Stream.keptBuffer), 1_024)
      scratch = .allocate(byteCount: scratchCapacity, alignment: 16)
    }
    return scratch
  }

  /// Gives back buffers that a quiet stream does not need.
  func releaseIdleBuffers() {
    guard !isProcessing else { return }
    reader.release(keeping: 0)
    sealer?.trim()
    opener?.trim()
    scratch?.deallocate()
    scratch = nil
    scratchCapacity = 0
  }

  // MARK: Flow and end

  func updateTransportFlow() {
    let stops = holdsBack || lacksMemory
    guard isLive, stops != transportIsPaused, !transportIsClosed else { return }
    transportIsPaused = stops
    // What waits for the application is its to bound.
    if isStranger, holdsBack { becomeAcquainted() }
    if transportIsPaused {
      byteTransport?.pauseReading()
    } else {
      lastReceived = environment.now
      byteTransport?.resumeReading()
    }
  }

  func transportEnded() {
    guard isLive, !remoteHasEnded else { return }
    remoteHasEnded = true
    if !isProcessing, !readingIsScheduled { finishRemoteEnd() }
  }

  /// Passes the transport's end on, once everything before it has been delivered.
  func finishRemoteEnd() {
    guard remoteHasEnded, isLive, !endIsDelivered else { return }
    guard phase == .receiving else { return fail(.endedDuringHandshake) }
    // What takes the stream over subscribes before it is released, and reads what is kept then.
    if isHeld, !closesWhenRead { return }
    if holdsBack, reader.bufferedCount > 0 || keptMessage != nil { return }
    if reader.bufferedCount > 0 { return fail(.truncated) }
    endIsDelivered = true
    onEnd?()
    if closesWhenRead, isLive { finishClose(closeError) }
  }
}
