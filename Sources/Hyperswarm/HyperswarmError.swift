import HyperDHTEngine
import HyperEnvironment
import HyperswarmEngine

/// Why a call on a swarm failed. `code` is stable across releases and languages.
public enum HyperswarmError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The swarm is destroyed, or its loop has ended.
  case destroyed
  /// The discovery was destroyed, or its topic left.
  case sessionDestroyed
  /// Neither server nor client.
  case noRoles
  /// 16,384 topics are joined.
  case tooManyTopics
  /// 1,024 calls of `flush` wait.
  case tooManyFlushes
  /// Not done within the given time. What was waited for goes on.
  case timedOut
  /// The task that waited was cancelled. What was waited for goes on, unless the call says otherwise.
  case cancelled
  /// The server could not be announced; the next attempt may succeed. `code` is that of the `DHTError`, which
  /// `description` says in words.
  case listen(code: String, description: String)
  /// The sockets could not be opened again: the swarm stays suspended and resumes by itself as soon as it can. `code`
  /// and `description` as above.
  case resume(code: String, description: String)
  /// The node could not be made.
  case dht(DHTError)

  /// The stable name of the reason, the same in all languages.
  public var code: String {
    switch self {
    case .destroyed: "SWARM_DESTROYED"
    case .sessionDestroyed: "SESSION_DESTROYED"
    case .noRoles: "NO_ROLES"
    case .tooManyTopics: "TOO_MANY_TOPICS"
    case .tooManyFlushes: "TOO_MANY_FLUSHES"
    case .timedOut: "TIMED_OUT"
    case .cancelled: "CANCELLED"
    case .listen(let code, _), .resume(let code, _): code
    case .dht(let error): error.code
    }
  }

  /// The code, where it is the swarm's own, and a sentence for people.
  public var description: String {
    switch self {
    case .listen(_, let description): "Listening failed: \(description)"
    case .resume(_, let description): "Resuming failed: \(description)"
    case .dht(let error): error.description
    case .destroyed: "\(code): the swarm is destroyed"
    case .sessionDestroyed: "\(code): the topic was left"
    case .noRoles: "\(code): join as server, as client, or both"
    case .tooManyTopics: "\(code): \(SwarmError.tooManyTopics.description)"
    case .tooManyFlushes: "\(code): \(SwarmError.tooManyFlushes.description)"
    case .timedOut: "\(code): not done within the given time"
    case .cancelled: "\(code): cancelled"
    }
  }

  package init(_ error: SwarmError) {
    switch error {
    case .destroyed: self = .destroyed
    case .sessionDestroyed: self = .sessionDestroyed
    case .noRoles: self = .noRoles
    case .tooManyTopics: self = .tooManyTopics
    case .tooManyFlushes: self = .tooManyFlushes
    case .timedOut: self = .timedOut
    case .cancelled: self = .cancelled
    case .listen(let failure): self = .listen(code: failure.code, description: failure.description)
    case .resume(let failure): self = .resume(code: failure.code, description: failure.description)
    }
  }
}

extension HyperswarmError: CodedError {}
