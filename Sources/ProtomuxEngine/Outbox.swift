import HyperEncoding

/// Frames on their way to the peer: one by one, or in batches while it is corked.
struct Outbox {
  /// Takes each frame.
  var send: ([UInt8]) -> Void = { _ in }
  /// Bytes that the stream takes in one message.
  let maximumFrame: Int

  private var corks = 0
  private var batch = CompactWriter()
  /// The session of the last item of the batch.
  private var session: UInt64?

  init(maximumFrame: Int) { self.maximumFrame = maximumFrame }

  var isCorked: Bool { corks > 0 }

  mutating func cork() { corks += 1 }

  /// One `uncork` more than `cork` does nothing.
  mutating func uncork() {
    guard corks > 0 else { return }
    corks -= 1
    if corks == 0 { flush() }
  }

  /// What a message has to fit into.
  var maximumBody: Int { maximumFrame - Limits.frameOverhead }

  mutating func add(_ session: UInt64, _ type: UInt64, _ body: [UInt8]) {
    guard isCorked else {
      var writer = CompactWriter(reservingCapacity: body.count + Limits.frameOverhead)
      writer.uint(session)
      writer.uint(type)
      body.withUnsafeBytes { writer.raw($0) }
      return send(writer.bytes)
    }
    if batch.count >= Limits.batch || batch.count > maximumBody - body.count { flush() }
    if self.session == nil {
      batch.uint(Control.session)
      batch.uint(Control.batch)
      batch.uint(session)
    } else if self.session != session {
      batch.uint(0)
      batch.uint(session)
    }
    self.session = session
    var head = CompactWriter(reservingCapacity: 9)
    head.uint(type)
    batch.uint(UInt64(head.count + body.count))
    head.bytes.withUnsafeBytes { batch.raw($0) }
    body.withUnsafeBytes { batch.raw($0) }
  }

  /// Sends the batch that has been collected.
  mutating func flush() {
    guard session != nil else { return }
    let frame = batch.bytes
    session = nil
    batch = CompactWriter()
    send(frame)
  }
}
