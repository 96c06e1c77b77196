import HyperCollections
import HyperDHTEngine
import HyperEncoding
import HyperRPC
import HyperRuntime

// Protocols of one's own on the nodes of the network: requests, queries and their handlers (dht-rpc.md 22).
extension HyperDHT {
  /// Commands 0 to 10 are those of the DHT itself; all others are free. Both sides have to agree on them: a node that
  /// does not serve a command answers with error 1.
  public static let firstFreeCommand: UInt64 = 11

  /// What to ask a node.
  public struct Request: Hashable, Sendable {
    /// From `firstFreeCommand` on; a number below asks for what the DHT itself does (hyperdht.md 2).
    public var command: UInt64
    /// What the answer's closer nodes are close to; `nil` asks for none.
    public var target: Bytes32?
    /// Of an earlier answer of the same node, some seconds old at most: proves that our address is ours (dht-rpc.md 9).
    public var token: Bytes32?
    /// An empty value arrives as none. At most 1,928 bytes with `target` and `token`: one datagram of 2,048 bytes;
    /// about 1,000 are safe on every path.
    public var value: [UInt8]?

    /// A request with no value, target or token but those given.
    public init(_ command: UInt64, target: Bytes32? = nil, token: Bytes32? = nil, value: [UInt8]? = nil) {
      self.command = command
      self.target = target
      self.token = token
      self.value = value
    }
  }

  /// An answer of a node.
  public struct Response: Hashable, Sendable {
    /// The node that has answered.
    public var from: Node
    /// Our address as that node sees it.
    public var to: Endpoint
    /// To send with a request that changes something at the node, within 7.5 seconds (dht-rpc.md 9).
    public var token: Bytes32?
    /// At most 20 nodes that are closer to the request's target.
    public var closerNodes: [Endpoint]
    /// 0 is success, 1 an unknown command, 2 an invalid token; from 16 on it is the application's (dht-rpc.md 8).
    public var error: UInt64
    /// `nil` for an answer without one, or with an empty one.
    public var value: [UInt8]?
    /// Since the transmission, or since the first one when there were several; in whole milliseconds.
    public var roundTripTime: Duration

    init(_ response: HyperRPC.Response) {
      from = Node(response.from)
      to = response.to
      token = response.token
      closerNodes = response.closerNodes
      error = response.error
      value = response.value
      roundTripTime = Duration(milliseconds: response.roundTripTime)
    }
  }

  /// Asks one node.
  /// - `retries`: transmissions after the first one, each a second later: with 3, the call fails after four seconds.
  ///   Negative counts as 0.
  /// - `timeToLive`: routers that the request may pass, 0 is the system's number: to open a NAT and go no further.
  /// - `socket`: of the node, to send from.
  /// - Returns: the answer, also one with an `error`.
  /// - Throws: `requestTimeout` without an answer; `invalidAddress` for port 0 and 0.0.0.0; `cancelled` with the task;
  ///   `nodeDestroyed`; `requestDestroyed` when the node is destroyed meanwhile; `ioSuspended`; `other` when the
  ///   request does not fit a datagram, or thousands are under way.
  public nonisolated(nonsending) func request(
    _ request: Request, to endpoint: Endpoint, retries: Int = 3, timeToLive: UInt8 = 0,
    through socket: NodeSocket = .current
  ) async throws(DHTError) -> Response {
    let node = node
    let call = TracedCall("hyperdht.request", request.target, command: request.command)
    return try await operation(call) { settle in
      let options = HyperRPC.RequestOptions(
        retries: max(retries, 0), socket: socket.chosen(by: node.value), ttl: timeToLive)
      let pending = node.value.rpc.request(
        RequestMessage(command: request.command, target: request.target, token: request.token, value: request.value),
        to: endpoint, options: options
      ) { settle($0.map(Response.init).mapError(DHTError.init)) }
      return { pending.cancel() }
    }
  }

  /// Serves a command of one's own, or with `nil` no longer, from the return of this call on. Replaces an earlier
  /// handler of the command.
  ///
  /// The handler runs as a task on the node's loop, once per request, and answers through its argument, at once or
  /// later; without an answer the requester asks again and then gives up. Up to 256 handlers of a command run at a
  /// time, 64 of one host, and 128 of requesters whose address may be forged (127.0.0.0/8 is exempt); further requests
  /// are dropped. The node keeps the handler until it is replaced or the node destroyed: let it hold the node weakly. A
  /// handler that runs then runs to its end, and what it answers is dropped.
  ///
  /// Requests can be forged: one whose `token` is not `nil` comes from where it says.
  /// - Throws: `other` for a command below `firstFreeCommand`; `nodeDestroyed`. Not for the cancellation of its task.
  public nonisolated(nonsending) func onRequest(
    _ command: UInt64,
    _ handler: (@Sendable (IncomingRequest) async -> Void)?
  ) async throws(DHTError) {
    guard command >= HyperDHT.firstFreeCommand else { throw .other("command \(command) belongs to the DHT") }
    let node = node
    let loop = loop
    let isServed = await onLoop(loop) { () -> Bool in
      guard !node.value.isDestroyed else { return false }
      node.value.commands[command] = nil
      guard let handler else { return true }
      let running = RunningHandlers()
      node.value.commands[command] = { request in
        let (source, isProven) = (request.from.endpoint, request.isProven)
        guard running.shares.enter(source, isProven: isProven) else { return }
        let incoming = IncomingRequest(loop: loop, node: node, request: request)
        let bound = LoopBound(running)
        Task(executorPreference: loop) {
          await handler(incoming)
          loop.post { bound.value.shares.leave(source, isProven: isProven) }
        }
      }
      return true
    }
    guard isServed == true else { throw .nodeDestroyed }
  }

  /// A request of another node for a command that is served here. May be answered any number of times, from any thread;
  /// an answer after the node is suspended or destroyed is dropped.
  public final class IncomingRequest: Sendable {
    /// The command that is served.
    public let command: UInt64
    /// What the requester wants closer nodes to; `nil` for none.
    public let target: Bytes32?
    /// Verified, `nil` if it was none or a wrong one: the requester's IP address has lately received something from us.
    public let token: Bytes32?
    /// `nil` for a request without one, or with an empty one.
    public let value: [UInt8]?
    /// The requester, as its datagram says.
    public let from: Node
    /// Our address as the requester knows it.
    public let to: Endpoint
    private let loop: UVEventLoop
    private let request: LoopBound<HyperRPC.IncomingRequest>
    private let node: LoopBound<DHTNode>

    init(loop: UVEventLoop, node: LoopBound<DHTNode>, request: HyperRPC.IncomingRequest) {
      self.loop = loop
      self.node = node
      self.request = LoopBound(request)
      command = request.command
      target = request.target
      token = request.token
      value = request.value
      from = Node(request.from)
      to = request.to
    }

    /// Answers with success, a token for requests that follow and, if the request has a target, up to 20 closer nodes.
    /// These are left out where the answer is above 2,048 bytes with them; an answer that is too long even so is
    /// dropped. Returns at once.
    /// - `destination`: another node than the requester; the token is then made for that one. It does not
    ///   know of the request: unless it has asked the same, it drops the answer.
    /// - `socket`: of the node, to send from; `nil` is the one that the request has come to.
    public func reply(
      _ value: [UInt8]? = nil, token: Bool = true, closerNodes: Bool = true, to destination: Endpoint? = nil,
      through socket: NodeSocket? = nil
    ) {
      let (request, node) = (request, node)
      loop.post {
        request.value.reply(
          value, token: token, closerNodes: closerNodes, to: destination, socket: socket?.socket(of: node.value))
      }
    }

    /// Answers with an error, without a value: those of applications begin at 16.
    /// - `token`, `closerNodes`, `destination`, `socket`: as for `reply`.
    public func fail(
      _ code: UInt64, token: Bool = false, closerNodes: Bool = true, to destination: Endpoint? = nil,
      through socket: NodeSocket? = nil
    ) {
      let (request, node) = (request, node)
      loop.post {
        request.value.error(
          code, token: token, closerNodes: closerNodes, to: destination, socket: socket?.socket(of: node.value))
      }
    }

    /// Sends the request on to another node, with another value and no token (dht-rpc.md 5.3). That one's answer goes
    /// to the requester directly. What does not fit a datagram is dropped.
    /// - `socket`: as for `reply`.
    public func relay(_ value: [UInt8]?, to endpoint: Endpoint, through socket: NodeSocket? = nil) {
      let (request, node) = (request, node)
      loop.post { request.value.relay(value, to: endpoint, socket: socket?.socket(of: node.value)) }
    }
  }
}

/// Handlers of one command that have not returned. Confined to the loop.
private final class RunningHandlers {
  var shares = RequestShares(limit: Limits.requestHandlers)
}
