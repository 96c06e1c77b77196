import HyperEncoding

/// The peer's side.
extension ProtomuxEngine {
  /// Takes one frame; the one before has been taken by `next`.
  package func receive(_ frame: [UInt8]) {
    guard !isClosed else { return }
    precondition(cursor.isDone, "one frame at a time")
    cursor.start(frame)
  }

  /// What happens next: of what `open` has set free, then of the frame. `nil` when there is nothing, or `isBlocked`.
  /// After a violation nothing is sent or delivered any more: `shutDown`.
  package func next() throws(MuxViolation) -> MuxEvent? {
    while !isClosed {
      if let event = nextWork() { return event }
      guard !isBlocked else {
        uncorkBatch()
        return nil
      }
      do throws(MuxViolation) {
        guard let item = try nextItem() else { return nil }
        if let event = try handle(item) { return event }
      } catch {
        // The owner learns of its channels by `shutDown`.
        isClosed = true
        cursor.stop()
        throw error
      }
    }
    return nil
  }

  /// The owner takes no events for now: what was said in answer to a batch goes out.
  package func uncorkBatch() {
    guard isCorkedByBatch else { return }
    isCorkedByBatch = false
    outbox.uncork()
  }

  private func nextItem() throws(MuxViolation) -> FrameCursor.Item? {
    let wasInside = cursor.isInsideBatch
    let item: FrameCursor.Item?
    do throws(CompactError) {
      item = try cursor.next()
    } catch {
      throw .malformed
    }
    guard item != nil else {
      uncorkBatch()
      return nil
    }
    // Answers to a batch are a batch.
    if cursor.isInsideBatch, !wasInside {
      isCorkedByBatch = true
      outbox.cork()
    }
    return item
  }

  private func handle(_ item: FrameCursor.Item) throws(MuxViolation) -> MuxEvent? {
    guard item.channel != Control.session else { return try control(item.type, item.body) }
    // The channel may have been closed while the message was on its way.
    guard let remote = remotes[item.channel] else { return nil }
    if let channel = remote.channel, channel.stage == .open {
      return .message(channel, type: item.type, body: item.body)
    }
    remotes[item.channel]?.pending.append(item.type, item.body)
    pendingBytes += PendingMessages.cost(of: item.body)
    return nil
  }

  private func control(_ type: UInt64, _ body: [UInt8]) throws(MuxViolation) -> MuxEvent? {
    switch type {
    case Control.open:
      let (id, name, handshake) = try read(body) { reader throws(CompactError) in
        let id = try reader.uint()
        let name = Array(try reader.string().utf8)
        return (id, ChannelName(name: name, id: try reader.buffer()), reader.raw())
      }
      return try opened(id, name, handshake)
    case Control.reject: return try rejected(try read(body) { reader throws(CompactError) in try reader.uint() })
    case Control.close: return closed(try read(body) { reader throws(CompactError) in try reader.uint() })
    default: return nil
    }
  }

  private func read<Value>(
    _ body: [UInt8], _ decode: (inout CompactReader) throws(CompactError) -> Value
  ) throws(MuxViolation) -> Value {
    do throws(CompactError) { return try body.withReader(decode) } catch { throw .malformed }
  }

  private func opened(
    _ remoteID: UInt64, _ name: ChannelName, _ handshake: [UInt8]
  ) throws(MuxViolation) -> MuxEvent? {
    guard remoteID > 0 else {
      reject(0)
      return nil
    }
    // Ids grow by one, or are used again.
    guard remoteID <= highestRemoteID + 1, remotes[remoteID] == nil else { throw .invalidOpen }
    highestRemoteID = max(highestRemoteID, remoteID)
    if let channel = answered(name) {
      // Closed before the peer answered: the peer knows by now, or soon.
      guard channel.stage != .closed else { return nil }
      channel.stage = .open
      channel.remoteID = remoteID
      channel.isMetByAlias = name != channel.answers
      remotes[remoteID] = RemoteChannel(name: name, handshake: [], channel: channel)
      return .opened(channel, handshake: handshake)
    }
    remotes[remoteID] = RemoteChannel(name: name, handshake: handshake)
    pendingBytes += handshake.count
    if claimWaiting(remoteID, name) { return nil }
    guard isWanted(name) else {
      reject(remoteID)
      return nil
    }
    unclaimed[name, default: []].append(remoteID)
    offers[name, default: 0] += 1
    offerCount += 1
    offerBytes += name.cost
    return .offer(name)
  }

  private func isWanted(_ name: ChannelName) -> Bool {
    guard paired.contains(name) || paired.contains(name.anyID) else { return false }
    return channels.count + offerCount < maximumChannels
  }

  private func rejected(_ localID: UInt64) throws(MuxViolation) -> MuxEvent? {
    if let channel = answered(localID) {
      guard channel.stage != .closed else { return nil }
      forget(channel)
      freeLocalIDs.append(localID)
      return .closed(channel, isRejected: true)
    }
    // Our open and the peer's have crossed, and the peer does not know the name that ours had: its own open belongs to
    // a channel that it has not got.
    guard let channel = channels.values.first(where: { $0.localID == localID && $0.isMetByAlias }) else {
      throw .invalidReject
    }
    let remoteID = channel.remoteID
    forget(channel)
    reject(remoteID)
    return .closed(channel, isRejected: true)
  }

  private func closed(_ remoteID: UInt64) -> MuxEvent? {
    guard let remote = remotes[remoteID] else { return nil }
    guard let channel = remote.channel else {
      // The peer waits for an answer before it uses the id again.
      dropUnclaimed(remoteID, remote.name)
      return nil
    }
    let mustAnswer = channel.stage == .created
    forget(channel)
    if mustAnswer { reject(remoteID) }
    return .closed(channel, isRejected: false)
  }

  // MARK: Offers

  /// Channels of the peer under this name are offered; without an id, those of every id of the protocol.
  package func pair(_ name: ChannelName) { if !isClosed { paired.insert(name) } }
  package func unpair(_ name: ChannelName) { paired.remove(name) }

  /// The program has considered one offer of this name. After the last one, what it has not claimed is rejected.
  package func offerHandled(_ name: ChannelName) {
    guard let count = offers[name] else { return }
    offers[name] = count > 1 ? count - 1 : nil
    offerCount -= 1
    offerBytes -= name.cost
    guard count == 1 else { return }
    for remoteID in unclaimed[name] ?? [] { dropUnclaimed(remoteID, name) }
  }

  private func dropUnclaimed(_ remoteID: UInt64, _ name: ChannelName) {
    unclaimed.remove(remoteID, of: name)
    reject(remoteID)
  }

  func reject(_ remoteID: UInt64) {
    if let remote = remotes.removeValue(forKey: remoteID) { pendingBytes -= remote.held }
    guard !isClosed else { return }
    var writer = CompactWriter()
    writer.uint(remoteID)
    outbox.add(Control.session, Control.reject, writer.bytes)
    replyBytes += writer.count + Limits.frameOverhead
  }

  /// The stream has room again.
  package func repliesSent() { replyBytes = 0 }
}
