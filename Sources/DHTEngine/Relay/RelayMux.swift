import HyperEncoding
import HyperProtomuxEngine

/// Channels on a control connection with a blind relay: what happens at the engine, as callbacks (hyperdht.md 10.6).
///
/// No channel of the peer is wanted but those that are open here, so that nothing is held for one. Callbacks may call
/// back, and may end it.
final class RelayMux {
  /// One frame for the peer.
  var send: (([UInt8]) -> Void)?
  /// Fatal: nothing more is sent or delivered, the stream must be destroyed.
  var onError: ((MuxViolation) -> Void)?

  private(set) var isClosed = false
  private let engine = ProtomuxEngine(
    maximumFrame: Limits.Relay.controlFrame, maximumChannels: Limits.Relay.channels)
  /// From the engine, not yet sent.
  private var outbox: [[UInt8]] = []
  private var isSending = false
  /// From the peer, not yet read: a callback has let the stream deliver another one.
  private var inbox: [[UInt8]] = []
  private var isReading = false

  init() { engine.onFrame = { [unowned self] in outbox.append($0) } }

  var channelCount: Int { engine.liveChannels.count }

  /// Opens a channel. `nil` at the bound, for a name that is open already, and after `close`.
  func open(_ name: String, id: [UInt8] = []) -> RelayChannel? {
    guard !isClosed, let link = try? engine.create(ChannelName(name, id: id)) else { return nil }
    let channel = RelayChannel(mux: self, link: link)
    link.owner = channel
    guard (try? engine.open(link)) != nil else {
      engine.close(link)
      return nil
    }
    flush()
    return channel
  }

  /// One frame of the peer.
  func receive(_ bytes: UnsafeRawBufferPointer) {
    guard !isClosed else { return }
    inbox.append(Array(bytes))
    guard !isReading else { return }
    isReading = true
    defer { isReading = false }
    do throws(MuxViolation) {
      while !isClosed, !inbox.isEmpty {
        engine.receive(inbox.removeFirst())
        while let event = try engine.next() {
          flush()
          try handle(event)
        }
        flush()
      }
    } catch {
      let report = onError
      close()
      report?(error)
    }
  }

  /// The stream is gone: all channels close.
  func close() {
    guard !isClosed else { return }
    isClosed = true
    send = nil
    onError = nil
    inbox = []
    for link in engine.shutDown() { (link.owner as? RelayChannel)?.closed() }
  }

  private func handle(_ event: MuxEvent) throws(MuxViolation) {
    switch event {
    case .offer(let name): engine.offerHandled(name)
    case .opened(let link, _): (link.owner as? RelayChannel)?.onOpen?()
    case .message(let link, let type, let body):
      do throws(CompactError) {
        try (link.owner as? RelayChannel)?.onMessage?(type, body)
      } catch {
        throw .malformed
      }
    case .closed(let link, _): (link.owner as? RelayChannel)?.closed()
    }
  }

  fileprivate func send(_ link: MuxChannel, _ type: UInt64, _ body: [UInt8]) {
    // A channel that has closed has nothing to send, and all messages of a relay are short.
    try? engine.send(link, type: type, body: body)
    flush()
  }

  fileprivate func closeLocally(_ channel: RelayChannel, _ link: MuxChannel) {
    guard !isClosed else { return }
    engine.close(link)
    flush()
    channel.closed()
  }

  private func flush() {
    guard !isSending else { return }
    isSending = true
    defer { isSending = false }
    while !outbox.isEmpty { send?(outbox.removeFirst()) }
  }
}

/// One channel of a `RelayMux`.
final class RelayChannel {
  /// The peer has opened it, too; what was sent before reaches the peer as well.
  var onOpen: (() -> Void)?
  /// A message: type and body. Throwing is fatal for the connection.
  var onMessage: ((_ type: UInt64, _ body: [UInt8]) throws(CompactError) -> Void)?
  /// Once: closed by either side, rejected, or the connection is gone.
  var onClose: (() -> Void)?

  private(set) var isClosed = false
  private let link: MuxChannel
  private weak var mux: RelayMux?

  fileprivate init(mux: RelayMux, link: MuxChannel) {
    self.mux = mux
    self.link = link
  }

  func send<Body: CompactEncodable>(_ type: UInt64, _ body: Body) {
    guard !isClosed else { return }
    mux?.send(link, type, body.encoded)
  }

  func close() {
    guard !isClosed else { return }
    mux?.closeLocally(self, link)
  }

  fileprivate func closed() {
    guard !isClosed else { return }
    isClosed = true
    link.owner = nil
    let report = onClose
    onOpen = nil
    onMessage = nil
    onClose = nil
    report?()
  }
}
