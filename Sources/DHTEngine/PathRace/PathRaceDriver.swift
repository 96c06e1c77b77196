import HyperEncoding
import HyperEnvironment

/// A socket and an address that a stream can be connected through.
struct SocketRoute: RaceRoute {
  var socket: any DatagramSocket
  var remote: Endpoint
  /// The relay's stream, where the path leads over a relay.
  var relayedID: UInt32?

  func isSame(as other: SocketRoute) -> Bool { socket === other.socket && remote == other.remote }
}

/// What a race needs of the connection that it is about.
protocol PathRaceOwner: AnyObject {
  /// Starts an attempt; what becomes of it is told to the driver.
  func start(_ contestant: RaceContestant)
  /// Connects the stream.
  func connect(_ route: SocketRoute, over path: RacePath) throws(DHTError)
  /// The stream is connected, and the race has been told.
  func connected(over path: RacePath, relay: RelayPath?)
  func release(_ path: RacePath, _ release: RaceRelease)
  func ended(_ end: RaceEnd)
}

/// Carries out what a race decides: owns its timers and its relay, and passes the rest to the connection.
final class PathRaceDriver {
  /// Shared with the stream, which outlives the race.
  final class Log {
    fileprivate(set) var timeline = PathTimeline()
  }

  private(set) var race: PathRace<SocketRoute>
  let log = Log()
  private(set) var relay: RelayPath?

  private unowned let node: DHTNode
  /// Packets that come over no relay are not taken.
  private let isRelayOnly: Bool
  private weak var owner: (any PathRaceOwner)?
  private var timers: [RaceTimer: any ScheduledAction] = [:]

  init(node: DHTNode, role: RaceRole, owner: any PathRaceOwner, isRelayOnly: Bool) {
    self.node = node
    self.isRelayOnly = isRelayOnly
    self.owner = owner
    race = PathRace(role: role)
  }

  func send(_ event: RaceEvent<SocketRoute>) {
    let outputs = race.handle(event, at: node.environment.nowMilliseconds)
    log.timeline = race.timeline
    for output in outputs { perform(output) }
  }

  /// An attempt may fail within the call that starts it, and so end the race before the outputs that follow.
  private func perform(_ output: RaceOutput<SocketRoute>) {
    switch output {
    case .start(let contestant):
      if race.pending.contains(contestant.path) { owner?.start(contestant) }
    case .startTimer(let timer, let milliseconds):
      guard race.timers.contains(timer) else { return }
      timers[timer] = node.environment.schedule(after: milliseconds) { [weak self] in
        self?.timers[timer] = nil
        self?.send(.timer(timer))
      }
    case .stopTimer(let timer): timers.removeValue(forKey: timer)?.cancel()
    case .attach(let route, let path): attach(route, path)
    case .move(let route, let path): send(relay?.offer(route, path) ?? false ? .moved : .moveRefused)
    case .release(.relay, let release): self.release(release)
    case .release(let path, let release): owner?.release(path, release)
    case .end(let end): owner?.ended(end)
    }
  }

  private func attach(_ route: SocketRoute, _ path: RacePath) {
    let carrier = path == .relay ? relay : nil
    do throws(DHTError) {
      guard let owner else { throw .requestDestroyed }
      try owner.connect(route, over: path)
      send(.attached)
      owner.connected(over: path, relay: carrier)
    } catch {
      send(.attachFailed(error))
    }
  }

  // MARK: Packets

  /// The firewall of a stream that is not connected yet: whether the packet is taken.
  func takes(_ socket: any DatagramSocket, _ source: Endpoint) -> Bool {
    guard source.port != 0 else { return false }
    // The peer may use the relay before we have heard that we are paired.
    if relay?.isRelay(socket, source) ?? false { return true }
    let isEarly = race.state == .handshaking
    guard !isRelayOnly, isEarly || race.state == .racing else { return false }
    send(.packet(SocketRoute(socket: socket, remote: source)))
    if case .over(.won) = race.state { return true }
    return isEarly
  }

  // MARK: Relay

  /// Beside everything else (hyperdht.md 10.3).
  func startRelay(_ ticket: RelayTicket, streamID: UInt32, origin: RelayPath.Origin, keepAlive: UInt64) {
    let relay = RelayPath(node: node, ticket: ticket, streamID: streamID, origin: origin)
    self.relay = relay
    relay.onPaired = { [weak self] in self?.send(.opened(.relay, $0)) }
    relay.onFailed = { [weak self] error in
      guard let self else { return }
      self.relay = nil
      owner?.release(.relay, .dropped)
      send(.failed(.relay, error))
    }
    relay.onDirectPacket = { [weak self] in self?.send(.packet($0)) }
    relay.onSettled = { [weak self] in self?.send(.packet($0)) }
    relay.onRefused = { [weak self] path in
      self?.owner?.release(path, .dropped)
      self?.send(.failed(path, .holepunchAborted("nothing came over the path")))
    }
    relay.onLeft = { [weak self] in self?.send(.relayLeft) }
    relay.start(keepAlive: keepAlive)
  }

  private func release(_ release: RaceRelease) {
    guard let relay else { return }
    self.relay = nil
    relay.raceEnded()
    switch release {
    case .standBy: relay.standBy()
    case .dropped:
      owner?.release(.relay, release)
      relay.discard()
    case .kept: break
    }
  }
}
