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
  private var unprovenReplies: SourceBudget
  private var provenReplies: KeyedBudget<Endpoint>
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
        entriesPerHost: configuration.records.recordsPerHost,
        maximumAge: configuration.maximumAge), now: now)
    mutables = TwoGenerationCache(StorageNode.valueBounds(configuration), now: now)
    immutables = TwoGenerationCache(StorageNode.valueBounds(configuration), now: now)
    unprovenReplies = SourceBudget(
      .init(
        perSource: configuration.unprovenReplies, total: configuration.totalUnprovenReplies,
        maximumSources: configuration.maximumTrackedSources), now: now)
    provenReplies = KeyedBudget(
      .init(perSource: configuration.provenReplies, maximumSources: configuration.maximumTrackedSources), now: now)
  }

  private static func valueBounds<Value>(_ configuration: StorageConfiguration)
    -> TwoGenerationCache<Bytes32, Value>.Bounds
  {
    .init(
      maximumEntries: configuration.maximumValues, maximumBytes: configuration.maximumValueBytes,
      entriesPerHost: configuration.valuesPerHost, bytesPerHost: configuration.valueBytesPerHost,
      maximumAge: configuration.maximumValueAge)
  }

  var now: UInt64 { environment.nowMilliseconds }

  /// Handles commands 2 to 10. `false` means that the command is unknown here: an ephemeral node stores nothing.
  /// Requests that lack something, do not decode or do not verify get no reply.
  package func handle(_ request: IncomingRequest) -> Bool {
    guard let command = Command(rawValue: request.command), let id = nodeID() else { return false }
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

  /// Counts a request that gets no reply, or not all of it.
  func drop(_ reason: WritableKeyPath<StorageStatistics, Int>) { statistics[keyPath: reason] += 1 }

  /// Sends a value with token and closer nodes. A source that has had too many bytes of values gets the rest of the
  /// reply; if it may be forged, it is asked to show itself (hyperdht.md B-11).
  func replyWithValue(_ request: IncomingRequest, _ value: [UInt8]?) {
    guard let value, !mayHave(request, UInt64(value.count)) else { return request.reply(value) }
    drop(\.shortened)
    request.reply(nil)
    request.verifySource()
  }

  private func mayHave(_ request: IncomingRequest, _ bytes: UInt64) -> Bool {
    request.isProven
      ? provenReplies.take(request.from.endpoint, cost: bytes, now: now)
      : unprovenReplies.take(request.from.host, cost: bytes, now: now)
  }
}

/// Requests that got no reply, or not all of it.
package struct StorageStatistics: Hashable, Sendable {
  /// Something is missing or does not decode.
  package var malformed = 0
  /// Signature or hash does not fit.
  package var unverified = 0
  /// Value over the limit.
  package var refused = 0
  /// A refresh block that nothing waits for.
  package var unknownRefreshes = 0
  /// Answered without the value: the source has had too many bytes.
  package var shortened = 0

  package init() {}
}

extension StorageNode {
  package var recordCount: Int { records.count }
  package var mutableCount: Int { mutables.count }
  package var immutableCount: Int { immutables.count }
}
