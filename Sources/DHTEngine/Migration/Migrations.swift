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
  private var timer: (any ScheduledAction)?
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

  func stream(_ localID: UInt32) -> StreamMigration? { streams[localID] }

  /// Both sides have said in the handshake that they can.
  func add(raw: any TransportStream, stream: EncryptedStream, peer: MovablePeer) {
    streams[raw.localID] = StreamMigration(node: node, raw: raw, stream: stream, peer: peer)
    stream.observe(close: { [weak self, localID = raw.localID] _ in self?.remove(localID) })
    if timer == nil { startTicking() }
  }

  /// The stream that a handshake may find another path for: only that of the same two keys.
  func resumable(_ localID: UInt32, by remoteKey: Bytes32?, at ownKey: Bytes32?) -> StreamMigration? {
    guard let migration = streams[localID], migration.remotePublicKey == remoteKey,
      migration.keyPair.publicKey == ownKey
    else { return nil }
    return migration
  }

  private func remove(_ localID: UInt32) {
    streams.removeValue(forKey: localID)?.close()
    guard streams.isEmpty else { return }
    timer?.cancel()
    timer = nil
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

  private func startTicking() {
    timer = node.environment.schedule(after: Limits.Migration.silenceInterval) { [weak self] in
      guard let self else { return }
      timer = nil
      for migration in ordered { migration.tick() }
      if !streams.isEmpty, timer == nil { startTicking() }
    }
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
    waiting = []
    for migration in streams.values { migration.close() }
    streams = [:]
  }
}
