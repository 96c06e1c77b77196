import HyperProtomux
import Synchronization

/// One connection of many over the channels of one encrypted connection (tunnels.md 3), with a window of its own in
/// each direction: a service that takes nothing holds up no other. One reader and one writer at a time.
final class TunnelChannel: TunnelStream {
  static let name = "hyperswarm-tunnel/1"

  /// The channel is broken: the peer has closed it before its end, or the connection is gone.
  struct Broken: Error {}

  private struct State {
    /// Received, and not read yet.
    var received = ReceivedBytes()
    var peerHasEnded = false
    /// Bytes that the peer may still send.
    var peerMaySend = TunnelLimits.window
    /// Bytes that were read since the peer was last allowed more.
    var unannounced = 0
    var window = TunnelLimits.window
    /// Bytes that this side may still send.
    var maySend = TunnelLimits.window
    var hasEnded = false
    var isClosed = false
    var reader: CheckedContinuation<Void, Never>?
    var writer: CheckedContinuation<Void, Never>?

    mutating func wakeReader() {
      reader?.resume()
      reader = nil
    }

    mutating func wakeWriter() {
      writer?.resume()
      writer = nil
    }
  }

  /// What all windows of a process have grown by.
  private static let grown = Mutex(0)

  private let mux: Protomux
  private let channel: Protomux.Channel
  private let state: Mutex<State>
  private let messages: Messages

  private struct Messages: Sendable {
    let data: Protomux.Message<RawCodec>
    let end: Protomux.Message<RawCodec>
    let credit: Protomux.Message<CompactCodec<UInt64>>
  }

  /// Opens the channel with this number, on both sides: the peer of that which opened it has been asked by `pair`.
  init(_ mux: Protomux, id: [UInt8]) throws {
    self.mux = mux
    state = Mutex(State())
    channel = try mux.createChannel(protocol: TunnelChannel.name, id: id)
    let link = Link()
    messages = Messages(
      data: channel.addMessage(.raw) { link.target?.received($0) },
      end: channel.addMessage(.raw) { _ in link.target?.peerEnded() },
      credit: channel.addMessage(.uint) { link.target?.mayNowSend($0) })
    link.set(self)
    try channel.open()
    let channel = channel
    Task {
      _ = try? await channel.closed()
      link.target?.closed()
    }
  }

  /// From handlers, which live as long as the channel, to this object, which need not.
  private final class Link: Sendable {
    private struct Weak { weak var channel: TunnelChannel? }
    private let held = Mutex(Weak())
    var target: TunnelChannel? { held.withLock { $0.channel } }
    func set(_ channel: TunnelChannel) { held.withLock { $0.channel = channel } }
  }

  deinit {
    channel.close()
    state.withLock { TunnelChannel.shrink($0.window) }
  }

  private static func shrink(_ window: Int) { grown.withLock { $0 -= window - TunnelLimits.window } }

  // MARK: From the peer

  private func received(_ bytes: [UInt8]) {
    let isAllowed = state.withLock { state in
      guard !bytes.isEmpty, bytes.count <= state.peerMaySend, !state.peerHasEnded else { return false }
      state.peerMaySend -= bytes.count
      state.received.append(bytes)
      state.wakeReader()
      return true
    }
    // A peer that does not keep to the protocol is none of ours.
    if !isAllowed { mux.destroy() }
  }

  private func peerEnded() {
    let isOver = state.withLock { state in
      state.peerHasEnded = true
      state.wakeReader()
      return state.hasEnded
    }
    if isOver { channel.close() }
  }

  private func mayNowSend(_ count: UInt64) {
    let isAllowed = state.withLock { state in
      guard count <= UInt64(TunnelLimits.largestWindow - min(state.maySend, TunnelLimits.largestWindow)) else {
        return false
      }
      state.maySend += Int(count)
      state.wakeWriter()
      return true
    }
    if !isAllowed { mux.destroy() }
  }

  private func closed() {
    state.withLock { state in
      state.isClosed = true
      state.wakeReader()
      state.wakeWriter()
    }
  }

  // MARK: From this side

  func read() async throws -> [UInt8]? {
    while true {
      let found: (bytes: [UInt8]?, isEnd: Bool, isBroken: Bool) = state.withLock { state in
        if let bytes = state.received.next() { return (bytes, false, false) }
        return (nil, state.peerHasEnded, state.isClosed)
      }
      if let bytes = found.bytes {
        allowMore(bytes.count)
        return bytes
      }
      if found.isEnd { return nil }
      if found.isBroken { throw Broken() }
      await withCheckedContinuation { continuation in
        state.withLock { state in
          state.reader = continuation
          if !state.received.isEmpty || state.peerHasEnded || state.isClosed { state.wakeReader() }
        }
      }
    }
  }

  /// Half a window was taken: the peer may send as much again, and the window grows while there is memory for it.
  private func allowMore(_ count: Int) {
    let credit: Int = state.withLock { state in
      state.unannounced += count
      guard state.unannounced >= state.window / 2, !state.peerHasEnded else { return 0 }
      var credit = state.unannounced
      state.unannounced = 0
      if state.window < TunnelLimits.largestWindow, TunnelChannel.grow(by: state.window) {
        credit += state.window
        state.window *= 2
      }
      state.peerMaySend += credit
      return credit
    }
    if credit > 0 { _ = try? messages.credit.sendWithoutWaiting(UInt64(credit)) }
  }

  private static func grow(by count: Int) -> Bool {
    grown.withLock { grown in
      guard grown + count <= TunnelLimits.windows else { return false }
      grown += count
      return true
    }
  }

  func write(_ bytes: [UInt8]) async throws {
    var rest = bytes[...]
    while !rest.isEmpty {
      let (count, isClosed) = state.withLock { state in
        let count = min(rest.count, state.maySend)
        state.maySend -= count
        return (count, state.isClosed)
      }
      if isClosed { throw Broken() }
      if count > 0 {
        try await messages.data.send(Array(rest.prefix(count)))
        rest = rest.dropFirst(count)
        continue
      }
      await withCheckedContinuation { continuation in
        state.withLock { state in
          state.writer = continuation
          if state.maySend > 0 || state.isClosed { state.wakeWriter() }
        }
      }
    }
  }

  func end() {
    // Before this side counts as ended: then the peer's end closes the channel, and with it what is still to be sent.
    _ = try? messages.end.sendWithoutWaiting([])
    let isOver = state.withLock { state in
      state.hasEnded = true
      return state.peerHasEnded
    }
    if isOver { channel.close() }
  }

  /// The bytes are in order on the connection: closing the channel does not take them back.
  func settle() async {}

  func destroy() { channel.close() }

  func untilClosed() async { _ = try? await channel.closed() }
}
