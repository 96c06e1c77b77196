import HyperEncoding
import HyperEnvironment

/// A socket for hole punching and what nodes have said about its address (hyperdht.md 8.1).
///
/// A puncher has one of its own, or works with the one from which its server has answered the handshake. Open until the
/// last of its users has released it.
final class PunchPort {
  let isShared: Bool
  let createdAt: UInt64
  /// Our address as seen, and by whom.
  private(set) var samples: [(seen: Endpoint, referrer: Endpoint)] = []
  /// No node is left to ask.
  private(set) var isSampled = false
  /// Samples that there are for the only puncher of the port.
  var sampleCount: (() -> Int)?

  private let holder: PunchSocket
  private var sampler: NATSampling?
  private var punchers: [WeakPuncher] = []
  private var users = 1

  private struct WeakPuncher {
    weak var puncher: Puncher?
  }

  /// With one user, the caller. `nil` when no socket can be had.
  init?(node: DHTNode, isShared: Bool = false) {
    guard let holder = try? node.sockets.acquire(isShared: isShared) else { return nil }
    self.holder = holder
    self.isShared = isShared
    createdAt = node.environment.nowMilliseconds
    holder.onProbe = { [weak self] source in self?.receiveProbe(from: source) }
    let sampler = NATSampling(node: node, socket: holder.socket)
    self.sampler = sampler
    sampler.sampleCount = { [weak self] in self.map { $0.sampleCount?() ?? $0.samples.count } ?? 0 }
    sampler.onSample = { [weak self] seen, referrer in self?.add(seen, from: referrer) }
    sampler.onExhausted = { [weak self] in self?.sampled() }
  }

  var socket: any DatagramSocket { holder.socket }

  func startSampling() { sampler?.start() }

  func stopSampling() {
    sampler?.stop()
    sampler = nil
  }

  private func add(_ seen: Endpoint, from referrer: Endpoint) {
    samples.append((seen, referrer))
    for entry in punchers { entry.puncher?.addSample(seen, from: referrer) }
  }

  private func sampled() {
    isSampled = true
    for entry in punchers { entry.puncher?.portIsSampled() }
  }

  /// The first puncher that is at work takes it.
  private func receiveProbe(from source: Endpoint) {
    for entry in punchers {
      if entry.puncher?.receiveProbe(on: holder.socket, from: source) ?? false { return }
    }
  }

  // MARK: Users

  func attach(_ puncher: Puncher) { punchers.append(WeakPuncher(puncher: puncher)) }

  func detach(_ puncher: Puncher) { punchers.removeAll { $0.puncher == nil || $0.puncher === puncher } }

  func hold() { users += 1 }

  func release() {
    users -= 1
    guard users == 0 else { return }
    stopSampling()
    holder.release()
  }
}

/// The port from which the servers of a node answer handshakes over relays: one socket and one classification of our
/// NAT for all clients that come in a while, so that a client that has not proved itself costs neither.
final class SharedPunchPort {
  private unowned let node: DHTNode
  private var current: PunchPort?
  private var usedAt: UInt64 = 0
  private var timer: (any ScheduledAction)?

  init(node: DHTNode) { self.node = node }

  /// For the caller to release. `nil` when no socket can be had.
  func acquire() -> PunchPort? {
    let now = node.environment.nowMilliseconds
    if let current, isOutdated(current, now) { retire() }
    if current == nil {
      current = PunchPort(node: node, isShared: true)
      current?.startSampling()
      if current != nil { watch() }
    }
    usedAt = now
    current?.hold()
    return current
  }

  /// The next handshake gets another port; those before keep this one.
  func retire() {
    timer?.cancel()
    timer = nil
    current?.release()
    current = nil
  }

  /// Its mapping may be another by now, or nodes have said nothing about it and may have come since.
  private func isOutdated(_ port: PunchPort, _ now: UInt64) -> Bool {
    let age = now - port.createdAt
    let isUnknown = port.isSampled && port.samples.isEmpty
    return now - usedAt >= Limits.Punch.portIdle || age >= Limits.Punch.portLifetime
      || (isUnknown && age >= Limits.Punch.portRetry)
  }

  /// A mapping that nothing leaves through is forgotten by the NAT, and the port goes before that.
  private func watch() {
    timer = node.environment.schedule(after: Limits.Punch.portIdle) { [weak self] in
      guard let self else { return }
      if node.environment.nowMilliseconds - usedAt >= Limits.Punch.portIdle { retire() } else { watch() }
    }
  }
}
