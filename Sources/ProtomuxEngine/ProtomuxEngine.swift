import HyperEncoding

/// Channels of messages inside one ordered stream of messages (secret-stream.md Annex A).
///
/// Knows no stream, thread or clock: the owner hands in frames with `receive`, takes what happens with `next` until
/// there is nothing more, and sends what `onFrame` gives it. A frame is read item by item, as fast as the owner takes
/// the events, so that neither a frame of many messages nor a peer that opens many channels takes memory beyond
/// `Limits`: while `isBlocked`, the rest of the frame stays where it is.
package final class ProtomuxEngine {
  enum Work {
    case event(MuxEvent)
    /// Deliver what was held for the peer's channel of this id.
    case drain(UInt64)
  }

  /// A channel that the peer has opened and neither side has closed.
  struct RemoteChannel {
    let name: ChannelName
    var handshake: [UInt8]
    var pending = PendingMessages()
    /// The channel of this side that belongs to it.
    var channel: MuxChannel?
  }

  /// Channels of both sides at most.
  let maximumChannels: Int
  package internal(set) var isClosed = false
  var outbox: Outbox
  var cursor = FrameCursor()
  /// The batch that is being read holds answers back until its end.
  var isCorkedByBatch = false
  /// What comes before the rest of the frame; done up to `workHead`.
  private var work: [Work] = []
  private var workHead = 0

  // This side's.

  /// By their numbers.
  var channels: [UInt64: MuxChannel] = [:]
  private var lastNumber: UInt64 = 0
  /// Of the channels, with their aliases.
  private var liveNames: [ChannelName: Int] = [:]
  /// Numbers of those that this side has not opened and that belong to no channel of the peer, in order.
  private var waiting: [ChannelName: [UInt64]] = [:]
  private var highestLocalID: UInt64 = 0
  /// Ids that can be used again, the last one first.
  var freeLocalIDs: [UInt64] = []
  /// Channels that the peer knows of and has not answered, also those that have been closed since, by local id.
  private var unanswered: [UInt64: MuxChannel] = [:]
  /// The same by names, in the order in which the peer's answers belong to them.
  private var unansweredNames: [ChannelName: [UInt64]] = [:]

  // The peer's.

  var remotes: [UInt64: RemoteChannel] = [:]
  var highestRemoteID: UInt64 = 0
  /// Ids of those that no channel of this side belongs to, in order.
  var unclaimed: [ChannelName: [UInt64]] = [:]
  /// Offers that the program considers.
  var offers: [ChannelName: Int] = [:]
  var offerCount = 0
  var offerBytes = 0
  /// Protocols of which offers are wanted.
  var paired: Set<ChannelName> = []
  /// Bytes held in `remotes`.
  package internal(set) var pendingBytes = 0
  /// Bytes of rejections since `repliesSent`.
  package internal(set) var replyBytes = 0

  /// - Parameter maximumFrame: bytes that the stream takes in one message.
  package init(maximumFrame: Int, maximumChannels: Int = Limits.channels) {
    Limits.check()
    self.maximumChannels = maximumChannels
    outbox = Outbox(maximumFrame: maximumFrame)
  }

  /// Takes frames for the peer, in order. Must not call back.
  package var onFrame: ([UInt8]) -> Void {
    get { outbox.send }
    set { outbox.send = newValue }
  }

  /// Nothing more is read, because the peer is ahead of this side.
  package var isBlocked: Bool {
    pendingBytes > Limits.pendingBytes || offerCount >= Limits.offers || offerBytes > Limits.offerBytes
  }

  /// Everything has been taken: there is room for a frame.
  package var isIdle: Bool { workHead == work.count && cursor.isDone }

  package var liveChannels: [MuxChannel] { channels.values.sorted { $0.number < $1.number } }

  /// Whether this side has opened a channel of this name, or of this alias, and neither has closed it.
  package func isOpened(_ name: ChannelName) -> Bool {
    liveNames[name] != nil
      && channels.values.contains { $0.stage != .created && ($0.name == name || $0.aliases.contains(name)) }
  }

  // MARK: Channels of this side

  /// Makes a channel, and claims the peer's of the same name if there is one. The peer hears of it by `open`.
  package func create(
    _ name: ChannelName, aliases: [ChannelName] = [], isUnique: Bool = true
  ) throws(MuxRefusal) -> MuxChannel {
    guard !isClosed else { throw .closed }
    guard !isUnique || liveNames[name] == nil else { throw .duplicate }
    guard max(channels.count, Int(highestLocalID) - freeLocalIDs.count) < maximumChannels else {
      throw .tooManyChannels
    }
    lastNumber += 1
    let channel = MuxChannel(number: lastNumber, name: name, aliases: aliases)
    channels[lastNumber] = channel
    for name in channel.names { liveNames[name, default: 0] += 1 }
    for name in channel.names {
      guard let remoteID = unclaimed.popFirst(of: name) else { continue }
      claim(channel, remoteID, name)
      return channel
    }
    for name in channel.names { waiting[name, default: []].append(channel.number) }
    return channel
  }

  /// The peer's channel belongs to one that this side is about to open.
  private func claim(_ channel: MuxChannel, _ remoteID: UInt64, _ name: ChannelName) {
    remotes[remoteID]?.channel = channel
    channel.remoteID = remoteID
    channel.answers = name
  }

  /// Whether there is a channel of this name that this side is about to open.
  func claimWaiting(_ remoteID: UInt64, _ name: ChannelName) -> Bool {
    guard let number = waiting[name]?.first, let channel = channels[number] else { return false }
    waitsNoMore(channel)
    claim(channel, remoteID, name)
    return true
  }

  private func waitsNoMore(_ channel: MuxChannel) {
    for name in channel.names { waiting.remove(channel.number, of: name) }
  }

  /// Tells the peer. A channel that the peer has opened already is open now: `next` says so.
  package func open(_ channel: MuxChannel, handshake: [UInt8] = []) throws(MuxRefusal) {
    guard channel.stage == .created, !isClosed else { throw .closed }
    var writer = CompactWriter()
    let localID = freeLocalIDs.last ?? highestLocalID + 1
    writer.uint(localID)
    channel.answers.name.withUnsafeBytes { writer.buffer($0) }
    channel.answers.id.withUnsafeBytes { writer.buffer($0) }
    handshake.withUnsafeBytes { writer.raw($0) }
    guard writer.count <= outbox.maximumBody else { throw .tooLarge(writer.count) }
    if freeLocalIDs.popLast() == nil { highestLocalID = localID }
    channel.localID = localID
    waitsNoMore(channel)
    if let remote = remotes[channel.remoteID] {
      channel.stage = .open
      work.append(.event(.opened(channel, handshake: remote.handshake)))
      work.append(.drain(channel.remoteID))
    } else {
      channel.stage = .opening
      unanswered[localID] = channel
      for name in channel.names { unansweredNames[name, default: []].append(localID) }
    }
    outbox.add(Control.session, Control.open, writer.bytes)
  }

  /// Sends one message. Those of a channel that the peer has not opened yet are held by the peer until it has.
  package func send(_ channel: MuxChannel, type: UInt64, body: [UInt8]) throws(MuxRefusal) {
    guard channel.stage != .closed, !isClosed else { throw .closed }
    guard channel.stage != .created else { throw .notOpened }
    guard body.count <= outbox.maximumBody else { throw .tooLarge(body.count) }
    outbox.add(channel.localID, type, body)
  }

  package func close(_ channel: MuxChannel) {
    guard channel.stage != .closed, !isClosed else { return }
    let (stage, localID, remoteID) = (channel.stage, channel.localID, channel.remoteID)
    forget(channel)
    if stage != .created {
      var writer = CompactWriter()
      writer.uint(localID)
      outbox.add(Control.session, Control.close, writer.bytes)
    } else if remoteID > 0 {
      reject(remoteID)
    }
  }

  /// The channel is gone, for both sides if the peer had opened it.
  func forget(_ channel: MuxChannel) {
    if let remote = remotes.removeValue(forKey: channel.remoteID) {
      pendingBytes -= remote.held
      // Otherwise the id is free when the peer has answered.
      if channel.localID > 0 { freeLocalIDs.append(channel.localID) }
    }
    if channel.stage == .created { waitsNoMore(channel) }
    channel.stage = .closed
    channels[channel.number] = nil
    for name in channel.names {
      let count = liveNames[name, default: 1] - 1
      liveNames[name] = count > 0 ? count : nil
    }
  }

  /// The channel that the peer's open of this name answers.
  func answered(_ name: ChannelName) -> MuxChannel? {
    guard let localID = unansweredNames[name]?.first else { return nil }
    return answered(localID)
  }

  /// The channel that the peer answers; its id can be used again if it was closed.
  func answered(_ localID: UInt64) -> MuxChannel? {
    guard let channel = unanswered.removeValue(forKey: localID) else { return nil }
    for name in channel.names { unansweredNames.remove(localID, of: name) }
    if channel.stage == .closed { freeLocalIDs.append(localID) }
    return channel
  }

  // MARK: Corking

  /// What is sent is collected until `uncork`, which is to be called as often.
  package func cork() { outbox.cork() }
  package func uncork() { outbox.uncork() }
  /// Sends what has been collected, and goes on collecting.
  package func flush() { outbox.flush() }

  // MARK: The end

  /// The stream is gone, or about to be: nothing is sent or delivered any more.
  /// - Returns: the channels that were still there.
  package func shutDown() -> [MuxChannel] {
    isClosed = true
    let rest = liveChannels
    for channel in rest { channel.stage = .closed }
    channels = [:]
    liveNames = [:]
    waiting = [:]
    unanswered = [:]
    unansweredNames = [:]
    remotes = [:]
    unclaimed = [:]
    paired = []
    pendingBytes = 0
    work = []
    workHead = 0
    cursor.stop()
    return rest
  }

  // MARK: Work

  /// The next event of what comes before the rest of the frame.
  func nextWork() -> MuxEvent? {
    while workHead < work.count {
      switch work[workHead] {
      case .event(let event):
        finishWork()
        // Closed since.
        if case .opened(let channel, _) = event, channel.stage == .closed { continue }
        return event
      case .drain(let remoteID):
        if let message = popPending(remoteID), let channel = remotes[remoteID]?.channel {
          return .message(channel, type: message.type, body: message.body)
        }
        finishWork()
      }
    }
    return nil
  }

  private func finishWork() {
    workHead += 1
    guard workHead == work.count else { return }
    work = []
    workHead = 0
  }

  private func popPending(_ remoteID: UInt64) -> (type: UInt64, body: [UInt8])? {
    guard let before = remotes[remoteID]?.held else { return nil }
    if remotes[remoteID]?.handshake.isEmpty == false { remotes[remoteID]?.handshake = [] }
    let message = remotes[remoteID]?.pending.popFirst()
    pendingBytes -= before - (remotes[remoteID]?.held ?? 0)
    return message
  }
}

extension ProtomuxEngine.RemoteChannel {
  /// Bytes that count.
  var held: Int { pending.cost + handshake.count }
}

extension [ChannelName: [UInt64]] {
  mutating func popFirst(of name: ChannelName) -> UInt64? {
    guard let id = self[name]?.first else { return nil }
    remove(id, of: name)
    return id
  }

  mutating func remove(_ id: UInt64, of name: ChannelName) {
    guard let index = self[name]?.firstIndex(of: id) else { return }
    self[name]?.remove(at: index)
    if self[name]?.isEmpty == true { self[name] = nil }
  }
}
