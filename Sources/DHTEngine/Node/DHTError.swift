import HyperEnvironment

/// Why a DHT operation failed (hyperdht.md 15.6). `code` is stable and spelled as on other implementations. What each
/// call throws is said there; new cases may be added.
public enum DHTError: Error, Hashable, Sendable, CustomStringConvertible {
  // Connecting
  /// No node of the network answered, not even a bootstrap node: this machine is offline, a firewall keeps UDP in, or
  /// the bootstrap nodes are wrong or down. Says nothing about the peer or the record that was looked for.
  case networkUnreachable
  /// The network answered, but no node of it holds an announcement of this key.
  case peerNotFound
  /// Announcements were found, but no handshake through their nodes succeeded: the server is gone, or refuses us.
  case peerConnectionFailed
  /// The peer speaks another version of the handshake.
  case serverIncompatible
  /// The server answered the handshake with an error; the text says which.
  case serverError(String)
  /// The answer to a handshake does not belong to it. Not thrown at present: such an answer is passed over, and another
  /// node is asked.
  case badHandshakeReply
  /// The answer to a round of hole punching does not belong to it.
  case badHolepunchReply
  /// The peer's answer does not finish the handshake.
  case handshakeUnfinished
  /// The peer's answer does not decrypt or is malformed.
  case handshakeInvalid
  /// The handshake went through, but no path to the peer could be opened; the text says what was tried.
  case cannotHolepunch(String)
  /// No hole could be punched; the text says what stood against it.
  case holepunchAborted(String)
  /// The peer's message about hole punching is malformed.
  case holepunchInvalid
  /// One side could not find out which kind of NAT it is behind.
  case holepunchProbeTimeout
  /// Both sides are behind NATs that use another port for every destination, and no relay is configured.
  case holepunchDoubleRandomizedNATs
  /// The peer does not take part in hole punching.
  case remoteNotHolepunching
  /// The peer's NAT lets no hole be punched.
  case remoteNotHolepunchable
  /// The peer gave up; the number is its error code.
  case remoteAborted(UInt64)
  /// The blind relay, or the way over it, did not work; the text says how far it went.
  case relayAborted(String)
  /// There is a connection with the peer already.
  case duplicateConnection
  /// The stream was given up before it was connected.
  case streamNotConnected
  /// The encrypted stream failed before it was open; the code is the stream's.
  case stream(StreamFailure)
  /// The caller's deadline passed: `ConnectOptions.deadline`.
  case connectTimeout
  // Serving
  /// The server listens already. Not thrown by Swift's `listen`, which makes a server each time.
  case alreadyListening
  /// Another server of the node listens under this key.
  case keyPairAlreadyUsed
  // Node
  /// The node is destroyed.
  case nodeDestroyed
  /// The node is suspended: of dials and streams. Requests and look-ups fail with `ioSuspended`.
  case suspended
  /// Sockets, or a thread for the node, could not be had: a negative errno as libuv has it, and its text.
  case bindFailed(code: Int32, String)
  // Requests and queries
  /// The node that was asked has not answered any transmission in time.
  case requestTimeout
  /// The node was destroyed before the answer came, or a dial was given up by the program.
  case requestDestroyed
  /// The task that waited was cancelled.
  case cancelled
  /// The node is suspended, or was before the answer came: of requests and look-ups.
  case ioSuspended
  /// A look-up that was to store something found no node to store at.
  case tooFewNodes
  /// A node answered with this error of the RPC layer (1: unknown command, 2: invalid token, dht-rpc.md 8) or of its
  /// storage.
  case remote(UInt64)
  /// The storing node holds another value under the same sequence number (error 16).
  case sequenceReused
  /// The storing node holds a newer value (error 17).
  case sequenceTooLow
  /// A value is longer than the network stores: its size, then the limit, in bytes.
  case valueTooLarge(Int, Int)
  /// An address or name could not be read, or is none that can be sent to.
  case invalidAddress
  /// Anything else, as a text for people.
  case other(String)

  /// The stable code; hyperswarm and C callers decide by it.
  public var code: String {
    switch self {
    case .networkUnreachable: "NETWORK_UNREACHABLE"
    case .peerNotFound: "PEER_NOT_FOUND"
    case .peerConnectionFailed: "PEER_CONNECTION_FAILED"
    case .serverIncompatible: "SERVER_INCOMPATIBLE"
    case .serverError: "SERVER_ERROR"
    case .badHandshakeReply: "BAD_HANDSHAKE_REPLY"
    case .badHolepunchReply: "BAD_HOLEPUNCH_REPLY"
    case .handshakeUnfinished: "HANDSHAKE_UNFINISHED"
    case .handshakeInvalid: "HANDSHAKE_INVALID"
    case .cannotHolepunch: "CANNOT_HOLEPUNCH"
    case .holepunchAborted: "HOLEPUNCH_ABORTED"
    case .holepunchInvalid: "HOLEPUNCH_INVALID"
    case .holepunchProbeTimeout: "HOLEPUNCH_PROBE_TIMEOUT"
    case .holepunchDoubleRandomizedNATs: "HOLEPUNCH_DOUBLE_RANDOMIZED_NATS"
    case .remoteNotHolepunching: "REMOTE_NOT_HOLEPUNCHING"
    case .remoteNotHolepunchable: "REMOTE_NOT_HOLEPUNCHABLE"
    case .remoteAborted: "REMOTE_ABORTED"
    case .relayAborted: "RELAY_ABORTED"
    case .duplicateConnection: "DUPLICATE_CONNECTION"
    case .streamNotConnected: "STREAM_NOT_CONNECTED"
    case .stream(let failure): failure.code
    case .connectTimeout: "CONNECT_TIMEOUT"
    case .alreadyListening: "ALREADY_LISTENING"
    case .keyPairAlreadyUsed: "KEYPAIR_ALREADY_USED"
    case .nodeDestroyed: "NODE_DESTROYED"
    case .suspended: "SUSPENDED"
    case .bindFailed: "BIND_FAILED"
    case .requestTimeout: "REQUEST_TIMEOUT"
    case .requestDestroyed: "REQUEST_DESTROYED"
    case .cancelled: "CANCELLED"
    case .ioSuspended: "IO_SUSPENDED"
    case .tooFewNodes: "TOO_FEW_NODES"
    case .remote: "REMOTE_ERROR"
    case .sequenceReused: "SEQ_REUSED"
    case .sequenceTooLow: "SEQ_TOO_LOW"
    case .valueTooLarge: "VALUE_TOO_LARGE"
    case .invalidAddress: "INVALID_ADDRESS"
    case .other: "ERROR"
    }
  }

  private var text: String {
    switch self {
    case .networkUnreachable:
      "no node of the network answered; is this machine online, may UDP leave it, are the bootstrap nodes right?"
    case .peerNotFound: "no node of the network knows this key; is the server listening on the same network?"
    case .peerConnectionFailed: "the peer is announced, but it did not answer the handshake or refused us"
    case .serverIncompatible: "the server speaks an incompatible version"
    case .serverError(let text): text
    case .badHandshakeReply: "a node sent an unusable handshake reply"
    case .badHolepunchReply: "a node sent an unusable hole punching reply"
    case .handshakeUnfinished: "the handshake is not finished"
    case .handshakeInvalid: "the handshake message is invalid"
    case .cannotHolepunch(let text): text
    case .holepunchAborted(let text): text
    case .holepunchInvalid: "the peer sent an invalid hole punching message"
    case .holepunchProbeTimeout: "could not find out which kind of NAT is between the peers"
    case .holepunchDoubleRandomizedNATs:
      "both peers are behind NATs that use another port for every destination, and no relay is configured"
    case .remoteNotHolepunching: "the peer does not take part in hole punching"
    case .remoteNotHolepunchable: "the peer gave no address to punch to"
    case .remoteAborted(let code): "the peer aborted hole punching with error \(code)"
    case .relayAborted(let text): text
    case .duplicateConnection: "another connection to the same peer was kept"
    case .streamNotConnected: "the stream is not connected"
    case .stream(let failure): failure.description
    case .connectTimeout: "the connection was not made within its deadline"
    case .alreadyListening: "the server is already listening"
    case .keyPairAlreadyUsed: "another server of this node already listens with this key pair"
    case .nodeDestroyed: "the node has been destroyed"
    case .suspended: "the node is suspended"
    case .bindFailed(_, let text): "cannot open the sockets: \(text)"
    case .requestTimeout: "the node did not answer"
    case .requestDestroyed: "the request was cancelled"
    case .cancelled: "cancelled"
    case .ioSuspended: "the node was suspended meanwhile"
    case .tooFewNodes: "too few nodes responded"
    case .remote(let code): "the node answered with error \(code)"
    case .sequenceReused: "the nodes hold another value under this sequence number"
    case .sequenceTooLow: "the nodes hold a value with a higher sequence number"
    case .valueTooLarge(let size, let limit): "the value has \(size) bytes, the network stores at most \(limit)"
    case .invalidAddress: "not a usable address"
    case .other(let text): text
    }
  }
}

extension DHTError: CodedError {
  public var description: String { "\(code): \(text)" }
}
