import HyperEncoding

/// Handshakes that a server works on or remembers, by the bytes of message 1 and by session index (hyperdht.md
/// 4.6, 7.2, 7.6).
struct HandshakeTable {
  private(set) var sessions: [ServerSession?] = []
  /// Indices in `sessions` without one.
  private var free: [Int] = []
  private var byMessage: [[UInt8]: Int] = [:]
  /// The newest session of each client.
  private var byKey: [Bytes32: Int] = [:]
  private var perHost: [IPv4Address: Int] = [:]
  private(set) var count = 0
  /// Of these, still under way.
  private(set) var activeCount = 0
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

  func hasRoom(for host: IPv4Address) -> Bool {
    activeCount < Limits.Server.concurrentHandshakes && perHost[host, default: 0] < Limits.Server.handshakesPerHost
  }

  /// Where the next session has to be inserted.
  var nextIndex: Int { free.last ?? sessions.count }

  /// Sessions that are held because they have ended.
  var endedCount: Int { ended.count }

  mutating func insert(_ session: ServerSession) {
    if session.index == sessions.count {
      sessions.append(session)
    } else {
      precondition(free.popLast() == session.index, "sessions take the index that `nextIndex` names")
      sessions[session.index] = session
    }
    byMessage[session.message] = session.index
    if let key = session.remoteKey { byKey[key] = session.index }
    perHost[session.clientAddress.host, default: 0] += 1
    count += 1
    activeCount += 1
  }

  /// The session no longer counts as under way: it succeeded or failed. Returns a session to forget in its place when
  /// too many are remembered.
  mutating func settle(_ session: ServerSession) -> ServerSession? {
    guard isMember(session), !session.isSettled else { return nil }
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
    guard !session.isSettled else { return }
    session.isSettled = true
    activeCount -= 1
    let host = session.clientAddress.host
    let left = (perHost[host] ?? 1) - 1
    perHost[host] = left > 0 ? left : nil
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

  mutating func removeAll() {
    sessions = []
    free = []
    byMessage = [:]
    byKey = [:]
    perHost = [:]
    refused = []
    refusedOrder = []
    ended = [:]
    endings = [:]
    count = 0
    activeCount = 0
  }
}
