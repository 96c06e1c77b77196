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
  /// Milliseconds of the timeout that are left when the timer has fired: it fires early where a request turns slow.
  var timeoutLeft: UInt64 = 0
  /// Set for a step of a query, which hears of the end instead of a completion.
  var visit: QueryVisit?
  private var completion: ((Result<Response, RPCError>) -> Void)?
  private(set) weak var node: RPCNode?

  init(
    tid: UInt16, serial: UInt64, message: RequestMessage, destination: Endpoint, options: RequestOptions,
    node: RPCNode, completion: ((Result<Response, RPCError>) -> Void)?
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

  /// The timer must not outlive the request, which it refers to without holding it.
  deinit { timer?.cancel() }

  package var isSettled: Bool { state == .settled }

  /// Whether it is to be told when the first transmission is not answered in time.
  var mayTurnSlow: Bool { onSlow != nil || visit?.isSlow == false }

  func turnSlow() {
    if visit?.isSlow == false {
      visit?.isSlow = true
      visit?.query?.turnedSlow(self)
    }
    let told = onSlow
    onSlow = nil
    told?()
  }

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
    } else if settle() {
      deliver(.failure(error))
    }
  }

  /// Ends the life of the request; `false` when it had ended before. The result must be delivered next.
  func settle() -> Bool {
    guard state != .settled else { return false }
    state = .settled
    timer?.cancel()
    timer = nil
    onSlow = nil
    message = nil
    bytes = []
    options.session?.remove(self)
    return true
  }

  /// Once, after `settle`.
  func deliver(_ result: Result<Response, RPCError>) {
    if let visit { visit.query?.ended(self, result) }
    let completion = completion
    self.completion = nil
    completion?(result)
  }
}

/// What a query knows of a request to one of its nodes. In the request, so that a step of a query takes no closures.
struct QueryVisit {
  weak var query: Query?
  let candidate: QueryFrontier.Candidate
  /// The first transmission was not answered in time, or not within a second.
  var isSlow = false
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
