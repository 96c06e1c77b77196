import HyperDHT
import HyperEncoding
import HyperProtomux

/// The way of `forward --mux` to one peer: the channels of one connection if the peer can, made when it is needed and
/// again when it has broken.
actor MuxLink {
  /// How one local connection gets to the peer.
  enum Way: Sendable {
    case channel(TunnelChannel)
    /// The connection that the peer was asked over: it is as new.
    case asked(HyperDHT.Connection)
    /// A connection of its own.
    case own
  }

  private let dial: @Sendable () async throws -> HyperDHT.Connection
  private var mux: Protomux?
  private var opening: Task<Protomux?, any Error>?
  private var spare: HyperDHT.Connection?
  private var unaskedUntil: ContinuousClock.Instant?
  private var nextID: UInt64 = 0

  init(dial: @escaping @Sendable () async throws -> HyperDHT.Connection) { self.dial = dial }

  func way() async throws -> Way {
    if let unaskedUntil, ContinuousClock.now < unaskedUntil { return .own }
    if let mux, !mux.isClosed { return .channel(try channel(of: mux)) }
    let task = opening ?? Task { try await open() }
    opening = task
    guard let mux = try await task.value else {
      defer { spare = nil }
      return spare.map { .asked($0) } ?? .own
    }
    return .channel(try channel(of: mux))
  }

  private func open() async throws -> Protomux? {
    defer { opening = nil }
    let connection = try await dial()
    let canDo = await TunnelOffer.channels.ask(connection)
    let key = connection.remotePublicKey.hex
    Console.detail(
      1, "channels",
      canDo ? "connections to \(key) share one" : "each connection to \(key) has one of its own: it offers no more",
      [("publicKey", .string(key)), ("shared", .bool(canDo))])
    guard canDo else {
      spare = connection
      unaskedUntil = .now + TunnelLimits.unasked
      return nil
    }
    let made = Protomux(connection, maximumChannels: TunnelLimits.connections)
    made.start()
    mux = made
    return made
  }

  private func channel(of mux: Protomux) throws -> TunnelChannel {
    var writer = CompactWriter()
    writer.uint64(nextID)
    nextID += 1
    return try TunnelChannel(mux, id: writer.bytes)
  }

  /// The other side of it: the channels that a peer opens over a connection on which it has asked for them, until the
  /// connection ends.
  static func serve(
    _ connection: HyperDHT.Connection, _ body: @escaping @Sendable (TunnelChannel) async -> Void
  ) async {
    let mux = Protomux(connection, maximumChannels: TunnelLimits.connections)
    let (channels, opened) = AsyncStream<TunnelChannel>.makeStream()
    // Bounded by the channels of a connection.
    mux.pair(protocol: TunnelChannel.name) { mux, id in
      if let channel = try? TunnelChannel(mux, id: id) { opened.yield(channel) }
    }
    // The answer may be lost: the peer asks again.
    let answering = Task {
      for await datagram in connection.datagrams where datagram == TunnelOffer.channels.question {
        await connection.sendDatagram(TunnelOffer.channels.answer)
      }
    }
    mux.start()
    let ending = Task {
      _ = try? await mux.closed()
      opened.finish()
    }
    await withDiscardingTaskGroup { group in
      for await channel in channels { group.addTask { await body(channel) } }
      // A node that is being closed does not wait.
      mux.destroy()
    }
    answering.cancel()
    ending.cancel()
  }
}
