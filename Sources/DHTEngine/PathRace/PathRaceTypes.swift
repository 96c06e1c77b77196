import HyperEncoding

/// A way to the peer.
enum RacePath: Int, CaseIterable {
  /// Known before anything was tried: the peer is reachable, or its packet has come.
  case direct
  /// The peer comes to us.
  case passive
  /// The peer's address on our own network.
  case local
  /// Through the NATs between us.
  case punch
  /// Over a blind relay.
  case relay

  var isDirect: Bool { self != .relay }
}

enum RaceRole {
  case dialling
  case accepting
}

enum RaceState: Hashable {
  /// There are no keys yet: the peer's packets are only remembered.
  case handshaking
  /// Paths are tried, none carries the stream.
  case racing
  /// The stream is being connected over this path. Lasts for one call.
  case attaching(RacePath)
  /// The stream runs over the relay; direct paths are still tried.
  case relayed
  /// The relayed stream is being moved to a direct path. Lasts for one call.
  case moving
  case over(RaceEnd)
}

enum RaceEnd: Hashable {
  /// The stream runs over this direct path and never used another.
  case won(RacePath)
  /// The stream has moved from the relay to a direct path.
  case moved
  /// The stream stays on the relay, or has closed on it.
  case stayed
  /// No path carries a stream, and none will.
  indirect case failed(DHTError)
  /// A relayed stream is given up for this reason.
  indirect case lost(DHTError)
  /// The owner ended the race.
  case cancelled
}

enum RaceTimer: Int, CaseIterable {
  /// The caller's, for the whole attempt.
  case deadline
  /// How long a reachable node waits for the peer.
  case passive
  /// How long a server waits for the client's first step.
  case prepunch
  /// How long a server works on a direct path for a relayed stream.
  case upgrade
}

/// How an attempt ends that has not ended by itself.
enum RaceRelease {
  /// What it holds is closed.
  case dropped
  /// The stream has taken over what it needs.
  case kept
  /// A direct path was first; the relay stays a while for what the peer has sent over it.
  case standBy
}

/// Where a stream can be connected to.
protocol RaceRoute {
  var remote: Endpoint { get }
}

/// One attempt that a race starts, and what is known about its other end.
struct RaceContestant: Hashable {
  var path: RacePath
  var remote: Endpoint?
  var firewall: Firewall?

  init(_ path: RacePath, remote: Endpoint? = nil, firewall: Firewall? = nil) {
    self.path = path
    self.remote = remote
    self.firewall = firewall
  }
}

enum RaceEvent<Route: RaceRoute> {
  /// The attempt begins. Milliseconds until it is given up, 0 is never.
  case started(deadline: UInt64)
  /// The keys exist: attach to `direct` at once if it is there, else let these race.
  case handshaken(direct: Route?, contestants: [RaceContestant])
  /// The peer's stream packet has arrived directly, or a path has proved itself that was tried beside the relay.
  case packet(Route)
  /// The attempt has found its path.
  case opened(RacePath, Route)
  /// The attempt has ended without a path.
  case failed(RacePath, DHTError)
  /// A local address answers, but has not proved to be the server's.
  case unproven(Route, DHTError)
  /// No direct path will be found, whatever is tried.
  case directFailed(DHTError)
  /// The peer takes part in hole punching, which now bounds the attempt.
  case peerPunches
  case timer(RaceTimer)
  /// Answers to `attach` and `move`.
  case attached
  case attachFailed(DHTError)
  case moved
  case moveRefused
  /// The stream has closed on the relay.
  case relayLeft
  case gaveUp(DHTError)
  case cancelled
}

enum RaceOutput<Route: RaceRoute> {
  case start(RaceContestant)
  case startTimer(RaceTimer, UInt64)
  case stopTimer(RaceTimer)
  /// Connect the stream, then answer with `attached` or `attachFailed` within the same call.
  case attach(Route, RacePath)
  /// Move the stream to what this path has found, then answer within the same call: with `moveRefused` also where the
  /// path is tried first, and is told as a packet once it has proved itself.
  case move(Route, RacePath)
  case release(RacePath, RaceRelease)
  /// Once, last.
  case end(RaceEnd)
}
