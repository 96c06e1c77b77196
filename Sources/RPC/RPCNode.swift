import CompactEncoding
import CryptoPrimitives
import Environment

/// A node of the overlay: requests, routing table, queries, and what keeps them fresh (dht-rpc.md).
///
/// Loop-confined. Callbacks have one subscriber each.
package final class RPCNode {
  package let environment: any Environment
  package let configuration: RPCConfiguration

  /// A user command; `false` answers with error 1 (unknown command).
  package var onRequest: ((IncomingRequest) -> Bool)?
  package var onListening: (() -> Void)?
  package var onReady: (() -> Void)?
  package var onPersistent: (() -> Void)?
  package var onEphemeral: (() -> Void)?
  package var onWakeup: (() -> Void)?
  package var onSuspend: (() -> Void)?
  package var onResume: (() -> Void)?
  package var onClose: (() -> Void)?
  /// The public host and port as peers see us: host `nil` when they disagree, port 0 when only the ports differ.
  package var onNATUpdate: ((IPv4Address?, UInt16) -> Void)?
  package var onNetworkChange: (([InterfaceAddress]) -> Void)?
  /// Interfaces or `isOnline`/`isDegraded` changed.
  package var onNetworkUpdate: (() -> Void)?
  package var onNodeAdded: ((NodeAddress) -> Void)?
  package var onNodeRemoved: ((NodeAddress) -> Void)?
  /// Datagrams on the two sockets that are no DHT messages (hole-punch probes of one byte, strays of streams).
  package var onStrayDatagram: ((UnsafeRawBufferPointer, Endpoint, any DatagramSocket) -> Void)?

  package internal(set) var statistics = RPCStatistics()

  package init(environment: any Environment, configuration: RPCConfiguration) {
    self.environment = environment
    self.configuration = configuration
  }

  // MARK: Life cycle

  /// Binds both sockets now; idempotent.
  package func bind() throws(TransportError) {}

  /// Binds and bootstraps, beginning in a later turn. Idempotent.
  package func start() {}

  /// Once bootstrapping is over; fails when it cannot be (sockets not bound, node destroyed).
  package func whenBootstrapped(_ body: @escaping (Result<Void, RPCError>) -> Void) {}

  package func suspend(_ done: (() -> Void)? = nil) {}
  package func resume(_ done: (() -> Void)? = nil) {}
  package func destroy(_ done: (() -> Void)? = nil) {}

  // MARK: State

  /// Our id, `nil` while ephemeral.
  package var id: Bytes32? { nil }
  /// What the routing table is centred on: our id, or random bytes before we know our address.
  package var tableID: Bytes32 { Bytes32() }
  package var host: IPv4Address? { nil }
  package var port: UInt16 { 0 }
  package var isRandomized: Bool { false }
  package var isFirewalled: Bool { true }
  package var isEphemeral: Bool { true }
  package var isBootstrapped: Bool { false }
  package var isSuspended: Bool { false }
  package var isDestroyed: Bool { false }
  package var isOnline: Bool { true }
  package var isDegraded: Bool { false }

  package var serverSocket: (any DatagramSocket)? { nil }
  package var clientSocket: (any DatagramSocket)? { nil }
  /// The one that requests leave from: the client socket while firewalled.
  package var socket: (any DatagramSocket)? { nil }
  /// First non-loopback IPv4 address of this host (else 127.0.0.1) and the server port; `nil` before `bind`.
  package var localAddress: Endpoint? { nil }
  /// Where strangers reach us; `nil` unless known, open and port-preserving.
  package var remoteAddress: Endpoint? { nil }
  /// The local address of ``socket``; `nil` before `bind`.
  package var address: Endpoint? { nil }

  // MARK: Routing table

  /// By true XOR distance, nearest first.
  package func closestNodes(to target: Bytes32, limit: Int = RPCLimits.k) -> [NodeAddress] { [] }
  package var nodeCount: Int { 0 }
  /// Latest heard first.
  package func recentNodes(limit: Int = .max) -> [Endpoint] { [] }
  /// Puts a node into the table without asking it.
  package func addNode(_ endpoint: Endpoint) {}

  // MARK: Requests and queries

  /// One request. `completion` runs exactly once, never inside this call.
  @discardableResult
  package func request(
    _ message: RequestMessage, to destination: Endpoint, options: RequestOptions = .init(),
    _ completion: @escaping (Result<Response, RPCError>) -> Void
  ) -> PendingRequest {
    PendingRequest(
      tid: 0, message: message, destination: destination, options: options, node: self, completion: completion)
  }

  /// Internal PING, padded with `size` zero bytes.
  @discardableResult
  package func ping(
    _ destination: Endpoint, size: Int = 0, options: RequestOptions = .init(),
    _ completion: @escaping (Result<Response, RPCError>) -> Void
  ) -> PendingRequest {
    request(RequestMessage(command: 0, isInternal: true), to: destination, options: options, completion)
  }

  /// A ping that the other side answers after `milliseconds`; fails with `delayTooLong` above the cap.
  @discardableResult
  package func delayedPing(
    _ destination: Endpoint, after milliseconds: UInt64, options: RequestOptions = .init(),
    _ completion: @escaping (Result<Response, RPCError>) -> Void
  ) -> PendingRequest {
    request(RequestMessage(command: 4, isInternal: true), to: destination, options: options, completion)
  }

  /// A user command to the nodes nearest to `target`. Lazy: call `start()` on the result.
  package func query(
    target: Bytes32, command: UInt64, value: [UInt8]? = nil, options: QueryOptions = .init()
  ) -> Query {
    Query(
      node: self, message: RequestMessage(command: command, target: target, value: value), target: target,
      options: options)
  }

  /// FIND_NODE. Lazy: call `start()` on the result.
  package func findNode(target: Bytes32, options: QueryOptions = .init()) -> Query {
    Query(
      node: self, message: RequestMessage(command: 2, target: target, isInternal: true), target: target,
      options: options)
  }

  package func refresh() {}

  package func makeSession() -> RequestSession { RequestSession() }

  /// Feeds a datagram of an extra socket (hole-punch pool); such traffic never becomes a NAT sample.
  package func receive(
    _ bytes: UnsafeRawBufferPointer, from source: Endpoint, on socket: any DatagramSocket
  ) {}

  // Filled in by the engine.
  func sendReply(
    tid: UInt16, error: UInt64, value: [UInt8]?, includesToken: Bool, closestTo: Bytes32?, to: Endpoint,
    on: any DatagramSocket
  ) {}
  func sendRelay(tid: UInt16, message: RequestMessage, to: Endpoint, on: any DatagramSocket) {}
  func fail(_ request: PendingRequest, _ error: RPCError) {}
}
