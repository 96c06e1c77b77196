import HyperCollections
import HyperEncoding

/// Handshakes that a server works on or remembers, by the bytes of message 1 and by session index (hyperdht.md
/// 4.6, 7.2, 7.6).
///
/// No client is refused a place. One that has not shown that it has got message 2 has a place that a newcomer may
/// take; one that has is safe from those.
struct HandshakeTable {
  private(set) var sessions: [ServerSession?] = []
  /// Indices in `sessions` without one.
  private var free: [Int] = []
  private var byMessage: [[UInt8]: Int] = [:]
  /// The newest session of each client.
  private var byKey: [Bytes32: Int] = [:]
  private(set) var count = 0

  /// Under way, by the number of their arrival.
  private var active: [UInt64: ServerSession] = [:]
  private var nextOrder: UInt64 = 0
  private var waiting = WaitingSessions()
  /// Of these, those that have asked a relay, by the side that has named it.
  private var relaying: [RelayPath.Origin: SessionQueue] = [:]
  /// Those of clients that have proved themselves, by client.
  private var proven = HostQueue()

  /// Ended ones that are remembered, by the order of their ends.
  private var ended: [UInt64: ServerSession] = [:]
  /// The place of each in that order, by its index.
  private var endings: [Int: UInt64] = [:]
  private var nextEnding: UInt64 = 0
  /// No remembered one has ended before.
  private var oldestEnding: UInt64 = 0

  /// Refused first messages: copies of them are dropped without work.
  private var refused: Set<[UInt8]> = []
  private var refusedOrder: [[UInt8]] = []

  func session(for message: [UInt8]) -> ServerSession? { byMessage[message].flatMap { sessions[$0] } }

  /// The newest session of the client with this key, as long as it is remembered.
  func latest(of key: Bytes32) -> ServerSession? { byKey[key].flatMap { sessions[$0] } }

  func session(at index: UInt64) -> ServerSession? {
    guard let index = Int(exactly: index), sessions.indices.contains(index) else { return nil }
    return sessions[index]
  }

  func isRefused(_ message: [UInt8]) -> Bool { refused.contains(message) }

  /// Still under way.
  var activeCount: Int { active.count }
  var provenCount: Int { proven.count }
  func waitingCount(of origin: HandshakeOrigin) -> Int { waiting.count(of: origin) }

  /// Sessions that are held because they have ended.
  var endedCount: Int { ended.count }

  /// The session to remove before one of this origin is inserted.
  func victim(for origin: HandshakeOrigin) -> ServerSession? { waiting.victim(for: origin).flatMap { active[$0] } }

  mutating func insert(_ session: ServerSession) {
    session.index = free.popLast() ?? sessions.count
    if session.index == sessions.count { sessions.append(session) } else { sessions[session.index] = session }
    byMessage[session.message] = session.index
    if let key = session.remoteKey { byKey[key] = session.index }
    session.order = nextOrder
    nextOrder += 1
    active[session.order] = session
    waiting.insert(session.waitingEntry)
    count += 1
  }

  mutating func relayStarted(_ session: ServerSession, _ origin: RelayPath.Origin) {
    guard isMember(session), session.standing == .waiting else { return }
    relaying[origin, default: SessionQueue()].insert(session.waitingEntry)
  }

  mutating func relayPaired(_ session: ServerSession) {
    for origin in relaying.keys { relaying[origin]?.remove(session.waitingEntry) }
  }

  /// The session to remove before another one asks a relay that this side has named.
  func relayVictim(of origin: RelayPath.Origin) -> ServerSession? {
    relaying[origin]?.victim.flatMap { active[$0] }
  }

  /// The session's client has got message 2. Returns a session to remove in its place when too many have.
  mutating func prove(_ session: ServerSession) -> ServerSession? {
    guard isMember(session), session.standing == .waiting else { return nil }
    let victim = proven.count < Limits.Server.provenHandshakes ? nil : proven.heaviest.flatMap { active[$0.oldest] }
    waiting.remove(session.waitingEntry)
    relayPaired(session)
    proven.insert(session.order, of: session.chargedClient)
    session.standing = .proven
    return victim
  }

  /// The session no longer counts as under way: it succeeded or failed. Returns a session to forget in its place when
  /// too many are remembered.
  mutating func settle(_ session: ServerSession) -> ServerSession? {
    guard isMember(session), session.standing != .settled else { return nil }
    deactivate(session)
    ended[nextEnding] = session
    endings[session.index] = nextEnding
    nextEnding += 1
    guard ended.count > Limits.Server.rememberedHandshakes else { return nil }
    // Each number is passed once.
    while ended[oldestEnding] == nil { oldestEnding += 1 }
    return ended[oldestEnding]
  }

  private func isMember(_ session: ServerSession) -> Bool {
    sessions.indices.contains(session.index) && sessions[session.index] === session
  }

  private mutating func deactivate(_ session: ServerSession) {
    switch session.standing {
    case .waiting:
      waiting.remove(session.waitingEntry)
      relayPaired(session)
    case .proven: proven.remove(session.order, of: session.chargedClient)
    case .settled: return
    }
    active[session.order] = nil
    session.standing = .settled
  }

  mutating func remove(_ session: ServerSession) {
    guard isMember(session) else { return }
    deactivate(session)
    sessions[session.index] = nil
    free.append(session.index)
    if let ending = endings.removeValue(forKey: session.index) { ended[ending] = nil }
    byMessage[session.message] = nil
    if let key = session.remoteKey, byKey[key] == session.index { byKey[key] = nil }
    count -= 1
    if count == 0, sessions.count > Limits.Server.sparePlaces { giveMemoryBack() }
  }

  /// What a burst of clients has made the tables take, once nothing is in them. The numbers go on.
  private mutating func giveMemoryBack() {
    sessions = []
    free = []
    byMessage = [:]
    byKey = [:]
    active = [:]
    ended = [:]
    endings = [:]
    oldestEnding = nextEnding
  }

  /// Frees the session's slot but keeps dropping copies of its message.
  mutating func refuse(_ session: ServerSession) {
    remove(session)
    guard refused.insert(session.message).inserted else { return }
    refusedOrder.append(session.message)
    if refusedOrder.count > Limits.Server.refusedHandshakes { refused.remove(refusedOrder.removeFirst()) }
  }

  mutating func forgetRefused(_ message: [UInt8]) {
    guard refused.remove(message) != nil else { return }
    refusedOrder.removeAll { $0 == message }
  }

  mutating func removeAll() { self = HandshakeTable() }
}
