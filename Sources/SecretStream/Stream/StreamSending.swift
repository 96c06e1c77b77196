import HyperEnvironment

extension EncryptedStream {
  /// Sends one message. Returns false when the writer should wait for `onDrain`; the message is accepted either way,
  /// except after `end` or `destroy`. Above 16,777,198 bytes the stream is destroyed with `messageTooLarge`.
  ///
  /// The bytes are encrypted straight into the buffer that goes to the transport. Small messages of one loop turn share
  /// a buffer and one transport write.
  @discardableResult
  package func write(_ bytes: UnsafeRawBufferPointer) -> Bool {
    guard isLive, !isEnding else { return false }
    guard bytes.count <= Limits.Stream.maximumMessage else {
      fail(.messageTooLarge)
      return false
    }
    guard sealer != nil else { return keepEarly(bytes) }
    seal(bytes, tag: .message)
    if isBlocked { needsDrain = true }
    return !isBlocked
  }

  @discardableResult
  package func write(_ bytes: [UInt8]) -> Bool { bytes.withUnsafeBytes { write($0) } }

  /// A message in memory in which its frame can be made.
  package static func makeMessage(capacity: Int, _ fill: (inout OutputRawSpan) -> Void) -> OwnedMessage {
    let before = Limits.Stream.prefixCount + 1
    return OwnedMessage(capacity: capacity, before: before, behind: Limits.Stream.frameOverhead - before, fill)
  }

  /// The same for a message of `makeMessage`, which is the stream's from then on: a large one is encrypted where it
  /// lies and sent from there.
  @discardableResult
  package func write(_ message: OwnedMessage) -> Bool {
    let count = message.count &+ Limits.Stream.frameOverhead
    guard isLive, !isEnding, sealer != nil, count > Limits.Stream.maximumBatch / 2,
      message.count <= Limits.Stream.maximumMessage
    else { return write(message.bytes) }
    message.buffer.count = count
    sealInPlace(message.buffer)
    if isBlocked { needsDrain = true }
    return !isBlocked
  }

  /// `done(true)` once the peer has acknowledged everything written before this call, `done(false)` if the stream
  /// closes first. Waits for the stream to open. Never inside this call.
  package func flush(_ done: @escaping (Bool) -> Void) {
    guard isLive else { return environment.defer { done(false) } }
    guard sealer != nil else { return earlyFlushes.append(done) }
    pushBatch()
    let isWaiting = acknowledgements.flush { [weak self] arrived in done(arrived && self?.isLive == true) }
    if !isWaiting { environment.defer { done(true) } }
  }

  /// Ends the writing half after everything written so far. Reading goes on. No more empty messages are sent; with a
  /// keepalive the transport goes on to ask whether the peer is there.
  package func end() {
    guard isLive, !isEnding else { return }
    swallowsAfterEnd = swallowsAfterEnd || keepAlive != 0
    let interval = keepAlive
    keepAlive = 0
    isEnding = true
    keepAliveAfterEnd = interval
    if sealer != nil { finishEnd() }
  }

  func finishEnd() {
    guard !transportIsEnded else { return }
    if sendsFinal { seal(UnsafeRawBufferPointer(start: nil, count: 0), tag: .final) }
    pushBatch()
    guard isLive else { return }
    transportIsEnded = true
    byteTransport?.end()
    byteTransport?.keepAliveAfterEnd(keepAliveAfterEnd)
  }

  // MARK: Sealing and batches

  func seal(_ message: UnsafeRawBufferPointer, tag: FrameTag) {
    guard let sealer else { return }
    let count = message.count &+ Limits.Stream.frameOverhead
    let buffer = space(for: count)
    sealer.seal(message, tag: tag, to: buffer.base + buffer.count)
    buffer.count &+= count
    countWritten(frame: count)
    if buffer !== batch { handOver(buffer) }
  }

  /// A frame in a buffer of its size: nothing else waits to leave with it.
  func sealAlone(_ message: UnsafeRawBufferPointer, tag: FrameTag) {
    precondition(batch == nil, "frames leave in the order in which they are sealed")
    guard let sealer else { return }
    let count = message.count &+ Limits.Stream.frameOverhead
    let buffer = OwnedBuffer(capacity: count)
    sealer.seal(message, tag: tag, to: buffer.base)
    buffer.count = count
    countWritten(frame: count)
    handOver(buffer, isAlone: true)
  }

  /// The buffer is a frame whose message lies in its place, in clear.
  private func sealInPlace(_ buffer: OwnedBuffer) {
    pushBatch()
    let message = UnsafeRawBufferPointer(
      start: buffer.base + Limits.Stream.prefixCount + 1, count: buffer.count - Limits.Stream.frameOverhead)
    sealer?.seal(message, tag: .message, to: buffer.base)
    countWritten(frame: buffer.count)
    handOver(buffer)
  }

  /// A frame in clear: handshake messages and the stream header.
  func appendClear(_ body: [UInt8]) {
    let buffer = space(for: body.count + Limits.Stream.prefixCount)
    body.withUnsafeBytes { source in
      let target = buffer.base + buffer.count
      for index in 0..<Limits.Stream.prefixCount {
        target.storeBytes(
          of: UInt8(truncatingIfNeeded: body.count >> (8 * index)), toByteOffset: index, as: UInt8.self)
      }
      if let address = source.baseAddress {
        (target + Limits.Stream.prefixCount).copyMemory(from: address, byteCount: body.count)
      }
    }
    buffer.count += body.count + Limits.Stream.prefixCount
    if buffer !== batch { handOver(buffer) }
  }

  /// A buffer with room for `count` bytes: the batch of this turn, or one of its own for a large frame.
  private func space(for count: Int) -> OwnedBuffer {
    if let batch, batch.capacity &- batch.count >= count { return batch }
    let hadBatch = batch != nil
    pushBatch()
    if count > Limits.Stream.maximumBatch / 2 { return OwnedBuffer(capacity: count) }
    if hadBatch { batchSize = min(2 * batchSize, Limits.Stream.maximumBatch) }
    let fresh = OwnedBuffer(capacity: max(batchSize, count))
    batch = fresh
    if !flushIsScheduled {
      flushIsScheduled = true
      environment.defer { [self] in endOfTurn() }
    }
    return fresh
  }

  private func endOfTurn() {
    flushIsScheduled = false
    if let batch, batch.count < batchSize / 4 { batchSize = max(batchSize / 2, Limits.Stream.firstBatch) }
    pushBatch()
  }

  func pushBatch() {
    guard let full = batch else { return }
    batch = nil
    handOver(full)
  }

  private func handOver(_ buffer: OwnedBuffer, isAlone: Bool = false) {
    guard isLive, let byteTransport else { return }
    lastSent = environment.now
    statisticsStorage.transportWrites &+= 1
    if !byteTransport.write(buffer, acknowledgements.write(isAlone: isAlone)) { isBlocked = true }
  }

  func countWritten(frame count: Int) {
    statisticsStorage.frameBytesWritten &+= UInt64(count)
    statisticsStorage.messagesWritten &+= 1
    statisticsStorage.messageBytesWritten &+= UInt64(count &- Limits.Stream.frameOverhead)
  }

  // MARK: Before the keys

  /// Keeps a message where it can later be encrypted in place.
  private func keepEarly(_ bytes: UnsafeRawBufferPointer) -> Bool {
    guard earlyCount + bytes.count + Limits.Stream.frameOverhead <= Limits.Stream.maximumQueuedBeforeKeys else {
      fail(.queueOverflow)
      return false
    }
    let buffer = OwnedBuffer(capacity: bytes.count + Limits.Stream.frameOverhead)
    if let source = bytes.baseAddress {
      (buffer.base + Limits.Stream.prefixCount + 1).copyMemory(from: source, byteCount: bytes.count)
    }
    buffer.count = bytes.count + Limits.Stream.frameOverhead
    early.append(buffer)
    earlyCount += buffer.count
    if earlyCount >= Limits.Stream.highWaterMark { needsDrain = true }
    return earlyCount < Limits.Stream.highWaterMark
  }

  func sendEarly() {
    let waiting = early
    early = []
    earlyCount = 0
    for buffer in waiting {
      let message = UnsafeRawBufferPointer(
        start: buffer.base + Limits.Stream.prefixCount + 1, count: buffer.count - Limits.Stream.frameOverhead)
      if buffer.count <= Limits.Stream.maximumBatch / 2 { seal(message, tag: .message) } else { sealInPlace(buffer) }
    }
  }

  // MARK: Back-pressure

  func transportDrained() {
    isBlocked = false
    drained()
  }

  func drained() {
    guard needsDrain, isLive, !isBlocked else { return }
    needsDrain = false
    if !isEnding { onDrain?() }
  }
}
