import HyperCollections
import HyperCrypto
import HyperEncoding
import HyperEnvironment
import HyperRPC

/// What a persistent node keeps for others: announced peers and values (hyperdht.md 12). In memory only.
///
/// Made when the node first becomes persistent. Loop-confined.
package final class StorageNode {
  package let configuration: StorageConfiguration
  package internal(set) var statistics = StorageStatistics()

  let environment: any Environment
  let router: Router
  let nodeID: () -> Bytes32?

  var records: RecordStore
  var bumps: TwoGenerationCache<Bytes32, UInt64>
  var refreshes: TwoGenerationCache<Bytes32, Renewable>
  var mutables: TwoGenerationCache<Bytes32, MutableGetResponse>
  var immutables: TwoGenerationCache<Bytes32, [UInt8]>
  private var provenHosts: TwoGenerationCache<IPv4Address, Bool>
  private var unprovenReplies: SourceBudget
  private var plugins: [String: (version: UInt64, handle: (PluginRequest, IncomingRequest) -> Void)] = [:]

  /// An announce that the next block of its refresh chain renews.
  struct Renewable {
    var target: Bytes32
    var peer: PeerRecord
    var isSelfAnnounce: Bool
  }

  /// `nodeID` gives our id on the network, `nil` while we are ephemeral.
  package init(
    environment: any Environment, router: Router, configuration: StorageConfiguration = StorageConfiguration(),
    nodeID: @escaping () -> Bytes32?
  ) {
    self.environment = environment
    self.router = router
    self.configuration = configuration
    self.nodeID = nodeID
    let now = environment.nowMilliseconds
    records = RecordStore(configuration.records, now: now)
    bumps = TwoGenerationCache(
      .init(maximumEntries: configuration.maximumBumps, maximumAge: configuration.maximumAge), now: now)
    refreshes = TwoGenerationCache(
      .init(
        maximumEntries: configuration.maximumRefreshes,
        maximumEntriesPerHost: configuration.records.maximumRecordsPerHost,
        maximumAge: configuration.maximumAge), now: now)
    mutables = TwoGenerationCache(StorageNode.valueBounds(configuration), now: now)
    immutables = TwoGenerationCache(StorageNode.valueBounds(configuration), now: now)
    provenHosts = TwoGenerationCache(
      .init(maximumEntries: configuration.maximumTrackedHosts, maximumAge: configuration.proofAge), now: now)
    unprovenReplies = SourceBudget(
      .init(perSource: configuration.unprovenReplies, maximumSources: configuration.maximumTrackedHosts), now: now)
  }

  private static func valueBounds<Value>(_ configuration: StorageConfiguration)
    -> TwoGenerationCache<Bytes32, Value>.Bounds
  {
    .init(
      maximumEntries: configuration.maximumValues, maximumBytes: configuration.maximumValueBytes,
      maximumEntriesPerHost: configuration.maximumValuesPerHost, maximumAge: configuration.maximumValueAge)
  }

  var now: UInt64 { environment.nowMilliseconds }

  /// Handles commands 2 to 10. `false` means that the command is unknown here: an ephemeral node stores nothing.
  /// Requests that lack something, do not decode or do not verify get no reply.
  package func handle(_ request: IncomingRequest) -> Bool {
    guard let command = Command(rawValue: request.command), let id = nodeID() else { return false }
    if request.token != nil { provenHosts.set(request.from.host, true, now: now) }
    switch command {
    case .peerHandshake, .peerHolepunch: return false
    case .findPeer: findPeer(request)
    case .lookup: lookup(request)
    case .announce: announce(request, nodeID: id)
    case .unannounce: unannounce(request, nodeID: id)
    case .mutablePut: mutablePut(request)
    case .mutableGet: mutableGet(request)
    case .immutablePut: immutablePut(request)
    case .immutableGet: immutableGet(request)
    case .plugin: plugin(request)
    }
    return true
  }

  /// Answers PLUGIN requests of that name and version; others are dropped. A later registration replaces an earlier
  /// one.
  package func register(
    plugin name: String, version: UInt64, _ handle: @escaping (PluginRequest, IncomingRequest) -> Void
  ) {
    plugins[name] = (version, handle)
  }

  /// Forgets a peer here, as an UNANNOUNCE would (hyperdht.md 13, lookupAndUnannounce).
  package func forget(publicKey: Bytes32, target: Bytes32) {
    records.remove(publicKey: publicKey, target: target)
    if target == Target.of(publicKey: publicKey) { router.remove(target: target) }
  }

  package func destroy() {
    records.removeAll()
    bumps.removeAll()
    refreshes.removeAll()
    mutables.removeAll()
    immutables.removeAll()
    plugins = [:]
  }

  private func plugin(_ request: IncomingRequest) {
    guard let value = request.value, let message = try? CompactReader.decode(PluginRequest.self, from: value),
      let plugin = plugins[message.plugin], plugin.version == message.version
    else { return drop(\.malformed) }
    plugin.handle(message, request)
  }

  /// Counts a request that gets no reply.
  func drop(_ reason: WritableKeyPath<StorageStatistics, Int>) { statistics[keyPath: reason] += 1 }

  /// Sends a value with token and closer nodes, unless the source may be forged and has had too much already.
  func replyWithValue(_ request: IncomingRequest, _ value: [UInt8]?) {
    if let value, provenHosts.peek(request.from.host, now: now) == nil,
      !unprovenReplies.take(request.from.host, cost: UInt64(value.count), now: now)
    {
      return drop(\.unprovenSources)
    }
    request.reply(value)
  }
}

/// Requests that got no reply, and sizes.
package struct StorageStatistics: Hashable, Sendable {
  /// Something is missing or does not decode.
  package var malformed = 0
  /// Signature or hash does not fit.
  package var unverified = 0
  /// Value over the limit, or the host over its share.
  package var refused = 0
  /// A refresh block that nothing waits for.
  package var unknownRefreshes = 0
  package var unprovenSources = 0

  package init() {}
}

extension StorageNode {
  package var recordCount: Int { records.count }
  package var mutableCount: Int { mutables.count }
  package var immutableCount: Int { immutables.count }
}
