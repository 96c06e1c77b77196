import HyperEncoding
import HyperEnvironment

/// A request in flight (dht-rpc.md 11). Completes exactly once.
package final class PendingRequest {
  package let tid: UInt16
  package let destination: Endpoint

  enum State {
    /// Waits for the sockets or for the congestion window.
    case queued
    case sent
    case settled
  }

  /// Order of creation.
  let serial: UInt64
  let options: RequestOptions
  let isInternal: Bool
  let command: UInt64
  var message: RequestMessage?
  /// The datagram, encoded at the first transmission; retransmissions send the same bytes.
  var bytes: [UInt8] = []
  /// Fixed when the request is made, unless the caller gave a socket.
  var usesServerSocket = false
  var state = State.queued
  var transmissions = 0
  /// The slot of the congestion window that counts the latest transmission.
  var windowSlot: UInt64 = 0
  /// Microseconds.
  var firstSentAt: UInt64 = 0
  /// Milliseconds that the answer to the first transmission may take.
  var firstTimeout: UInt64 = 0
  var timer: (any ScheduledAction)?
  /// Called once, when the first transmission has not been answered in time, at the latest after a second.
  package var onSlow: (() -> Void)?
  private var completion: ((Result<Response, RPCError>) -> Void)?
  private weak var node: RPCNode?

  init(
    tid: UInt16, serial: UInt64, message: RequestMessage, destination: Endpoint, options: RequestOptions,
    node: RPCNode, completion: @escaping (Result<Response, RPCError>) -> Void
  ) {
    self.tid = tid
    self.serial = serial
    self.message = message
    isInternal = message.isInternal
    command = message.command
    self.destination = destination
    self.options = options
    self.node = node
    self.completion = completion
  }

  package var isSettled: Bool { state == .settled }

  /// Further transmissions carry this token.
  package func show(_ token: Bytes32) {
    guard case .request(var datagram)? = bytes.withUnsafeBytes({ Datagram($0) }) else { return }
    datagram.token = token
    let encoded = datagram.encode()
    if encoded.count <= Limits.maximumDatagram { bytes = encoded }
  }

  /// The time to the answer is that of the path: the asked node answers by itself and at once. Not so for requests that
  /// it may relay, and for pings with a delay.
  var measuresPath: Bool { options.timeout == nil && (isInternal || options.isVisit) }

  /// Gives up; the completion gets `error` unless the request has settled already.
  package func cancel(_ error: RPCError = .requestDestroyed) {
    if let node {
      node.fail(self, error)
    } else {
      settle()?(.failure(error))
    }
  }

  /// Ends the life of the request and hands out its completion, once.
  func settle() -> ((Result<Response, RPCError>) -> Void)? {
    guard state != .settled else { return nil }
    state = .settled
    timer?.cancel()
    timer = nil
    onSlow = nil
    message = nil
    bytes = []
    options.session?.remove(self)
    defer { completion = nil }
    return completion
  }
}

/// A set of requests in flight that can be cancelled together (dht-rpc.md 21). Reusable after `destroy`.
package final class RequestSession {
  private var requests: [ObjectIdentifier: PendingRequest] = [:]

  package init() {}

  package var count: Int { requests.count }

  /// Fails all requests in flight with `error`.
  package func destroy(_ error: RPCError = .requestDestroyed) {
    let all = requests.values.sorted { $0.serial < $1.serial }
    requests.removeAll()
    for request in all { request.cancel(error) }
  }

  func insert(_ request: PendingRequest) { requests[ObjectIdentifier(request)] = request }
  func remove(_ request: PendingRequest) { requests[ObjectIdentifier(request)] = nil }
}
