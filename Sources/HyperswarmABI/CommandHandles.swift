import CHyperswarm
import HyperDHT
import HyperEncoding
import HyperEnvironment
import HyperRPC
import HyperRuntime

/// Requests for one command that have no answer. Confined to the loop.
final class WaitingRequests {
  var shares = RequestShares(limit: Limits.incomingRequests)
}

/// What stands behind a `hyperswarm_incoming_t`. Everything but the handle is confined to the loop.
final class IncomingHandle: @unchecked Sendable {
  let swarm: SwarmHandle
  private let request: IncomingRequest
  private let waiting: WaitingRequests
  private var pointer: OpaquePointer?
  private var isFinished = false
  private var deadline: (any ScheduledAction)?

  private init(_ swarm: SwarmHandle, _ waiting: WaitingRequests, _ request: IncomingRequest) {
    self.swarm = swarm
    self.waiting = waiting
    self.request = request
    pointer = Handles.incoming.add(self)
  }

  /// Hands a new handle to the program; it ends by itself after a time.
  static func ask(
    _ swarm: SwarmHandle, _ waiting: WaitingRequests, _ request: IncomingRequest, _ body: hyperswarm_incoming_cb,
    _ userData: UnsafeMutableRawPointer?
  ) {
    guard let environment = swarm.environment, !swarm.shared.withLock({ $0.isDestroying }),
      waiting.shares.enter(request.from.endpoint, isProven: request.isProven)
    else { return }
    let incoming = IncomingHandle(swarm, waiting, request)
    swarm.incoming[ObjectIdentifier(incoming)] = incoming
    incoming.deadline = environment.schedule(after: Limits.incomingAnswer) { incoming.finish { _ in } }
    request.withIncoming { body(swarm.pointer, incoming.pointer, $0, userData) }
  }

  /// Once: `answer` sends what the program wants, if anything.
  func finish(_ answer: (IncomingRequest) -> Void) {
    guard !isFinished else { return }
    isFinished = true
    deadline?.cancel()
    deadline = nil
    waiting.shares.leave(request.from.endpoint, isProven: request.isProven)
    Handles.incoming.remove(pointer)
    swarm.incoming[ObjectIdentifier(self)] = nil
    answer(request)
  }
}

/// The commits of one query by the program. Confined to the loop.
final class CommittingQuery {
  private let swarm: SwarmHandle
  private let onCommit:
    (
      @convention(c) (
        OpaquePointer?, OpaquePointer?, UnsafePointer<hyperswarm_answer_t>?, UnsafeMutableRawPointer?
      ) -> Void
    )?
  private let userData: UnsafeMutableRawPointer?
  fileprivate var commits: [ObjectIdentifier: CommitHandle] = [:]
  private var isEnded = false
  /// Of the last commit that has failed.
  fileprivate(set) var failure: Int32?

  init(
    swarm: SwarmHandle,
    onCommit: (
      @convention(c) (
        OpaquePointer?, OpaquePointer?, UnsafePointer<hyperswarm_answer_t>?, UnsafeMutableRawPointer?
      ) -> Void
    )?, userData: UnsafeMutableRawPointer?
  ) {
    self.swarm = swarm
    self.onCommit = onCommit
    self.userData = userData
  }

  func ask(_ reply: Response, _ done: @escaping (Result<Void, RPCError>) -> Void) {
    guard let onCommit, !isEnded else { return done(.failure(.requestDestroyed)) }
    let commit = CommitHandle(home: swarm.home, query: self, done: done)
    commits[ObjectIdentifier(commit)] = commit
    reply.withAnswer { onCommit(swarm.pointer, commit.pointer, $0, userData) }
  }

  /// The query is over: what the program has to say about its nodes does not count any more.
  func end() {
    isEnded = true
    for commit in commits.values { Handles.commits.remove(commit.pointer) }
    commits = [:]
  }
}

/// What stands behind a `hyperswarm_commit_t`. Everything but the handle is confined to the loop.
final class CommitHandle: @unchecked Sendable {
  let home: LoopHome
  private(set) var pointer: OpaquePointer?
  private let query: CommittingQuery
  private let done: (Result<Void, RPCError>) -> Void

  fileprivate init(home: LoopHome, query: CommittingQuery, done: @escaping (Result<Void, RPCError>) -> Void) {
    self.home = home
    self.query = query
    self.done = done
    pointer = Handles.commits.add(self)
  }

  func finish(_ status: Int32) {
    guard query.commits.removeValue(forKey: ObjectIdentifier(self)) != nil else { return }
    if status != HYPERSWARM_OK { query.failure = status }
    done(status == HYPERSWARM_OK ? .success(()) : .failure(.tooFewNodes))
  }
}

/// What a query that has succeeded has come to.
struct QueryEnd {
  private let closest: [Response]
  private let successes: Int
  private let failures: Int

  init(_ query: Query) {
    closest = query.closestReplies
    successes = query.successes
    failures = query.errors
  }

  func report(_ body: (UnsafePointer<hyperswarm_query_result_t>) -> Void) {
    var answers: [UnsafePointer<hyperswarm_answer_t>?] = []
    report(closest[...], &answers, body)
  }

  /// One answer after the other becomes valid for the time of the call.
  private func report(
    _ rest: ArraySlice<Response>, _ answers: inout [UnsafePointer<hyperswarm_answer_t>?],
    _ body: (UnsafePointer<hyperswarm_query_result_t>) -> Void
  ) {
    guard let next = rest.first else {
      return answers.withUnsafeBufferPointer { answers in
        var result = hyperswarm_query_result_t()
        result.size = MemoryLayout<hyperswarm_query_result_t>.size
        result.closest = answers.baseAddress
        result.closest_count = answers.count
        result.successes = UInt64(successes)
        result.failures = UInt64(failures)
        body(&result)
      }
    }
    next.withAnswer { answer in
      answers.append(answer)
      report(rest.dropFirst(), &answers, body)
    }
  }
}

// MARK: As C has them

extension Bytes32? {
  /// NULL for `nil`.
  func withPointer(_ body: (UnsafePointer<UInt8>?) -> Void) {
    guard let self else { return body(nil) }
    self.withUnsafePointer { body($0) }
  }
}

extension [UInt8]? {
  /// NULL for `nil`.
  fileprivate func withPointer(_ body: (UnsafePointer<UInt8>?, Int) -> Void) {
    guard let self else { return body(nil, 0) }
    self.withUnsafeBytes { body(Empty.address(of: $0), $0.count) }
  }
}

extension Response {
  func withAnswer(_ body: (UnsafePointer<hyperswarm_answer_t>) -> Void) {
    var answer = hyperswarm_answer_t()
    answer.size = MemoryLayout<hyperswarm_answer_t>.size
    answer.error = error
    answer.round_trip_time = roundTripTime
    let texts = [from.endpoint.description, to.description, closerNodes.map(\.description).joined(separator: ",")]
    from.id.withPointer { id in
      token.withPointer { token in
        value.withPointer { value, length in
          texts[0].withCString { address in
            texts[1].withCString { seen in
              texts[2].withCString { closer in
                answer.id = id
                answer.token = token
                answer.value = value
                answer.length = length
                answer.address = address
                answer.seen_address = seen
                answer.closer_nodes = closer
                body(&answer)
              }
            }
          }
        }
      }
    }
  }
}

extension IncomingRequest {
  fileprivate func withIncoming(_ body: (UnsafePointer<hyperswarm_incoming_request_t>) -> Void) {
    var incoming = hyperswarm_incoming_request_t()
    incoming.size = MemoryLayout<hyperswarm_incoming_request_t>.size
    incoming.command = command
    from.id.withPointer { id in
      token.withPointer { token in
        target.withPointer { target in
          value.withPointer { value, length in
            from.endpoint.description.withCString { address in
              to.description.withCString { to in
                incoming.id = id
                incoming.token = token
                incoming.target = target
                incoming.value = value
                incoming.length = length
                incoming.address = address
                incoming.to_address = to
                body(&incoming)
              }
            }
          }
        }
      }
    }
  }
}
