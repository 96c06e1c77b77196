import HyperEncoding

/// Why a multiplexed connection cannot go on.
enum ProtomuxError: Error, Hashable, Sendable {
  case malformed
  /// The peer opened a channel under an id that is in use or skips ids.
  case invalidOpen
  /// The peer rejected a channel that this side has not opened.
  case invalidReject
  case tooManyChannels
}

/// Channels inside one encrypted stream, one message a frame (hyperdht.md 10.6).
///
/// Knows no stream: frames come by `receive` and go by `send`. Holds no messages: a channel of the peer that is not
/// open here is offered once, and rejected if `onOffer` does not open it, so what it carries needs no buffer.
final class Protomux {
  /// One frame for the peer.
  var send: (([UInt8]) -> Void)?
  /// Fatal: nothing more is sent or delivered, the stream must be destroyed.
  var onError: ((ProtomuxError) -> Void)?
  /// The peer wants a channel that is not open here; `open` it inside the call to accept.
  var onOffer: ((_ name: String, _ id: [UInt8]) -> Void)?

  private(set) var isClosed = false
  /// Ours by local id - 1.
  private var locals: [ProtomuxChannel?] = []
  private var freeLocals: [Int] = []
  /// Ours by the peer's id - 1.
  private var remotes: [ProtomuxChannel?] = []
  /// Local ids that the peer has been told but has not answered, in order, also of channels closed meanwhile.
  private var unanswered: [(localID: Int, name: String, id: [UInt8])] = []
  /// The offer being made: its remote id.
  private var offered: (remoteID: Int, name: String, id: [UInt8])?

  var channelCount: Int { locals.count { $0 != nil } }

  /// Opens a channel. `nil` at the bound, for a name that is open already, and after `close`.
  func open(_ name: String, id: [UInt8] = []) -> ProtomuxChannel? {
    guard !isClosed, !locals.contains(where: { $0?.name == name && $0?.id == id }) else { return nil }
    let index: Int
    if let free = freeLocals.popLast() {
      index = free
    } else {
      guard locals.count < Limits.Relay.channels else { return nil }
      index = locals.count
      locals.append(nil)
    }
    let channel = ProtomuxChannel(mux: self, name: name, id: id, localID: index + 1)
    locals[index] = channel
    if let offer = offered, offer.name == name, offer.id == id {
      offered = nil
      pair(channel, with: offer.remoteID)
    } else {
      unanswered.append((index + 1, name, id))
    }
    transmit(.open(localID: UInt64(index + 1), protocol: name, id: id, handshake: []))
    return channel
  }

  /// One frame of the peer.
  func receive(_ bytes: UnsafeRawBufferPointer) {
    guard !isClosed else { return }
    do throws(CompactError) {
      switch try ProtomuxFrame(bytes) {
      case .messages(let messages):
        for message in messages where !isClosed { try deliver(message) }
      case .open(let remoteID, let name, let id, _): remoteOpened(remoteID, name, id)
      case .reject(let localID): remoteRejected(localID)
      case .close(let remoteID): remoteClosed(remoteID)
      case .ignored: break
      }
    } catch {
      fail(.malformed)
    }
  }

  /// The stream is gone: all channels close.
  func close() {
    guard !isClosed else { return }
    isClosed = true
    let channels = locals.compactMap { $0 }
    locals = []
    remotes = []
    unanswered = []
    send = nil
    onOffer = nil
    onError = nil
    for channel in channels { channel.closed() }
  }

  // MARK: Frames of the peer

  private func deliver(_ message: ProtomuxMessage) throws(CompactError) {
    // Messages for a closed channel may still be on their way.
    guard let channel = remote(message.channel) else { return }
    if message.channel == 0 { return }
    try channel.onMessage?(message.type, message.body)
  }

  private func remote(_ id: UInt64) -> ProtomuxChannel? {
    guard id > 0, let index = Int(exactly: id - 1), remotes.indices.contains(index) else { return nil }
    return remotes[index]
  }

  private func remoteOpened(_ remoteID: UInt64, _ name: String, _ id: [UInt8]) {
    guard remoteID > 0 else { return transmit(.reject(remoteID: 0)) }
    guard remoteID <= UInt64(Limits.Relay.channels) else { return fail(.tooManyChannels) }
    let index = Int(remoteID) - 1
    if index == remotes.count { remotes.append(nil) }
    guard index < remotes.count, remotes[index] == nil else { return fail(.invalidOpen) }
    if let position = unanswered.firstIndex(where: { $0.name == name && $0.id == id }) {
      let localID = unanswered.remove(at: position).localID
      guard let channel = locals[localID - 1] else {
        // Closed here before the peer answered: now the id may be used again.
        freeLocals.append(localID - 1)
        return
      }
      return pair(channel, with: Int(remoteID))
    }
    if name.utf8.count <= Limits.Relay.channelName, id.count <= Limits.Relay.channelName {
      offered = (Int(remoteID), name, id)
      onOffer?(name, id)
      guard offered != nil else { return }
      offered = nil
    }
    transmit(.reject(remoteID: remoteID))
  }

  private func pair(_ channel: ProtomuxChannel, with remoteID: Int) {
    channel.remoteID = remoteID
    remotes[remoteID - 1] = channel
    channel.onOpen?()
  }

  private func remoteRejected(_ localID: UInt64) {
    guard let position = unanswered.firstIndex(where: { UInt64($0.localID) == localID }) else {
      return fail(.invalidReject)
    }
    let index = unanswered.remove(at: position).localID - 1
    freeLocals.append(index)
    let channel = locals[index]
    locals[index] = nil
    channel?.closed()
  }

  private func remoteClosed(_ remoteID: UInt64) {
    guard let channel = remote(remoteID) else { return }
    forget(channel)
    channel.closed()
  }

  // MARK: Channels

  fileprivate func send(_ message: ProtomuxMessage) { transmit(.messages([message])) }

  fileprivate func closeLocally(_ channel: ProtomuxChannel) {
    guard !isClosed else { return }
    forget(channel)
    transmit(.close(localID: UInt64(channel.localID)))
    channel.closed()
  }

  private func forget(_ channel: ProtomuxChannel) {
    locals[channel.localID - 1] = nil
    if let remoteID = channel.remoteID {
      remotes[remoteID - 1] = nil
      freeLocals.append(channel.localID - 1)
    }
  }

  private func transmit(_ frame: ProtomuxFrame) {
    guard !isClosed else { return }
    send?(frame.encoded)
  }

  private func fail(_ error: ProtomuxError) {
    let report = onError
    close()
    report?(error)
  }
}

/// One channel of a `Protomux`.
final class ProtomuxChannel {
  let name: String
  let id: [UInt8]
  /// The peer has opened it, too; what was sent before reaches the peer as well.
  var onOpen: (() -> Void)?
  /// A message: type and body. Throwing is fatal for the connection.
  var onMessage: ((_ type: UInt64, _ body: [UInt8]) throws(CompactError) -> Void)?
  /// Once: closed by either side, rejected, or the connection is gone.
  var onClose: (() -> Void)?

  fileprivate let localID: Int
  fileprivate(set) var remoteID: Int?
  private(set) var isClosed = false
  private weak var mux: Protomux?

  fileprivate init(mux: Protomux, name: String, id: [UInt8], localID: Int) {
    self.mux = mux
    self.name = name
    self.id = id
    self.localID = localID
  }

  func send<Body: CompactEncodable>(_ type: UInt64, _ body: Body) {
    guard !isClosed else { return }
    var writer = CompactWriter()
    body.encode(into: &writer)
    mux?.send(ProtomuxMessage(channel: UInt64(localID), type: type, body: writer.bytes))
  }

  func close() {
    guard !isClosed else { return }
    mux?.closeLocally(self)
  }

  fileprivate func closed() {
    guard !isClosed else { return }
    isClosed = true
    let report = onClose
    onOpen = nil
    onMessage = nil
    onClose = nil
    report?()
  }
}
