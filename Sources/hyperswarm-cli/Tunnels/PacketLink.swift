import Foundation
import HyperCrypto
import HyperDHT
import HyperEncoding
import Synchronization

/// UDP packets over one connection (tunnels.md 4): in its datagrams, or in messages of the stream when they are too
/// large for those.
final class PacketLink: Sendable {
  let connection: HyperDHT.Connection
  private let side: PacketFrame.Side
  private let isFull = Atomic(false)
  private let state: Mutex<(key: Bytes32?, sent: UInt64)>

  /// - Parameter key: of the side that asked, which tells the other one.
  init(_ connection: HyperDHT.Connection, _ side: PacketFrame.Side, key: Bytes32? = nil) {
    self.connection = connection
    self.side = side
    state = Mutex((key, 0))
    if let key { _ = try? connection.writeWithoutWaiting(PacketFrame.message(with: key)) }
  }

  var hasKey: Bool { state.withLock { $0.key != nil } }

  func send(_ frame: PacketFrame) async {
    let (key, number) = state.withLock { state in
      state.sent += 1
      return (state.key, state.sent)
    }
    guard let key else { return }
    if let datagram = frame.sealed(key, from: side, number: number), await connection.sendDatagram(datagram) { return }
    guard !isFull.load(ordering: .relaxed), (try? connection.writeWithoutWaiting(frame.message)) == true else { return }
    // What comes meanwhile is lost, as it is on a line that is too slow.
    isFull.store(true, ordering: .relaxed)
    Task {
      _ = try? await connection.drained()
      isFull.store(false, ordering: .relaxed)
    }
  }

  /// Takes what the peer sends until the connection ends.
  func run(_ body: @escaping @Sendable (PacketFrame) async -> Void) async {
    await withTaskGroup(of: Void.self) { group in
      group.addTask { [self] in
        for await datagram in connection.datagrams {
          // The answer to its question was lost.
          if datagram == TunnelOffer.datagrams.question {
            await connection.sendDatagram(TunnelOffer.datagrams.answer)
          } else if let key = state.withLock({ $0.key }),
            let frame = PacketFrame(sealed: datagram, key, from: side.other)
          {
            await body(frame)
          }
        }
      }
      group.addTask { [self] in
        while let message = (try? await connection.read()) ?? nil {
          if let frame = PacketFrame(message: message) { await body(frame) }
          if side == .listening, let key = PacketFrame.key(in: message) { state.withLock { $0.key = key } }
        }
      }
      await group.next()
      group.cancelAll()
    }
    connection.destroy()
  }
}

/// Senders of packets, the ones that were heard of last: at most `TunnelLimits.senders`.
struct SenderTable<Key: Hashable, Value> {
  private var entries: [Key: (value: Value, used: ContinuousClock.Instant)] = [:]
  private let limit: Int

  init(limit: Int = TunnelLimits.senders) { self.limit = limit }

  var count: Int { entries.count }
  func value(of key: Key) -> Value? { entries[key]?.value }

  /// The value, used now.
  mutating func use(_ key: Key, at now: ContinuousClock.Instant) -> Value? {
    entries[key]?.used = now
    return entries[key]?.value
  }

  /// Adds a sender, at the cost of the one that has been silent the longest. Returns those that are gone.
  mutating func add(_ value: Value, for key: Key, at now: ContinuousClock.Instant) -> [Value] {
    var gone = expire(at: now)
    if entries.count >= limit, let oldest = entries.min(by: { $0.value.used < $1.value.used })?.key {
      if let entry = entries.removeValue(forKey: oldest) { gone.append(entry.value) }
    }
    entries[key] = (value, now)
    return gone
  }

  mutating func remove(_ key: Key) { entries[key] = nil }

  /// Forgets the silent ones, and returns them.
  mutating func expire(at now: ContinuousClock.Instant) -> [Value] {
    let old = entries.filter { now - $0.value.used > TunnelLimits.senderLife }
    for key in old.keys { entries[key] = nil }
    return old.values.map(\.value)
  }
}

/// `forward --udp`: one local port, and the connection to the peer that its packets go over, made with the first one.
actor PacketForward {
  private let socket: PacketSocket
  private let address: String
  private let dial: @Sendable () async throws -> HyperDHT.Connection
  private var senders = SenderTable<SocketBytes, UInt32>()
  private var sources = SenderTable<UInt32, SocketBytes>()
  private var nextSender: UInt32 = 0
  private var link: PacketLink?
  private var waiting: [PacketFrame] = []
  private var isDialling = false
  private var redial = ContinuousClock.now

  init(_ socket: PacketSocket, _ address: String, dial: @escaping @Sendable () async throws -> HyperDHT.Connection) {
    self.socket = socket
    self.address = address
    self.dial = dial
  }

  func run() async {
    while !Task.isCancelled {
      guard await Poller.shared.wait(socket.descriptor, for: Int32(POLLIN), seconds: 1) else { continue }
      while let (packet, source) = socket.receive() { await pass(packet, from: source) }
    }
  }

  private func pass(_ packet: [UInt8], from source: SocketBytes) async {
    let now = ContinuousClock.now
    let sender: UInt32
    if let known = senders.use(source, at: now), sources.use(known, at: now) != nil {
      sender = known
    } else {
      sender = nextSender
      nextSender &+= 1
      _ = senders.add(sender, for: source, at: now)
      _ = sources.add(source, for: sender, at: now)
    }
    let frame = PacketFrame(sender: sender, content: packet)
    if let link { return await link.send(frame) }
    guard isDialling || now >= redial else { return }
    if waiting.count < TunnelLimits.waitingPackets { waiting.append(frame) }
    guard !isDialling else { return }
    isDialling = true
    Task { await connect() }
  }

  private func connect() async {
    do {
      let connection = try await dial()
      guard await TunnelOffer.datagrams.ask(connection) else {
        connection.destroy()
        throw Failure("the peer does not take UDP: it needs 'expose --udp'", code: "NO_DATAGRAMS")
      }
      let key = Bytes32(filledBy: { Sodium.randomBytes(UnsafeMutableRawBufferPointer(start: $0, count: 32)) })
      let made = PacketLink(connection, .asking, key: key)
      link = made
      isDialling = false
      let frames = waiting
      waiting = []
      for frame in frames { await made.send(frame) }
      await made.run { await self.deliver($0) }
      link = nil
    } catch {
      isDialling = false
      waiting = []
      Forwarder.report(error, address)
    }
    redial = .now + TunnelLimits.redial
  }

  private func deliver(_ frame: PacketFrame) {
    let now = ContinuousClock.now
    guard let source = sources.use(frame.sender, at: now) else { return }
    _ = senders.use(source, at: now)
    socket.send(frame.content[...], to: source)
  }
}

/// `expose --udp`: the packets of one peer, each of its senders with a socket of its own to the service.
actor PacketService {
  private let link: PacketLink
  private let target: SocketBytes
  private let places: Places
  /// The connection's.
  private let place: Places.Place
  private var sockets = SenderTable<UInt32, Sender>()

  private struct Sender {
    let socket: PacketSocket
    let place: Places.Place
  }

  init(_ link: PacketLink, _ target: SocketBytes, _ places: Places, _ place: Places.Place) {
    self.link = link
    self.target = target
    self.places = places
    self.place = place
  }

  /// Serves a peer that asks for it.
  static func serve(
    _ connection: HyperDHT.Connection, _ target: SocketBytes, _ places: Places, _ place: Places.Place
  ) async {
    let beginning = await TunnelOffer.datagrams.beginning(of: connection, within: TunnelLimits.greeting)
    guard case .asked = beginning else { return connection.destroy() }
    let link = PacketLink(connection, .listening)
    let service = PacketService(link, target, places, place)
    let deadline = Task {
      try await Task.sleep(for: TunnelLimits.greeting)
      if !link.hasKey { connection.destroy() }
    }
    defer { deadline.cancel() }
    await withDiscardingTaskGroup { group in
      group.addTask { await service.run() }
      for await (id, sender) in service.opened { group.addTask { await service.listen(id, sender) } }
    }
  }

  /// With what each has: its place is given back also when it is dropped before its turn.
  private nonisolated let (opened, opening) = AsyncStream<(UInt32, Sender)>.makeStream()

  private func run() async {
    await link.run { await self.pass($0.content[...], of: $0.sender) }
    sockets = SenderTable()
    opening.finish()
  }

  private func pass(_ packet: ArraySlice<UInt8>, of sender: UInt32) {
    let now = ContinuousClock.now
    place.touch(at: now)
    if let known = sockets.use(sender, at: now) {
      known.place.touch(at: now)
      return known.socket.send(packet)
    }
    // Too many, or no descriptors: the packet is lost.
    let leaving = { @Sendable [weak self] in
      guard let self else { return }
      Task { await self.drop(sender) }
    }
    guard let own = places.enter(place.group, hasShown: { true }, giveWay: leaving) else { return }
    guard let socket = try? PacketSocket(connectedTo: target) else { return places.leave(own) }
    let added = Sender(socket: socket, place: own)
    _ = sockets.add(added, for: sender, at: now)
    socket.send(packet)
    opening.yield((sender, added))
  }

  private func drop(_ sender: UInt32) { sockets.remove(sender) }

  /// Passes on what the service says to a sender, as long as it is in the table.
  private func listen(_ id: UInt32, _ sender: Sender) async {
    defer { places.leave(sender.place) }
    while !Task.isCancelled, sockets.value(of: id)?.socket === sender.socket {
      guard await Poller.shared.wait(sender.socket.descriptor, for: Int32(POLLIN), seconds: 1) else {
        _ = sockets.expire(at: .now)
        continue
      }
      while let (packet, _) = sender.socket.receive() {
        _ = sockets.use(id, at: .now)
        sender.place.touch()
        await link.send(PacketFrame(sender: id, content: packet))
      }
    }
  }
}
