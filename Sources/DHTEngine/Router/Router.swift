import HyperCollections
import HyperEncoding
import HyperEnvironment
import HyperRPC

/// Where servers are, and the forwarding of handshakes and hole-punch messages to them (hyperdht.md 5).
///
/// Every node runs one, also while ephemeral. Loop-confined.
package final class Router {
  package let configuration: RouterConfiguration
  package internal(set) var statistics = RouterStatistics()

  /// Our own addresses; messages are never forwarded to them.
  package var isOwnAddress: ((Endpoint) -> Bool)?

  let environment: any Environment
  private var table: TwoGenerationCache<Bytes32, Entry>
  var budget: ForwardBudget
  /// Private and reserved addresses that take part in routing themselves.
  var localPeers: TwoGenerationCache<Endpoint, Bool>
  var pendingReplies = 0
  private(set) var isDestroyed = false

  struct Entry {
    /// The encoded ``PeerRecord``.
    var record: [UInt8]
    /// Where to forward to; `nil` for local servers.
    var relay: Endpoint?
    var server: (any LocalServer)?
  }

  package init(environment: any Environment, configuration: RouterConfiguration = RouterConfiguration()) {
    self.environment = environment
    self.configuration = configuration
    let now = environment.nowMilliseconds
    table = TwoGenerationCache(
      .init(
        maximumEntries: configuration.maximumEntries, entriesPerHost: configuration.entriesPerHost,
        maximumAge: configuration.maximumAge), now: now)
    budget = ForwardBudget(configuration, now: now)
    localPeers = TwoGenerationCache(
      .init(maximumEntries: configuration.maximumLocalPeers, maximumAge: configuration.localPeerAge), now: now)
  }

  /// Servers in the table, local ones included.
  package var count: Int { table.count }

  /// Stores an announced server; `relay` is the source of its ANNOUNCE. Ignored while a local server has the target.
  /// - Returns: false when nothing was stored.
  @discardableResult
  package func set(target: Bytes32, record: PeerRecord, relay: Endpoint) -> Bool {
    table.set(
      target, Entry(record: record.encoded, relay: relay), host: relay.host, now: environment.nowMilliseconds)
  }

  /// Forgets an announced server. Local ones stay, whatever a message says (hyperdht.md B-13).
  package func remove(target: Bytes32) { table.remove(target) }

  /// Puts a local server in until ``unpin(target:)``. The router keeps it alive.
  package func pin(target: Bytes32, record: PeerRecord, server: any LocalServer) {
    guard !isDestroyed else { return }
    table.pin(target, Entry(record: record.encoded, relay: nil, server: server))
  }

  /// Removes a local server; replies it still owes are dropped.
  package func unpin(target: Bytes32) { table.unpin(target) }

  package func localServer(target: Bytes32) -> (any LocalServer)? { entry(target)?.server }

  /// The encoded record of a server, as FIND_PEER answers it. Extends the life of the entry.
  package func record(target: Bytes32) -> [UInt8]? { entry(target)?.record }

  /// The address from which a server has announced itself to us.
  package func relay(target: Bytes32) -> Endpoint? { entry(target)?.relay }

  /// Forgets everything. Replies of local servers that come later are dropped.
  package func destroy() {
    isDestroyed = true
    table.removeAll()
  }

  func entry(_ target: Bytes32?) -> Entry? {
    guard let target else { return nil }
    return table.get(target, now: environment.nowMilliseconds)
  }
}

/// What the router has done, for `doctor` and tests.
package struct RouterStatistics: Hashable, Sendable {
  package var handshakesForwarded = 0
  package var holepunchesForwarded = 0
  /// Final responses sent to clients on behalf of servers.
  package var responsesForwarded = 0
  /// Messages answered by local servers.
  package var answered = 0
  /// Messages that do not decode, or come in a mode or without an address they need.
  package var malformed = 0
  /// Messages for servers we do not know.
  package var unroutable = 0
  /// Messages towards addresses that are not forwarded to.
  package var refusedDestinations = 0
  /// Messages over the rate of their source, over what is left for it of that of their destination or of all, or over
  /// the limit of pending replies.
  package var rateLimited = 0

  package init() {}
}
