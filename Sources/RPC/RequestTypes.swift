import HyperEncoding
import HyperEnvironment

/// What to ask of a node.
package struct RequestMessage {
  package var command: UInt64
  package var target: Bytes32?
  package var token: Bytes32?
  /// An empty value is written as present and empty, `nil` as absent; receivers see no value for both.
  package var value: [UInt8]?
  /// The name space of `command`: this layer's or the application's.
  package var isInternal: Bool

  package init(
    command: UInt64, target: Bytes32? = nil, token: Bytes32? = nil, value: [UInt8]? = nil, isInternal: Bool = false
  ) {
    self.command = command
    self.target = target
    self.token = token
    self.value = value
    self.isInternal = isInternal
  }
}

/// How to ask.
package struct RequestOptions {
  /// Retransmissions after the first transmission.
  package var retries = Limits.requestRetries
  /// Cancels the request together with others.
  package var session: RequestSession?
  /// The socket to send from instead of the node's own; its datagrams must be fed to ``RPCNode/receive(_:from:on:)``.
  package var socket: (any DatagramSocket)?
  /// IP time to live; 0 is the default of 64.
  package var ttl: UInt8 = 0
  /// Milliseconds per transmission; `nil` is 1000, or what the path needs for requests that the asked node answers by
  /// itself.
  package var timeout: UInt64?
  /// Answered by the asked node itself and at once, as the visits of a query: its round-trip time is that of the path.
  package var isVisit = false
  /// The destination has only been claimed by others: its silence says nothing about the network.
  var isUnsolicited = false
  /// Takes an answer with the right transaction id from any address (relayed requests, dht-rpc.md 5.3).
  package var acceptsAnswerFromAnyAddress = false
  /// Bypasses the congestion window.
  package var isForced = false
  /// The id under which the destination may be in the routing table: it is removed when the request times out.
  package var destinationID: Bytes32?

  package init() {}

  package init(
    retries: Int = Limits.requestRetries, session: RequestSession? = nil, socket: (any DatagramSocket)? = nil,
    ttl: UInt8 = 0
  ) {
    self.retries = retries
    self.session = session
    self.socket = socket
    self.ttl = ttl
  }
}

/// An answer.
package struct Response {
  package var tid: UInt16
  /// Milliseconds since the transmission, or since the first one when there were several.
  package var roundTripTime: UInt64
  package var from: NodeAddress
  /// Our address as the answering node sees it.
  package var to: Endpoint
  package var token: Bytes32?
  /// At most 20, without duplicates and without addresses that cannot be a node's.
  package var closerNodes: [Endpoint]
  /// 0 is success, see ``RPCErrorCode``.
  package var error: UInt64
  package var value: [UInt8]?
  /// Where the answer arrived.
  package var socket: any DatagramSocket
}

/// How to run a query (dht-rpc.md 20.1).
package struct QueryOptions {
  /// `nil` is the node's own.
  package var concurrency: Int?
  package var retries = Limits.queryRetries
  /// Visited first. With at least 20 of them the routing table is only a fallback.
  package var seeds: [Endpoint] = []
  /// Contacts only the seeds.
  package var onlySeeds = false
  package var session: RequestSession?
  /// Called once per closest reply when the frontier is exhausted; must complete exactly once.
  package var commit: ((Response, @escaping (Result<Void, RPCError>) -> Void) -> Void)?
  /// Without `commit`: sends the query's own command with the token of each closest reply (`commit: true`).
  package var commitsWithToken = false
  /// Low concurrency while the node is busy (dht-rpc.md 20.7).
  package var isBackground = false
  /// Visits bypass the congestion window and are not repeated.
  package var isForced = false

  package init() {}

  package init(seeds: [Endpoint], onlySeeds: Bool = false) {
    self.seeds = seeds
    self.onlySeeds = onlySeeds
  }
}
