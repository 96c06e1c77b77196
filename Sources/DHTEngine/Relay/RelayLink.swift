import HyperEncoding
import HyperEnvironment

/// One side of a link: whose it is, and the id of that client's stream.
struct RelaySide {
  var session: RelaySession
  var isInitiator: Bool
  var remoteID: UInt32
}

/// Two transport streams that forward to each other, one towards each client (hyperdht.md 10.5, udx.md 2.10).
final class RelayLink {
  let token: Bytes32
  let sides: (RelaySide, RelaySide)
  /// One or two.
  var hosts: Set<IPv4Address> { [sides.0.session.host, sides.1.session.host] }
  /// Once.
  var onClose: ((RelayLink) -> Void)?

  private let streams: (any TransportStream, any TransportStream)
  private var isClosed = false
  private var finalBytes: UInt64?

  /// Packets that went over a quota of the link itself.
  var packetsDropped: UInt64 { quotas.reduce(0) { $0 &+ $1.packetsDropped } }
  private let quotas: [RelayQuota]

  /// Both directions share the quotas of the link, and all links the others. `nil` when there are no streams to be had,
  /// or a client's connection has just gone.
  init?(
    token: Bytes32, sides: (RelaySide, RelaySide), quotas: [RelayQuota], sharedQuotas: [RelayQuota],
    makeStream: () -> (any TransportStream)?
  ) {
    guard let paths = RelayLink.paths(sides), let first = makeStream() else { return nil }
    guard let second = makeStream() else {
      first.destroy()
      return nil
    }
    self.token = token
    self.sides = sides
    self.quotas = quotas
    streams = (first, second)
    do {
      try first.relay(to: second)
      try second.relay(to: first)
      // A client's stream takes the path of its connection with us (hyperdht.md 10.3, step 4), so the
      // relay need not wait for its first packet to know where it is, and no other host can claim the stream.
      try first.connect(socket: paths.0.socket, remoteID: sides.0.remoteID, to: paths.0.remote)
      try second.connect(socket: paths.1.socket, remoteID: sides.1.remoteID, to: paths.1.remote)
    } catch {
      first.destroy()
      second.destroy()
      return nil
    }
    for stream in [first, second] {
      for quota in quotas + sharedQuotas { stream.addRelayQuota(quota) }
      // A side repeats from a new socket what it has sent from the old one (udx.md 2.9): its host counts, not the port.
      stream.firewall = { [weak stream] _, source in source.host == stream?.remote?.host }
      stream.asksForSources = true
      stream.onClose = { [weak self] _ in self?.close() }
    }
  }

  private typealias Path = (socket: any DatagramSocket, remote: Endpoint)

  private static func paths(_ sides: (RelaySide, RelaySide)) -> (Path, Path)? {
    guard let first = sides.0.session.path, let second = sides.1.session.path else { return nil }
    return (first, second)
  }

  /// The connection of one side takes another path.
  func sideMoved(_ session: RelaySession) {
    guard !isClosed, let path = session.path else { return }
    for (side, stream) in [(sides.0, streams.0), (sides.1, streams.1)] where side.session === session {
      try? stream.migrate(socket: path.socket, to: path.remote)
    }
  }

  /// The id of the stream that `side` sends to.
  func streamID(for side: RelaySide) -> UInt32 {
    side.isInitiator == sides.0.isInitiator ? streams.0.localID : streams.1.localID
  }

  var bytesReceived: UInt64 {
    finalBytes ?? streams.0.statistics.bytesReceived &+ streams.1.statistics.bytesReceived
  }

  func close() {
    guard !isClosed else { return }
    isClosed = true
    finalBytes = streams.0.statistics.bytesReceived &+ streams.1.statistics.bytesReceived
    streams.0.destroy()
    streams.1.destroy()
    let report = onClose
    onClose = nil
    report?(self)
  }
}
