import HyperEncoding
import HyperEnvironment
import HyperSecretStream

/// A relayed stream's way to a direct path (hyperdht.md 9.3, hyperdht-extensions.md 5).
///
/// A path counts once it has brought a packet that acknowledges what was sent over it, or any packet while for long
/// nothing is: until then the relay stays, and the stream goes back to it. What the peer sends directly is taken in any
/// case, whatever this side thinks of its own ways to the peer: deployed peers go ahead alone. A peer that can prove
/// itself (hyperdht-extensions.md 2) moves the stream by that alone.
final class RelayDeparture {
  private enum State {
    case relayed
    /// Our packets go over a path that may turn out to be none.
    case trying
    /// Our packets go over a path that the peer has proved to be its own; it may have broken since.
    case direct
  }

  private struct Candidate {
    var path: RacePath
    var route: SocketRoute
    var isTried = false
  }

  /// A packet of a deployed peer has come over an unknown path.
  var onPacket: ((SocketRoute) -> Void)?
  /// The stream stays on this path.
  var onSettled: ((SocketRoute) -> Void)?
  /// The path has brought a packet: the peer does not depend on the relay for what it sends from now on.
  var onHeard: (() -> Void)?
  /// This path of the race has led nowhere.
  var onRefused: ((RacePath) -> Void)?

  private unowned let node: DHTNode
  private let raw: any TransportStream
  private weak var stream: EncryptedStream?
  private let remoteID: UInt32
  /// Those that the peer has named, or was seen at. Packets from elsewhere are a stranger's.
  private let peerHosts: Set<IPv4Address>
  /// Of the socket of the path in use, which hole punching is about to give back: where the path is kept for others.
  private(set) var lease: SocketLease?
  private let keepsRoute: Bool
  private weak var migration: StreamMigration?
  /// The way over the relay, as long as there is one.
  private let relay: () -> SocketRoute?

  private var state = State.relayed
  private var current: SocketRoute?
  private var hasHeard = false
  private var isRelayLost = false
  /// Found by our race, so at an address that is the peer's.
  private var candidates: [Candidate] = []
  /// Where the peer's packets have come from, if they are the peer's.
  private var stray: SocketRoute?
  private var trialEnd: UInt64 = 0
  /// Packets that came another way than over the path in use, or before it was taken.
  private var otherPackets: UInt64 = 0
  private var packetsBefore: UInt64 = 0
  /// Of the change of path under way, if any.
  private var changeNumber = 0
  private var isChangeAcknowledged = true
  /// What was sent before the change goes over the path in use, too.
  private var isRerouted = false
  private var nudges = 0

  // Silence, as the tick sees it.
  private var timer: (any ScheduledAction)?
  private var packetsAtTick: UInt64 = 0
  private var otherPacketsAtTick: UInt64 = 0
  /// Looks in which the path in use has brought nothing since the change, but another one has.
  private var elsewhereTicks = 0
  /// Looks in a row since which nothing has been on its way, while the path in use has brought something.
  private var idleTicks = 0
  private var wasWaiting = false
  private var silentTicks = 0

  init(
    node: DHTNode, raw: any TransportStream, stream: EncryptedStream, peer: RelayedPeer,
    relay: @escaping () -> SocketRoute?
  ) {
    self.node = node
    self.raw = raw
    self.stream = stream
    remoteID = peer.remoteID
    peerHosts = peer.hosts
    keepsRoute = peer.routeKey != nil
    self.relay = relay
    otherPackets = raw.statistics.packetsReceived
    migration = node.migrations.stream(raw.localID)
    migration?.hooks.onProven = { [weak self] in
      self?.proven(SocketRoute(socket: $0.socket, remote: $0.remote)) ?? false
    }
    migration?.hooks.onUnanswered = { [weak self] in self?.refuse() }
    // A direct path may lead to the socket that the relay's packets come over.
    raw.asksForSources = true
    raw.firewall = { [weak self] in self?.takes($0, $1) ?? false }
  }

  var isRelayed: Bool { state == .relayed }

  // MARK: Ways that may open

  /// The race has found a path. `true`: the stream runs over a direct path. Else this one is tried.
  func offer(_ route: SocketRoute, _ path: RacePath) -> Bool {
    guard state != .direct, !raw.isClosed else { return state == .direct }
    trialEnd = now + Limits.Relay.trial
    candidates.append(Candidate(path: path, route: route))
    if let migration, path != .direct {
      migration.tryBesideRelay(.init(socket: route.socket, remote: route.remote))
    } else if state == .relayed {
      go(over: route)
    }
    return false
  }

  /// The firewall of the stream.
  private func takes(_ socket: any DatagramSocket, _ source: Endpoint) -> Bool {
    otherPackets += 1
    guard source.port != 0 else { return false }
    let route = SocketRoute(socket: socket, remote: source)
    if !(relay()?.isSame(as: route) ?? false) { came(over: route) }
    return true
  }

  /// Before the relay has brought anything the peer may run over a direct path alone, and wait for our header there.
  private var mustProve: Bool { migration != nil && packets > 0 }

  private func came(over route: SocketRoute) {
    guard state == .relayed, !mustProve, peerHosts.contains(route.remote.host),
      !candidates.contains(where: { $0.route.isSame(as: route) })
    else { return }
    onPacket?(route)
    guard state == .relayed else { return }
    stray = route
    if isRelayLost { flee(to: route) } else { startTicking() }
  }

  /// Where the stream goes when the relay fails: a peer that can prove itself is only where it has done so.
  private var refuge: SocketRoute? {
    if mustProve { return candidates.first(where: \.isTried)?.route }
    return candidates.first?.route ?? stray
  }

  /// The peer receives at the far end of this path, and sends from there.
  private func proven(_ route: SocketRoute) -> Bool {
    let isThere = state == .trying && current?.isSame(as: route) ?? false
    guard state != .direct, isThere || change(to: route, id: remoteID, .direct) else { return false }
    trialEnd = now + Limits.Relay.trial
    settle(on: route)
    startTicking()
    return true
  }

  // MARK: Going there and back

  /// `false`: the path cannot be taken, because its socket has closed for example.
  @discardableResult
  private func go(over route: SocketRoute) -> Bool {
    for index in candidates.indices where candidates[index].route.isSame(as: route) { candidates[index].isTried = true }
    guard change(to: route, id: remoteID, .trying) else { return false }
    startTicking()
    return true
  }

  /// What the path in use has not carried goes there, too.
  private func flee(to route: SocketRoute) {
    guard go(over: route) else { return forget(route) }
    if !isChangeAcknowledged { reroute() }
  }

  private func forget(_ route: SocketRoute) {
    let paths = candidates.filter { $0.route.isSame(as: route) }.map(\.path)
    candidates.removeAll { $0.route.isSame(as: route) }
    if stray?.isSame(as: route) ?? false { stray = nil }
    for path in paths { onRefused?(path) }
  }

  private func change(to route: SocketRoute, id: UInt32, _ next: State) -> Bool {
    let before = (state, changeNumber, isChangeAcknowledged)
    let number = changeNumber + 1
    (state, changeNumber, isChangeAcknowledged) = (next, number, false)
    do throws(TransportError) {
      try raw.changeRemote(socket: route.socket, remoteID: id, to: route.remote) { [weak self] in
        if let self, changeNumber == number { changed() }
      }
    } catch {
      (state, changeNumber, isChangeAcknowledged) = before
      return false
    }
    current = route
    lease = keepsRoute && next != .relayed ? node.sockets.lease(route.socket) : nil
    isRerouted = false
    packetsBefore = packets
    otherPacketsAtTick = otherPackets
    wasWaiting = false
    silentTicks = 0
    elsewhereTicks = 0
    idleTicks = 0
    stream?.onTransportActivity = next == .relayed ? nil : { [weak self] in self?.look() }
    return true
  }

  /// Everything sent before has arrived. That says nothing about the peer's way to us.
  private func changed() {
    isChangeAcknowledged = true
    nudges = 0
    if state != .relayed { nudge() }
  }

  private func reroute() {
    isRerouted = true
    raw.reroute()
  }

  private func nudge() {
    guard isChangeAcknowledged, nudges < Limits.Relay.nudges else { return }
    nudges += 1
    showPath()
  }

  /// An idle peer learns of the direct path by this: a message of the transport, not of the stream. One of this
  /// implementation needs to see that it is ours, a deployed one takes any.
  private func showPath() {
    if migration != nil { stream?.sendPathProof() } else { raw.sendMessage([]) }
  }

  private func goBack() {
    let left = state == .direct ? current : nil
    guard !isRelayLost, let relay = relay(), let id = relay.relayedID, change(to: relay, id: id, .relayed) else {
      return
    }
    reroute()
    if let left {
      candidates = [Candidate(path: .direct, route: left, isTried: true)]
      migration?.isRelayed = true
      stream?.isRelayed = true
      stream?.pathChanged(to: relay.remote)
    } else {
      while let next = candidates.first(where: { !$0.isTried }), !go(over: next.route) {}
    }
  }

  // MARK: What a path brings

  private var now: UInt64 { node.environment.nowMilliseconds }

  /// Those that came over the path in use. The firewall is not asked for them, and for others before they are counted.
  private var packets: UInt64 { max(raw.statistics.packetsReceived, otherPackets) - otherPackets }

  private func look() {
    guard state != .relayed, !hasHeard, packets > packetsBefore, let current else { return }
    guard raw.isPathValidated || isKnown(current) && idleTicks >= Limits.Relay.idleTicks else { return }
    hasHeard = true
    stream?.onTransportActivity = nil
    stopTicking()
    node.statistics.relaying.upgrades += 1
    // The peer may wait for a packet, too.
    showPath()
    if state == .trying { settle(on: current) }
    onHeard?()
  }

  /// Not only a packet has come from there.
  private func isKnown(_ route: SocketRoute) -> Bool {
    state == .direct || candidates.contains { $0.path != .direct && $0.route.isSame(as: route) }
  }

  private func settle(on route: SocketRoute) {
    state = .direct
    migration?.isRelayed = false
    candidates = []
    stray = nil
    stream?.isRelayed = false
    stream?.pathChanged(to: route.remote)
    onSettled?(route)
  }

  private func refuse() {
    let paths = candidates.map(\.path)
    candidates = []
    for path in paths { onRefused?(path) }
  }

  // MARK: Silence

  private var needsTicks: Bool {
    switch state {
    case .relayed: refuge != nil
    case .trying, .direct: !hasHeard
    }
  }

  private func startTicking() {
    guard timer == nil, needsTicks else { return }
    timer = node.environment.schedule(after: Limits.Relay.trialInterval) { [weak self] in self?.tick() }
  }

  private func stopTicking() {
    timer?.cancel()
    timer = nil
  }

  private func tick() {
    timer = nil
    guard !raw.isClosed else { return }
    let isWaiting = raw.statistics.bytesInFlight > 0
    idleTicks = packets == packetsBefore || isWaiting ? 0 : idleTicks + 1
    look()
    let isUnanswered = state == .relayed ? packets == packetsAtTick : !raw.isPathValidated
    silentTicks = isWaiting && wasWaiting && isUnanswered ? silentTicks + 1 : 0
    if packets == packetsBefore, otherPackets != otherPacketsAtTick { elsewhereTicks += 1 }
    let wasWaitingBefore = isWaiting && wasWaiting
    wasWaiting = isWaiting
    packetsAtTick = packets
    otherPacketsAtTick = otherPackets
    let isSilent = silentTicks >= Limits.Relay.silentTicks
    // The peer receives here, and a path that lives has brought the acknowledgement of what was sent over it before.
    if state == .direct, !isChangeAcknowledged, !isRerouted, wasWaitingBefore { reroute() }
    switch state {
    case .trying, .direct:
      if hasHeard { break }
      if isSilent || elsewhereTicks >= Limits.Relay.elsewhereTicks { goBack() } else { nudge() }
    case .relayed:
      if now >= trialEnd, !candidates.isEmpty {
        stray = candidates.last?.route
        refuse()
      } else if isSilent, let refuge {
        flee(to: refuge)
      }
    }
    startTicking()
  }

  // MARK: The relay's end

  /// The relay does not carry the stream any more. `true`: the stream has another path, or tries one.
  func relayLost() -> Bool {
    isRelayLost = true
    while state == .relayed, let refuge, !go(over: refuge) { forget(refuge) }
    guard state != .relayed else { return false }
    if !isChangeAcknowledged { reroute() }
    return true
  }

  /// The relay is given up, and the stream stays where it is.
  func finish() {
    stopTicking()
    lease = nil
    raw.asksForSources = false
    raw.firewall = nil
    stream?.onTransportActivity = nil
    migration?.hooks.onProven = nil
    migration?.hooks.onUnanswered = nil
    guard state != .relayed else { return }
    stream?.checkSources()
    raw.followsPeer = migration == nil
    if !isChangeAcknowledged { reroute() }
  }
}
