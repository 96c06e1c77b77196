import HyperEncoding

/// What the swarm knows about one remote public key (hyperswarm.md 9). Confined to the loop.
package final class PeerInfo {
  package enum Priority: Int, Comparable, Sendable, CaseIterable {
    case veryLow, low, normal, high, veryHigh
    package static func < (a: Priority, b: Priority) -> Bool { a.rawValue < b.rawValue }
  }

  package let publicKey: Bytes32
  /// Nodes that may route a handshake to the peer; the newest non-empty list that was seen.
  package internal(set) var relayAddresses: [Endpoint] = [] { didSet { onChange?() } }
  /// Joined topics under which lookups found the peer, in the order of the first sight.
  package internal(set) var topics: [Bytes32] = [] { didSet { onChange?() } }
  /// The last connection was dialled by us.
  package internal(set) var isClient = false { didSet { onChange?() } }
  package var isServer: Bool { !isClient }
  /// A dial has opened.
  package internal(set) var isProven = false { didSet { onChange?() } }
  package internal(set) var attempts = 0 { didSet { onChange?() } }
  package internal(set) var priority = Priority.normal { didSet { onChange?() } }
  package var isPrioritized: Bool { priority >= .normal }
  /// Whether the swarm dials the peer again after a disconnect.
  package private(set) var isReconnecting = true { didSet { onChange?() } }
  /// Never dialled, accepted or retried; an existing connection stays.
  package internal(set) var isBanned = false { didSet { onChange?() } }
  /// Named by `joinPeer`.
  package internal(set) var isExplicit = false { didSet { onChange?() } }
  package internal(set) var isQueued = false { didSet { onChange?() } }
  /// In a retry timer.
  package internal(set) var isWaiting = false { didSet { onChange?() } }
  /// Direct connections failed, dial through a relay.
  package internal(set) var forcesRelaying = false
  /// The last connection ended because our network has changed: dial again at once.
  var isMoved = false
  /// Milliseconds of the loop's clock; `nil` while no dialled connection is open.
  package internal(set) var connectedTime: UInt64?
  package internal(set) var disconnectedTime: UInt64 = 0
  /// Until then the firewall's refusal of a dial holds.
  var refusedUntil: UInt64 = 0

  /// Called with each topic the peer is first found under.
  package var onTopic: ((Bytes32) -> Void)?
  /// One of the fields above has been set, perhaps to the value that it had. Changes nothing itself.
  package var onChange: (() -> Void)?
  /// The application has lifted a ban.
  var onBanLifted: (() -> Void)?
  /// A ban by the firewall is one of the application from now on, or none any more.
  var onFirewallBanEnded: (() -> Void)?

  /// Dialled and given up without success; never set by the reference, kept because the priority table has it.
  var isTried = false
  /// Distinguishes the newest entry of this peer in the retry timers.
  var retryTicket: UInt64 = 0
  /// Was banned by a firewall verdict, not by the application.
  var isBannedByFirewall = false {
    didSet { if oldValue, !isBannedByFirewall { onFirewallBanEnded?() } }
  }

  package init(publicKey: Bytes32) {
    self.publicKey = publicKey
  }

  package func ban(_ banned: Bool) {
    let isLifted = isBanned && !banned
    isBanned = banned
    isBannedByFirewall = false
    if isLifted { onBanLifted?() }
  }

  package func reconnect(_ enabled: Bool) { isReconnecting = enabled }

  /// Recomputes the priority before queueing; `false` if the peer must not be queued (hyperswarm.md 9.2).
  func updatePriority() -> Bool {
    if isExplicit && attempts > 3 { attempts = 3 }
    if isBanned || isQueued || attempts > 3 { return false }
    priority = currentPriority
    return true
  }

  private var currentPriority: Priority {
    if isTried && !isProven { return .veryLow }
    switch attempts {
    case 0: return .normal
    case 1: return .veryHigh
    case 2: return .high
    case 3: return .low
    default: return .veryLow
    }
  }

  /// A dial has opened.
  func dialOpened(at now: UInt64) {
    isProven = true
    isClient = true
    connectedTime = now
  }

  /// An incoming connection was accepted.
  func accepted() { isClient = false }

  /// A dial or dialled connection has closed (hyperswarm.md 8.1, step 1).
  func dialClosed(at now: UInt64) {
    disconnectedTime = now
    if let opened = connectedTime {
      if now &- opened >= Limits.stableConnection { attempts = 0 }
      connectedTime = nil
    }
    attempts += 1
  }

  /// A sighting gives the peer a fresh set of attempts.
  func reset() {
    isClient = false
    isProven = false
    isTried = false
    attempts = 0
  }

  func addTopic(_ topic: Bytes32) {
    guard !topics.contains(topic) else { return }
    topics.append(topic)
    onTopic?(topic)
  }

  /// A refresh found the peer while it was not connected: whether it is to be queued (hyperswarm.md 9.5, steps 3 and
  /// 4).
  func sighted() -> Bool {
    if !isPrioritized || isServer { reset() }
    return updatePriority()
  }

  /// Whether `joinPeer` dials it in the drain step (hyperswarm.md 6.3, step 1).
  func mayDialExplicitly(at now: UInt64) -> Bool {
    guard attempts < Limits.explicitAttempts, now >= refusedUntil else { return false }
    return now >= disconnectedTime &+ UInt64(attempts) &* Limits.explicitPause
  }
}
