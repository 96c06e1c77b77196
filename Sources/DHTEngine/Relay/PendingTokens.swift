import HyperEncoding
import HyperEnvironment

/// One side of a token that waits for the other.
final class PendingPair {
  let token: Bytes32
  let side: RelaySide
  let serial: UInt64
  var expiry: (any ScheduledAction)?

  init(token: Bytes32, side: RelaySide, serial: UInt64) {
    self.token = token
    self.side = side
    self.serial = serial
  }
}

/// The tokens that only one side has named, and which of them makes room for another (hyperdht.md B-18): the oldest of
/// the session, or of the address, that holds most. So a stranger with many tokens only takes places from itself.
struct PendingTokens {
  private(set) var pairs: [Bytes32: PendingPair] = [:]
  private var sessions: [IPv4Address: [ObjectIdentifier: RelaySession]] = [:]
  private var countByHost: [IPv4Address: Int] = [:]
  private var serial: UInt64 = 0

  var count: Int { pairs.count }

  subscript(token: Bytes32) -> PendingPair? { pairs[token] }

  mutating func insert(_ token: Bytes32, _ side: RelaySide) -> PendingPair {
    serial += 1
    let pair = PendingPair(token: token, side: side, serial: serial)
    let session = side.session
    pairs[token] = pair
    session.pendingTokens.append(token, serial)
    sessions[session.host, default: [:]][ObjectIdentifier(session)] = session
    countByHost[session.host, default: 0] += 1
    return pair
  }

  /// False when it is gone already.
  @discardableResult
  mutating func remove(_ pair: PendingPair) -> Bool {
    guard pairs[pair.token] === pair else { return false }
    pairs[pair.token] = nil
    pair.expiry?.cancel()
    let session = pair.side.session
    session.pendingTokens.remove(pair.token)
    if session.pendingTokens.isEmpty { sessions[session.host]?[ObjectIdentifier(session)] = nil }
    if sessions[session.host]?.isEmpty == true { sessions[session.host] = nil }
    let left = countByHost[session.host, default: 1] - 1
    countByHost[session.host] = left > 0 ? left : nil
    return true
  }

  func hasRoom(for session: RelaySession, _ bounds: BlindRelayServer.Bounds) -> Bool {
    session.pendingTokens.count < bounds.pendingTokensPerSession
      && countByHost[session.host, default: 0] < bounds.pendingTokensPerHost && count < bounds.pendingTokens
  }

  /// What has to go before `session` may name another token when there is no room; `nil` when none may wait at all.
  func victim(for session: RelaySession, _ bounds: BlindRelayServer.Bounds) -> PendingPair? {
    if session.pendingTokens.count >= bounds.pendingTokensPerSession { return oldest(of: session) }
    if countByHost[session.host, default: 0] >= bounds.pendingTokensPerHost { return oldest(of: session.host) }
    // Of equals the one whose oldest token is older: what has waited longest is the least likely to be matched.
    let most = countByHost.values.max() ?? 0
    return countByHost.filter { $0.value == most }.keys.compactMap { oldest(of: $0) }.min { $0.serial < $1.serial }
  }

  private func oldest(of host: IPv4Address) -> PendingPair? {
    let held = sessions[host, default: [:]].values
    let most = held.map(\.pendingTokens.count).max() ?? 0
    return held.filter { $0.pendingTokens.count == most }.compactMap { oldest(of: $0) }.min { $0.serial < $1.serial }
  }

  private func oldest(of session: RelaySession) -> PendingPair? { session.pendingTokens.oldest.flatMap { pairs[$0] } }
}

/// The waiting tokens of one session, oldest first.
struct TokenQueue {
  private var serials: [Bytes32: UInt64] = [:]
  /// With gaps: tokens that have gone stay until they are in the way.
  private var order: [(token: Bytes32, serial: UInt64)] = []

  var count: Int { serials.count }
  var isEmpty: Bool { serials.isEmpty }
  var tokens: [Bytes32] { order.lazy.filter { serials[$0.token] == $0.serial }.map(\.token) }
  var oldest: Bytes32? { order.first { serials[$0.token] == $0.serial }?.token }

  func contains(_ token: Bytes32) -> Bool { serials[token] != nil }

  mutating func append(_ token: Bytes32, _ serial: UInt64) {
    serials[token] = serial
    order.append((token, serial))
  }

  mutating func remove(_ token: Bytes32) {
    serials[token] = nil
    guard order.count > 2 * serials.count + 16 else { return }
    order = order.filter { serials[$0.token] == $0.serial }
  }
}
