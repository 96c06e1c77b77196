import HyperCrypto
import HyperDHTEngine
import HyperEncoding
import HyperRPC
import HyperRuntime

extension HyperDHT {
  /// A node and, if it is a permanent one, its id.
  public struct Node: Hashable, Sendable {
    /// The node's id in the table's space of keys; `nil` for ephemeral nodes.
    public var id: Bytes32?
    /// The node's address.
    public var endpoint: Endpoint

    init(_ address: NodeAddress) {
      id = address.id
      endpoint = address.endpoint
    }
  }

  /// An announced peer.
  public struct PeerRecord: Hashable, Sendable {
    /// The peer's key.
    public var publicKey: Bytes32
    /// Nodes that route to the peer, at most three of one record.
    public var relayAddresses: [Endpoint]
  }

  /// One node's answer to a lookup (hyperdht.md 2.6).
  public struct LookupReply: Hashable, Sendable {
    /// The node that answered.
    public var from: Node
    /// Our address as that node sees it.
    public var to: Endpoint
    /// What the node has under the topic, 20 at most.
    public var peers: [PeerRecord]
    /// The moment, as the time since 1970, at which an announcer asked the peers that look the topic up to look again;
    /// zero is never.
    public var bump: Duration
  }

  /// One node's answer to a search for a server.
  public struct FindPeerReply: Hashable, Sendable {
    /// The node that answered.
    public var from: Node
    /// Our address as that node sees it.
    public var to: Endpoint
    /// The server, and nodes that route to it.
    public var peer: PeerRecord
  }

  /// A node's answer to a ping.
  public struct Pong: Hashable, Sendable {
    /// The node that answered.
    public var from: Node
    /// Our address as that node sees it.
    public var to: Endpoint
    /// From the first transmission, in whole milliseconds.
    public var roundTripTime: Duration
  }

  /// A stored value.
  public struct StoredValue: Hashable, Sendable {
    /// The bytes; those of an immutable value hash to what was asked for.
    public var value: [UInt8]
    /// 0 for immutable values.
    public var sequence: UInt64
    /// The owner's signature of a mutable value, which has been checked; `nil` for immutable values.
    public var signature: Bytes64?
    /// The node that answered.
    public var from: Node
  }

  /// What has come of storing a value.
  public struct StoreResult: Hashable, Sendable {
    /// What to ask for: the hash of an immutable value, the public key of a mutable one.
    public var key: Bytes32
    /// The sequence number of a mutable value, 0 for an immutable one.
    public var sequence: UInt64
    /// Nodes that confirmed the store, 1 to 20.
    public var stored: Int
    /// The nodes that were asked to store, closest first, at most 20.
    public var closestNodes: [Endpoint]
  }

  /// Where a look-up begins.
  public struct StartingPoints: Hashable, Sendable {
    /// Asked first: the closest nodes of an earlier look-up, for one. With 20 of them the routing table is only a
    /// fallback.
    public var nodes: [Endpoint]
    /// Asks `nodes` and no others.
    public var onlyNodes: Bool

    /// Where a query begins.
    public init(nodes: [Endpoint] = [], onlyNodes: Bool = false) {
      self.nodes = nodes
      self.onlyNodes = onlyNodes
    }

    var options: DHTQueryOptions {
      var options = DHTQueryOptions()
      options.seeds = nodes
      options.onlySeeds = onlyNodes
      return options
    }
  }

  // MARK: Peers

  /// The peers that are announced under the topic, as the nodes' answers come in. Begins at once, and ends when the
  /// closest nodes were asked; letting go of the sequence ends the search. Up to 1024 answers wait to be read, further
  /// ones are dropped. A node without a peer under the topic is no element.
  ///
  /// The sequence throws `networkUnreachable` when no node has answered, `ioSuspended` and `requestDestroyed` when the
  /// node was suspended or destroyed meanwhile, and `nodeDestroyed`.
  public func lookup(_ topic: Bytes32, from start: StartingPoints = .init()) -> Events<LookupReply, DHTError> {
    stream(TracedCall("hyperdht.lookup", topic)) {
      $0.lookup(topic, options: start.options)
    } map: {
      HyperDHT.LookupReply($0)
    }
  }

  /// Which nodes hold an announcement of the server with this public key, as their answers come in: begin, end, bounds
  /// and errors as of `lookup`. What they say is not checked: anyone may store a record that names nodes.
  public func findPeer(
    _ publicKey: Bytes32, from start: StartingPoints = .init()
  ) -> Events<FindPeerReply, DHTError> {
    stream(TracedCall("hyperdht.find_peer", publicKey)) {
      $0.findPeer(publicKey, options: start.options)
    } map: {
      FindPeerReply(from: Node($0.from), to: $0.to, peer: PeerRecord($0.peer))
    }
  }

  /// Announces the key under the topic, at up to 20 nodes closest to it. Nodes keep the announcement for about 20
  /// minutes: `Hyperswarm.join` keeps it fresh.
  /// - `relayAddresses`: nodes that route to the server with this key; storing nodes keep the first three.
  /// - `bump`: the time since 1970, rounded up to milliseconds, for `LookupReply.bump`: asks the peers that look the
  ///   topic up to look again. Zero does not.
  /// - Returns: the nodes closest to the topic that have answered, closest first.
  /// - Throws: `networkUnreachable` when no node has answered; `tooFewNodes` when there was none to store at; the last
  ///   node's reason when none has stored it: `requestTimeout`, `remote`, or `other` for an answer without a token;
  ///   `cancelled` with the task: some nodes may have the announcement then; `ioSuspended`; `requestDestroyed`;
  ///   `nodeDestroyed`.
  @discardableResult
  public nonisolated(nonsending) func announce(
    _ topic: Bytes32, keyPair: KeyPair, relayAddresses: [Endpoint] = [], bump: Duration = .zero,
    from start: StartingPoints = .init()
  ) async throws(DHTError) -> [Endpoint] {
    let node = node
    return try await operation(TracedCall("hyperdht.announce", topic)) { settle in
      var options = AnnounceOptions()
      options.bump = bump.wholeMilliseconds
      options.query = start.options
      let query = node.value.announce(topic, keyPair: keyPair, relayAddresses: relayAddresses, options: options)
      query.onFinished = { [unowned query] in settle($0.map { query.closestNodes }) }
      query.start()
      return { query.destroy() }
    }
  }

  /// Withdraws an announcement: looks the topic up and tells each node that seems to hold the key's record. Nodes that
  /// do not answer hold nothing up beyond their requests: what they store expires.
  /// - Throws: `networkUnreachable` when no node has answered; `cancelled` with the task, and what has not been
  ///   withdrawn expires; `ioSuspended`; `requestDestroyed`; `nodeDestroyed`.
  public nonisolated(nonsending) func unannounce(
    _ topic: Bytes32, keyPair: KeyPair, from start: StartingPoints = .init()
  ) async throws(DHTError) {
    let node = node
    try await operation(TracedCall("hyperdht.unannounce", topic)) { settle in
      let query = node.value.lookupAndUnannounce(topic, keyPair: keyPair, options: start.options)
      query.onFinished = settle
      query.start()
      return { query.destroy() }
    }
  }

  /// Withdraws an announcement; the elements are the answers of the look-up that it takes. Ends when the last node was
  /// told; letting go of the sequence ends the look-up. Bounds and errors as of `lookup`.
  public func lookupAndUnannounce(
    _ topic: Bytes32, keyPair: KeyPair, from start: StartingPoints = .init()
  ) -> Events<LookupReply, DHTError> {
    stream(TracedCall("hyperdht.lookup_and_unannounce", topic)) {
      $0.lookupAndUnannounce(topic, keyPair: keyPair, options: start.options)
    } map: {
      HyperDHT.LookupReply($0)
    }
  }

  // MARK: Nodes

  /// Asks a node for a sign of life, four times at most (dht-rpc.md 7.1).
  /// - `size`: bytes of padding, 0 to 1,992: whether packets of that size get there.
  /// - `timeToLive`: routers that the packet may pass, 0 is the system's number: to open a NAT and go no further.
  /// - `socket`: of the node, to send from.
  /// - Throws: as `request`; `requestTimeout` after four seconds, or somewhat later on a slow path.
  public nonisolated(nonsending) func ping(
    _ endpoint: Endpoint, size: Int = 0, timeToLive: UInt8 = 0, through socket: NodeSocket = .current
  ) async throws(DHTError) -> Pong {
    let node = node
    return try await operation(TracedCall("hyperdht.ping")) { settle in
      let session = node.value.rpc.makeSession()
      let options = HyperRPC.RequestOptions(
        session: session, socket: socket.chosen(by: node.value), ttl: timeToLive)
      node.value.rpc.ping(endpoint, size: max(size, 0), options: options) { result in
        settle(
          result.map { Pong(from: Node($0.from), to: $0.to, roundTripTime: Duration(milliseconds: $0.roundTripTime)) }
            .mapError(DHTError.init))
      }
      return { session.destroy() }
    }
  }

  /// Asks for the nodes closest to the target: those that have answered and have an id, closest first, at most 20.
  /// - Throws: `networkUnreachable` when no node has answered; `cancelled` with the task; `ioSuspended`;
  ///   `requestDestroyed`; `nodeDestroyed`.
  public nonisolated(nonsending) func findNode(_ target: Bytes32) async throws(DHTError) -> [Node] {
    let node = node
    return try await operation(TracedCall("hyperdht.find_node", target)) { settle in
      let query = node.value.rpc.findNode(target: target)
      query.onFinished = { [unowned query] result in
        settle(query.outcome(result).map { query.closestReplies.map { Node($0.from) } })
      }
      query.start()
      return { query.destroy() }
    }
  }

  // MARK: Values

  /// Stores a value of at most 1024 bytes under its BLAKE2b-256 hash, for about two days, at up to 20 nodes
  /// (hyperdht.md 12.7). Succeeds when one of them has confirmed.
  /// - Throws: `valueTooLarge`, with nothing sent; else as `announce`.
  public nonisolated(nonsending) func immutablePut(
    _ value: [UInt8], from start: StartingPoints = .init()
  ) async throws(DHTError) -> StoreResult {
    let node = node
    return try await operation(TracedCall("hyperdht.immutable_put")) { settle in
      return node.value.immutablePut(value, options: start.options) { result in
        settle(
          result.map { StoreResult(key: $0.target, sequence: 0, stored: $0.stored, closestNodes: $0.closestNodes) })
      }
    }
  }

  /// The value with this hash, from the first node that has it; `nil` when no node has it. An answer with another hash
  /// is passed over.
  /// - Throws: as `findNode`.
  public nonisolated(nonsending) func immutableGet(
    _ hash: Bytes32, from start: StartingPoints = .init()
  ) async throws(DHTError) -> StoredValue? {
    let node = node
    return try await operation(TracedCall("hyperdht.immutable_get", hash)) { settle in
      return node.value.immutableGet(hash, options: start.options) { result in
        settle(result.map { $0.map { StoredValue(value: $0.value, sequence: 0, signature: nil, from: Node($0.from)) } })
      }
    }
  }

  /// Stores a signed value of at most 1024 bytes under the key, for about two days, at up to 20 nodes (hyperdht.md
  /// 12.6). A higher sequence number replaces a lower one. Succeeds when one node has confirmed.
  /// - Throws: `valueTooLarge`, with nothing sent; `sequenceReused` when the nodes hold another value under this
  ///   number; `sequenceTooLow` when they hold a newer one: the reason of the last node to answer counts; else as
  ///   `announce`.
  public nonisolated(nonsending) func mutablePut(
    _ value: [UInt8], keyPair: KeyPair, sequence: UInt64 = 0, from start: StartingPoints = .init()
  ) async throws(DHTError) -> StoreResult {
    let node = node
    return try await operation(TracedCall("hyperdht.mutable_put", keyPair.publicKey)) { settle in
      let options = start.options
      return node.value.mutablePut(keyPair: keyPair, value: value, sequence: sequence, options: options) { result in
        settle(
          result.map {
            StoreResult(key: $0.publicKey, sequence: $0.sequence, stored: $0.stored, closestNodes: $0.closestNodes)
          })
      }
    }
  }

  /// The value of the key with the highest sequence number of at least `sequence`, `nil` when no node has one.
  /// - `latest`: `false` takes the first value that is found: sooner, and perhaps not the newest.
  /// - `refresh`: stores what was found again at the closest nodes, which renews its life, before the call returns. Not
  ///   done where `latest` is `false`.
  /// - Throws: as `findNode`; with `refresh`, `tooFewNodes` when nothing was found and no node could store.
  public nonisolated(nonsending) func mutableGet(
    _ publicKey: Bytes32, sequence: UInt64 = 0, latest: Bool = true, refresh: Bool = false,
    from start: StartingPoints = .init()
  ) async throws(DHTError) -> StoredValue? {
    let node = node
    return try await operation(TracedCall("hyperdht.mutable_get", publicKey)) { settle in
      var options = MutableGetOptions()
      options.sequence = sequence
      options.latest = latest
      options.refresh = refresh
      options.query = start.options
      return node.value.mutableGet(publicKey, options: options) { result in
        settle(
          result.map {
            $0.map {
              StoredValue(value: $0.value, sequence: $0.sequence, signature: $0.signature, from: Node($0.from))
            }
          })
      }
    }
  }

  // MARK: Streams of answers

  private func stream<Item, Element: Sendable>(
    _ call: TracedCall, _ make: @escaping @Sendable (DHTNode) -> DHTQuery<Item>,
    map: @escaping @Sendable (Item) -> Element
  ) -> Events<Element, DHTError> {
    let queue = EventQueue<Element, DHTError>(capacity: Limits.queryResults)
    let node = node
    let loop = loop
    let traced = TracedProcess(call)
    let isPosted = loop.post { [weak queue] in
      // The sequence may have been let go of meanwhile.
      guard let queue else { return traced.end(.success(())) }
      let query = make(node.value)
      // The query holds the queue weakly: its release by the last reader ends the search.
      query.onReply = { [weak queue] in
        traced.answered()
        _ = queue?.push(map($0))
      }
      query.onFinished = { [weak queue] in
        traced.end(queue == nil ? .success(()) : $0)
        queue?.finish($0)
      }
      let bound = LoopBound(query)
      queue.whenReleased {
        loop.post {
          traced.end(.success(()))
          bound.value.destroy()
        }
      }
      query.start()
    }
    if !isPosted {
      traced.end(.failure(.nodeDestroyed))
      queue.finish(.failure(.nodeDestroyed))
    }
    return Events(queue)
  }
}

extension HyperDHT.PeerRecord {
  init(_ record: HyperDHTEngine.PeerRecord) {
    publicKey = record.publicKey
    relayAddresses = record.relayAddresses
  }
}

extension HyperDHT.LookupReply {
  init(_ result: LookupResult) {
    from = HyperDHT.Node(result.from)
    to = result.to
    peers = result.peers.map { HyperDHT.PeerRecord($0) }
    bump = Duration(milliseconds: result.bump)
  }
}
