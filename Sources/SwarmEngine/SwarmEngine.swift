import HyperCrypto
import HyperDHTEngine
import HyperEncoding
import HyperEnvironment
import HyperRPC
import HyperSecretStream

/// The swarm over a HyperDHT node.
package typealias SwarmEngine = SwarmCore<DHTNode>

extension DHTNode: SwarmDHT {
  package var isRandomizedNAT: Bool { rpc.isRandomized }
  package var isOnline: Bool { !rpc.isOffline }

  package func dial(_ publicKey: Bytes32, options: SwarmDialOptions) -> EncryptedStream {
    var connect = ConnectOptions()
    connect.keyPair = options.keyPair
    connect.relayAddresses = options.relayAddresses
    connect.relayThrough = options.relayThrough.map { .keys([$0]) }
    return self.connect(to: publicKey, options: connect)
  }

  package func makeSwarmServer(_ options: SwarmServerOptions) -> DHTSwarmServer {
    DHTSwarmServer(node: self, options: options)
  }

  package func startQuery(
    _ request: SwarmQueryRequest, onPeers: @escaping ([SwarmPeerRecord]) -> Void,
    onFinished: @escaping (Bool) -> Void
  ) -> any SwarmQuery {
    if request.operation == .withdraw { return Withdrawal(request, self, onFinished) }
    var options = DHTQueryOptions()
    options.seeds = request.seeds
    options.onlySeeds = request.onlySeeds
    let query: DHTQuery<LookupResult>
    switch request.operation {
    case .withdraw, .lookup:
      query = lookup(request.topic, options: options)
    case .lookupAndUnannounce:
      query = lookupAndUnannounce(request.topic, keyPair: request.keyPair, options: options)
    case .announce(let relayAddresses, let clear):
      var announceOptions = AnnounceOptions()
      announceOptions.query = options
      announceOptions.clear = clear
      query = announce(
        request.topic, keyPair: request.keyPair, relayAddresses: relayAddresses, options: announceOptions)
    }
    query.onReply = { reply in
      onPeers(reply.peers.map { SwarmPeerRecord(publicKey: $0.publicKey, relayAddresses: $0.relayAddresses) })
    }
    query.onFinished = { result in
      if case .success = result { onFinished(true) } else { onFinished(false) }
    }
    start()
    // The caller has the query in hand before anything is reported.
    environment.defer { query.start() }
    return query
  }

  package func observeNetworkChange(_ observer: @escaping () -> Void) -> () -> Void {
    let ends = [onNetworkChange.observe { observer() }, onAwake.observe { observer() }]
    return { for end in ends { end() } }
  }
  package func observeNetworkUpdate(_ observer: @escaping () -> Void) -> () -> Void {
    onNetworkUpdate.observe { observer() }
  }
  package func suspendNode(_ completion: @escaping () -> Void) { suspend(completion) }
  package func resumeNode(_ completion: @escaping (SwarmStreamFailure?) -> Void) {
    resume { result in
      if case .failure(let error) = result {
        completion(SwarmStreamFailure(code: error.code, description: error.description))
      } else {
        completion(nil)
      }
    }
  }
  package func destroyNode(force: Bool, _ completion: @escaping () -> Void) { destroy(force: force, completion) }
}

extension DHTQuery: SwarmQuery where Item == LookupResult {}

/// The announcements of a topic, on their way out of the nodes that hold them.
private final class Withdrawal: SwarmQuery {
  private let request: SwarmQueryRequest
  private weak var node: DHTNode?
  var closestNodes: [Endpoint] { request.seeds }

  init(_ request: SwarmQueryRequest, _ node: DHTNode, _ onFinished: @escaping (Bool) -> Void) {
    self.request = request
    self.node = node
    node.withdraw(request.topic, keyPair: request.keyPair, from: request.seeds) { onFinished(true) }
  }

  func destroy() { node?.cancelWithdrawal(request.topic, keyPair: request.keyPair, from: request.seeds) }
}

/// The swarm's one DHT server. Made again for each attempt to listen, because a server that failed to start is closed.
package final class DHTSwarmServer: SwarmServer {
  package var onConnection: ((EncryptedStream) -> Void)?
  package private(set) var server: DHTServer?
  private let node: DHTNode
  private let options: ServerOptions

  init(node: DHTNode, options: SwarmServerOptions) {
    self.node = node
    var serverOptions = ServerOptions()
    serverOptions.handshakeClearWait = options.handshakeClearWait
    serverOptions.relayThrough = .choose(options.relayThrough)
    serverOptions.firewall = { publicKey, payload, address, verdict in
      options.firewall(SwarmFirewallRequest(publicKey: publicKey, address: address, payload: payload)) {
        verdict($0 ? .accept : .reject)
      }
    }
    self.options = serverOptions
  }

  package var relayAddresses: [Endpoint] { server?.relayAddresses ?? [] }

  package func listen(keyPair: KeyPair, _ completion: @escaping (Result<Void, SwarmStreamFailure>) -> Void) {
    let server = node.makeServer(options: options)
    self.server = server
    server.onConnection = { [weak self] stream in
      guard let self, let onConnection = self.onConnection else { return stream.destroy() }
      onConnection(stream)
    }
    server.listen(keyPair: keyPair) { result in
      completion(result.mapError { SwarmStreamFailure(code: $0.code, description: $0.description) })
    }
  }

  package func suspendServer(_ completion: @escaping () -> Void) {
    guard let server else { return node.environment.defer(completion) }
    server.suspend(completion)
  }

  package func resumeServer(_ completion: @escaping () -> Void) {
    server?.resume()
    node.environment.defer(completion)
  }

  package func closeServer(_ completion: @escaping () -> Void) {
    guard let server else { return node.environment.defer(completion) }
    server.close(completion)
  }
}

extension EncryptedStream: SwarmStream {
  package var transportStatistics: TransportStatistics? { transport?.statistics }
  package var isOnTheMove: Bool { isMoving?() ?? false }
  package var messageBytes: UInt64 { statistics.messageBytesRead &+ statistics.messageBytesWritten }
  package var remoteHost: IPv4Address? { transport?.remote?.host }

  package func observe(
    open: (() -> Void)?, authenticated: (() -> Void)?, close: ((SwarmStreamFailure?) -> Void)?
  ) {
    let report: (EncryptedStreamError?) -> Void = { error in
      close?(error.map { SwarmStreamFailure(code: $0.code, description: $0.description) })
    }
    observe(open: open, authenticated: authenticated, close: report)
  }

  package func probe(_ acknowledged: ((Bool) -> Void)?) {
    guard isOpen else { return }
    write([])
    if let acknowledged { flush(acknowledged) }
  }

  package func abort(_ reason: SwarmAbortReason) {
    switch reason {
    case .suspended, .destroyed: destroy()
    case .duplicateConnection, .banned, .limit, .networkChanged: destroy(EncryptedStreamError(reason: reason))
    }
  }
}
