import HyperCollections
import HyperEncoding
import HyperEnvironment
import HyperSecretStream

/// The streams of a node that can move to another path, by their ids.
final class Migrations {
  private unowned let node: DHTNode
  private var streams: [UInt32: StreamMigration] = [:]
  /// Charged before anything is verified.
  private var budget: SourceBudget
  /// Streams with something unacknowledged, which are looked at; without any no timer runs.
  private var watched: [UInt32: StreamMigration] = [:]
  private var timer: (any ScheduledAction)?
  /// Looks come at whole intervals from here on, in milliseconds.
  private var firstAddedAt: UInt64 = 0
  private var rendezvous = 0
  private var waiting: [() -> Void] = []

  init(node: DHTNode) {
    self.node = node
    budget = SourceBudget(
      .init(
        perSource: Rate(burst: Limits.Migration.sourceBurst, perSecond: Limits.Migration.sourcePerSecond),
        total: Rate(burst: Limits.Migration.totalBurst, perSecond: Limits.Migration.totalPerSecond),
        maximumSources: Limits.Migration.trackedSources), now: node.environment.nowMilliseconds)
  }

  var count: Int { streams.count }
  /// Whether a timer runs for a look at streams.
  var isLooking: Bool { timer != nil }

  func stream(_ localID: UInt32) -> StreamMigration? { streams[localID] }

  /// Both sides have said in the handshake that they can.
  func add(raw: any TransportStream, stream: EncryptedStream, peer: MovablePeer) {
    // The peer says where it goes, and shows that it receives there.
    raw.followsPeer = false
    if streams.isEmpty { firstAddedAt = node.environment.nowMilliseconds }
    let migration = StreamMigration(node: node, raw: raw, stream: stream, peer: peer)
    streams[raw.localID] = migration
    stream.observe(close: { [weak self, localID = raw.localID] _ in self?.remove(localID) })
    watch(migration)
  }

  /// The stream that a handshake may find another path for: only that of the same two keys.
  func resumable(_ localID: UInt32, by remoteKey: Bytes32?, at ownKey: Bytes32?) -> StreamMigration? {
    guard let migration = streams[localID], migration.remotePublicKey == remoteKey,
      migration.keyPair.publicKey == ownKey
    else { return nil }
    return migration
  }

  private func remove(_ localID: UInt32) {
    watched[localID] = nil
    streams.removeValue(forKey: localID)?.close()
  }

  /// A connection whose path may be lost.
  func probe(_ raw: (any TransportStream)?) {
    if let raw { streams[raw.localID]?.probe() }
  }

  /// Our way into the network is another one.
  func networkChanged() {
    for migration in ordered { migration.begin(.networkChanged) }
  }

  // MARK: Rendezvous

  /// Runs `body` as soon as fewer than the bound are under way; it may find that it is not needed any more. Each one
  /// that runs calls `endRendezvous` once.
  func whenRendezvousIsFree(_ body: @escaping () -> Void) {
    waiting.append(body)
    startWaiting()
  }

  func beginRendezvous() { rendezvous += 1 }

  func endRendezvous() {
    rendezvous -= 1
    // The caller is about to let go of what it has.
    node.environment.defer { [weak self] in self?.startWaiting() }
  }

  private func startWaiting() {
    while rendezvous < Limits.Migration.rendezvous, !waiting.isEmpty { waiting.removeFirst()() }
  }

  /// The order is that of the ids, so that simulations repeat.
  private var ordered: [StreamMigration] { streams.sorted { $0.key < $1.key }.map(\.value) }

  // MARK: Silence

  /// From the first write on that waits for its acknowledgement until a look at which nothing does.
  private func watch(_ migration: StreamMigration) {
    let raw = migration.raw
    guard raw.hasUnacknowledged else {
      raw.onUnacknowledged = { [weak self, weak migration] in
        if let migration { self?.watch(migration) }
      }
      return
    }
    raw.onUnacknowledged = nil
    watched[raw.localID] = migration
    if timer == nil { scheduleLook() }
  }

  private func scheduleLook() {
    let interval = Limits.Migration.silenceInterval
    let age = node.environment.nowMilliseconds - firstAddedAt
    timer = node.environment.schedule(after: interval - age % interval) { [weak self] in self?.look() }
  }

  private func look() {
    timer = nil
    for (id, migration) in watched.sorted(by: { $0.key < $1.key }) where streams[id] === migration {
      migration.look()
      guard streams[id] === migration, !migration.raw.hasUnacknowledged else { continue }
      watched[id] = nil
      watch(migration)
    }
    if !watched.isEmpty, timer == nil { scheduleLook() }
  }

  /// `false`: no datagram of ours.
  func receive(_ bytes: UnsafeRawBufferPointer, from source: Endpoint, on socket: any DatagramSocket) -> Bool {
    guard MigrationMessage.isMigration(bytes) else { return false }
    guard let id = MigrationMessage.streamID(of: bytes), let migration = streams[id], source.port != 0,
      budget.take(source.host, now: node.environment.nowMilliseconds)
    else {
      node.statistics.migrations.refused += 1
      return true
    }
    migration.receive(bytes, from: source, on: socket)
    return true
  }

  func destroy() {
    timer?.cancel()
    timer = nil
    watched = [:]
    waiting = []
    for migration in streams.values { migration.close() }
    streams = [:]
  }
}
