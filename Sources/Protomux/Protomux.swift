import HyperDHT
import HyperProtomuxEngine

/// Channels of typed messages on one connection, as `protomux` makes them in JavaScript: many protocols side by side,
/// each with its own messages, with the same bytes on the wire (secret-stream.md Annex A).
///
/// ```swift
/// let mux = Protomux(connection)
/// let channel = try mux.createChannel(protocol: "chat/1")
/// let lines = channel.addMessage(.string)
/// try channel.open()
///
/// try await channel.opened()
/// try await lines.send("hello")
/// for try await line in lines.messages { print(line) }
/// ```
///
/// A channel is open when both sides have opened it with the same protocol and id. What one side opens and the other
/// one does not want is rejected.
///
/// **When reading begins.** Nothing of the peer is taken before the first call that waits (`opened`, `send`, `drained`,
/// `closed`, a loop over `messages`), or before `start`. Channels that are opened, and protocols that are paired, until
/// then find every channel that the peer opens, however early it does.
///
/// **Order and memory.** The messages of all channels come one after the other over one connection. A program that does
/// not read the `messages` of one channel holds up the others once 2 MiB wait: read them, take them with a handler, or
/// close the channel and let go of it.
///
/// May be used from any thread. The mux reads the connection from the moment reading begins, and keeps it open, whether
/// the program refers to the mux or not: end it with `close` or `destroy`. Do not read or write on the connection
/// beside it.
public final class Protomux: Sendable {
  /// What is asked about a channel that the peer has opened and this side has not; create and open the channel before
  /// returning to accept it. `id` is what the peer has named, empty for none.
  public typealias Offer = @Sendable (_ mux: Protomux, _ id: [UInt8]) async -> Void

  let core: MuxCore

  init(core: MuxCore) { self.core = core }

  /// Divides a connection into channels. One mux for each connection.
  /// - Parameters:
  ///   - connection: of a node or a swarm, from which nothing has been read.
  ///   - maximumChannels: channels that are open or on their way at a time, both sides' together. Further ones of this
  ///     side fail with `tooManyChannels`, further ones of the peer are rejected.
  public convenience init(_ connection: HyperDHT.Connection, maximumChannels: Int = 16_384) {
    self.init(over: ConnectionStream(connection: connection), maximumChannels: maximumChannels)
  }

  /// Over a stream of another kind, which it keeps.
  /// - Parameters:
  ///   - stream: what carries the frames.
  ///   - maximumChannels: as above.
  public convenience init(over stream: some ProtomuxStream, maximumChannels: Int = 16_384) {
    self.init(core: MuxCore(stream: stream, maximumChannels: maximumChannels))
  }

  /// Begins to read, for a program that takes everything with handlers and waits for nothing. Further calls do nothing.
  public func start() { core.start() }

  // MARK: Channels

  /// Makes a channel, which the peer hears of when it is opened. Add its message types in between, and open it soon:
  /// what the peer sends on it meanwhile is held.
  /// - Parameters:
  ///   - name: the protocol, by which the two sides find each other, usually with a version: `chat/1`.
  ///   - id: tells channels of one protocol apart, a key for example. Empty is none.
  ///   - aliases: further names of the protocol under which a channel of the peer belongs to this one.
  ///   - isUnique: whether to fail if there is a channel of this name, or alias, and id.
  /// - Throws: `duplicateChannel` with `isUnique`; `tooManyChannels` at `maximumChannels`; `closed` when the connection
  ///   has ended.
  public func createChannel(
    protocol name: String, id: [UInt8] = [], aliases: [String] = [], isUnique: Bool = true
  ) throws(ProtomuxError) -> Channel {
    try core.create(name, id: id, aliases: aliases, isUnique: isUnique)
  }

  /// The channels of this side that are created or open, in the order of their making.
  public var channels: [Channel] { core.liveChannels }

  /// Whether this side has opened a channel of this protocol, or of this alias, that has not been closed.
  public func isOpened(protocol name: String, id: [UInt8] = []) -> Bool { core.isOpened(ChannelName(name, id: id)) }

  // MARK: Offers

  /// From now on `offer` is called for each channel that the peer opens with this protocol and id and that is not
  /// created here. Without an id it is called for every id that has no offer of its own.
  ///
  /// What it does not accept is rejected when it returns. Up to 4096 calls run at a time; the messages of the channel
  /// are held meanwhile, up to about 32 KiB for all of them, above which nothing more is taken from the connection: it
  /// should not wait for the peer.
  /// - Parameters:
  ///   - name: the protocol; aliases of channels play no part.
  ///   - id: of which channel; empty is of all.
  ///   - offer: called in a task of its own for each channel. It is held until `unpair`, another `pair` of this
  ///     protocol and id, or the end.
  public func pair(protocol name: String, id: [UInt8] = [], _ offer: @escaping Offer) {
    core.pair(ChannelName(name, id: id), offer)
  }

  /// Takes back a `pair` with the same protocol and id. Calls that run go on.
  public func unpair(protocol name: String, id: [UInt8] = []) { core.unpair(ChannelName(name, id: id)) }

  // MARK: Sending

  /// Collects what is sent, on all channels, until `uncork` has been called as often as `cork`: it leaves as one batch
  /// (in batches of about 8 MiB). Messages that are received as a batch are answered by one, if handlers answer at
  /// once.
  public func cork() { core.cork() }
  /// See `cork`. One call more than those of `cork` does nothing.
  public func uncork() { core.uncork() }

  /// Sends what `body` sends as one batch, with what others send meanwhile. `body` runs once, inside the call.
  public func corked<Result>(_ body: () throws -> Result) rethrows -> Result {
    cork()
    defer { uncork() }
    return try body()
  }

  /// Whether there is room: at most 1 MiB waits to be sent, or less than half of it after there was more.
  public var isDrained: Bool { core.isDrained }

  /// Waits until `isDrained`.
  /// - Throws: `closed`, or `connection` with why it failed, when it ends first; `cancelled`.
  public nonisolated(nonsending) func drained() async throws(ProtomuxError) {
    try await core.drained()
  }

  // MARK: Closing

  /// Closes all channels, sends what waits, ends the connection, and waits until the peer has ended it, too: on a
  /// `HyperDHT.Connection` ten seconds at most. Cancellation ends the wait; the connection ends all the same.
  public nonisolated(nonsending) func close() async { await core.close() }

  /// Aborts: the connection is destroyed, all channels are closed. What waits is not sent.
  public func destroy() { core.destroy(nil) }

  /// Whether all channels are closed for good, because the connection has ended or is about to.
  public var isClosed: Bool { core.closing.isClosed }

  /// Waits until the connection has ended.
  /// - Returns: why, `nil` for a regular end or a local `destroy`; else `decodingFailed`, `protocolViolation` or
  ///   `connection`.
  /// - Throws: `cancelled`.
  @discardableResult
  public nonisolated(nonsending) func closed() async throws(ProtomuxError) -> ProtomuxError? {
    core.start()
    return try await core.closing.waited()
  }
}
