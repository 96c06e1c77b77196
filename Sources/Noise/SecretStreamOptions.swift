import HyperCrypto
import HyperEncoding
import HyperRuntime
import HyperSecretStream

extension SecretStream {
  /// Which keys are known before the handshake (secret-stream.md 4.3). Both sides must use the same.
  public enum Pattern: Hashable, Sendable {
    /// Neither side needs to know the other: the keys are exchanged. What JavaScript takes by default.
    case xx
    /// The side that begins knows the other one's key beforehand, and saves a round trip.
    case ik
  }

  /// Keys of a handshake that has taken place elsewhere, as HyperDHT's does.
  public struct Keys: Sendable {
    /// 32 secret bytes that encrypt what this side sends.
    public var sendKey: Bytes32
    /// 32 secret bytes that encrypt what the peer sends.
    public var receiveKey: Bytes32
    /// The same for both sides and for no other handshake; not a secret.
    public var handshakeHash: Bytes64
    /// This side's key in that handshake.
    public var publicKey: Bytes32
    /// The peer's.
    public var remotePublicKey: Bytes32

    /// All parts; both sides swap the two secret keys and the two public keys.
    public init(
      sendKey: Bytes32, receiveKey: Bytes32, handshakeHash: Bytes64, publicKey: Bytes32, remotePublicKey: Bytes32
    ) {
      self.sendKey = sendKey
      self.receiveKey = receiveKey
      self.handshakeHash = handshakeHash
      self.publicKey = publicKey
      self.remotePublicKey = remotePublicKey
    }
  }

  /// How to make a stream.
  public struct Options: Sendable {
    /// XX or IK; without meaning where `keys` are given.
    public var pattern: Pattern = .xx
    /// This side's identity; `nil` is a fresh one. Without meaning where `keys` are given.
    public var keyPair: KeyPair?
    /// The peer's key, if it is known: the handshake fails with `remoteKeyMismatch` when the peer proves another one.
    /// IK needs it on the side that begins.
    public var remotePublicKey: Bytes32?
    /// Instead of a handshake on this stream.
    public var keys: Keys?
    /// Bytes that were read from the transport before; they come first.
    public var head: [UInt8] = []
    /// Without anything sent for so long an empty message goes out (secret-stream.md 10.1); zero, the default, is off.
    /// While it is on, empty messages of the peer are not delivered. Rounded up to milliseconds; from 5 seconds on it
    /// may go out up to 750 ms earlier.
    public var keepAlive: Duration = .zero
    /// Without anything received for so long the stream fails with `timedOut`; zero, the default, is off. Time in which
    /// a full reader has stopped reading does not count. Rounded up to milliseconds.
    public var timeout: Duration = .zero
    /// From the making of the stream until the peer's half begins, which is right behind the handshake, 30 seconds by
    /// default; zero is no limit. After it the stream fails with `handshakeTimedOut`. Rounded up to milliseconds.
    public var handshakeTimeout: Duration = .seconds(30)
    /// Bytes of a message that is taken from the peer, 0 to `SecretStream.maximumMessageSize`, the default. A longer
    /// one ends the stream with `invalidMessage`, before it takes memory.
    public var maximumMessageSize = SecretStream.maximumMessageSize
    /// Whether datagrams are received, over UDX; sending is not affected.
    public var receivesDatagrams = true
    /// Whether to send one empty message at once, by which the answering side of IK, or of `keys`, knows that this side
    /// holds its key. A peer in JavaScript whose keep-alive is off hands it to its reader. `nil`: only with `keys`, on
    /// the side that begins, as connections of HyperDHT do.
    public var provesKeyAtOnce: Bool?
    /// The loop that the stream lives on. `nil` is a thread that all such streams of the process share, and that ends
    /// with the last of them; over UDX it is the connection's.
    public var loop: UVEventLoop?

    /// The options that programs set most; the others are properties.
    public init(
      pattern: Pattern = .xx, keyPair: KeyPair? = nil, remotePublicKey: Bytes32? = nil, keepAlive: Duration = .zero,
      loop: UVEventLoop? = nil
    ) {
      self.pattern = pattern
      self.keyPair = keyPair
      self.remotePublicKey = remotePublicKey
      self.keepAlive = keepAlive
      self.loop = loop
    }
  }

  /// Counters of one stream.
  public struct Statistics: Hashable, Sendable {
    /// Messages that were written, empty ones and keep-alives included.
    public var messagesSent: UInt64 = 0
    /// Messages that have arrived, empty ones and keep-alives included.
    public var messagesReceived: UInt64 = 0
    /// Payload of the messages that were written, bytes.
    public var messageBytesSent: UInt64 = 0
    /// Payload of the messages that have arrived, bytes.
    public var messageBytesReceived: UInt64 = 0
    /// Frames of messages that were sent, with their prefixes, bytes.
    public var rawBytesWritten: UInt64 = 0
    /// Frames of messages that have arrived, without their prefixes, bytes: counted as JavaScript counts.
    public var rawBytesRead: UInt64 = 0
    /// Datagrams that were sent.
    public var datagramsSent: UInt64 = 0
    /// Datagrams that have arrived and decrypted.
    public var datagramsReceived: UInt64 = 0

    /// All zero.
    public init() {}

    init(_ stream: EncryptedStream) {
      let frames = stream.statistics
      messagesSent = frames.messagesWritten
      messagesReceived = frames.messagesRead
      messageBytesSent = frames.messageBytesWritten
      messageBytesReceived = frames.messageBytesRead
      rawBytesWritten = stream.rawBytesWritten
      rawBytesRead = stream.rawBytesRead
      datagramsSent = frames.datagramsSent
      datagramsReceived = frames.datagramsReceived
    }
  }
}
