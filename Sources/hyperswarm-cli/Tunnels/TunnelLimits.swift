/// Bounds of `expose` and `forward`.
enum TunnelLimits {
  /// Connections at a time, of all targets together, where the limit of open files is not lower: further ones take the
  /// places of others (`Places`) or are refused, or wait in the system's queue.
  static let connections = 1024
  /// Without a byte for so long, a connection gives way to one of a caller with fewer.
  static let idle = Duration.seconds(30)
  /// Connections that are being made to a peer at a time: each sends handshakes through nodes of the network.
  static let dials = 64
  /// For one of these.
  static let dial = Duration.seconds(30)
  /// Bytes of one read of a local connection.
  static let chunk = 65_536
  /// For what was written before one side broke off to reach the other.
  static let lastWords = 10.0
  /// Connections that the system keeps for us before they are accepted.
  static let backlog: Int32 = 511
  /// Targets of one command.
  static let targets = 64
  /// Pauses between the questions whether the peer can do more than one connection for each: datagrams get lost.
  static let asking: [Duration] = [.milliseconds(150), .milliseconds(300), .milliseconds(600), .milliseconds(1_200)]
  /// For the first question to arrive, or the first bytes, before a peer counts as one of another make.
  static let beginning = Duration.milliseconds(400)
  /// How long a peer that has not answered is not asked again.
  static let unasked = Duration.seconds(600)
  /// Bytes under way in one direction of a channel, at first, and what that grows to while they are taken quickly.
  static let window = 65_536
  static let largestWindow = 1 << 20
  /// Bytes up to which pieces that wait are put together: few enough to copy, and large beside what a piece costs.
  static let piece = 16_384
  /// Bytes by which all windows of a process grow beyond the first: what stalled services may hold in memory.
  static let windows = 64 << 20
  /// Senders of UDP at a time, on either side; each is a socket to the service.
  static let senders = 512
  /// How long a sender is remembered without a packet: RFC 4787, REQ-5, wants two minutes at least.
  static let senderLife = Duration.seconds(150)
  /// Bytes of a UDP packet at most.
  static let packet = 65_507
  /// Packets that wait for the connection to the peer.
  static let waitingPackets = 64
  /// For a peer to ask for datagrams.
  static let greeting = Duration.seconds(10)
  /// Pause after a peer could not be reached, before the next packet calls it again.
  static let redial = Duration.seconds(1)
}
