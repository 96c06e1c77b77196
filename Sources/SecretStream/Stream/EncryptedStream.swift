import HyperCrypto
import HyperEncoding
import HyperEnvironment

/// An encrypted, message-oriented stream over an ordered byte stream: NoiseSecretStream (secret-stream.md).
///
/// One `write` is one message at the peer. Loop-confined. Every callback has one subscriber and runs on the loop;
/// `onClose` comes exactly once, last, and never inside a call of the owner. A started stream keeps itself alive until
/// then. Only `onClose` reports errors.
///
/// "Open" means that the keys exist, not that the peer is there: a server of HyperDHT knows its peer only from
/// `onAuthenticated` on (secret-stream.md 12.1), because the handshake may be a replay.
package final class EncryptedStream: TickMember {
  // MARK: Identity

  package let isInitiator: Bool
  /// The given keys until the handshake is done, then those it has proved.
  package var publicKey: Bytes32? { identity?.publicKey ?? given?.value.own }
  package var remotePublicKey: Bytes32? { identity?.remotePublicKey ?? given?.value.remote }
  /// Channel binding; not a secret. `nil` until the keys exist.
  package var handshakeHash: Bytes64? { identity?.handshakeHash }
  /// From the handshake on, and after the close.
  package internal(set) var identity: SessionIdentity?
  /// Beneath, once started; `nil` over any other byte transport.
  package internal(set) var transport: (any TransportStream)?
  /// Free for the layer above.
  package var userData: AnyObject?

  // MARK: Callbacks

  /// The keys exist, nothing has been sent with them yet. Destroying the stream here sends nothing.
  package var onHandshake: (() -> Void)?
  /// Once: the keys exist and the own header is sent.
  package var onOpen: (() -> Void)?
  /// Once: the first message of the peer has been decrypted, so the peer is alive and holds its key.
  package var onAuthenticated: (() -> Void)?
  /// Once: the peer's stream header has the right id. Proves nothing about the peer.
  package var onRemoteHeader: (() -> Void)?
  /// One message, valid during the call. Messages wait, and the transport is stopped, until there is a subscriber.
  @exclusivity(unchecked) package var onMessage: ((UnsafeRawBufferPointer) -> Void)? {
    didSet { readerChanged() }
  }
  /// Instead of `onMessage`, for a reader that keeps messages: each is decrypted where it stays, without another copy.
  @exclusivity(unchecked) package var onOwnedMessage: (([UInt8]) -> Void)? {
    didSet { readerChanged() }
  }
  /// One authenticated datagram, valid during the call. The datagram keys are not secret from an observer of
  /// the handshake (secret-stream.md 19).
  package var onDatagram: ((UnsafeRawBufferPointer) -> Void)?
  /// Anything arrived on the transport, stream bytes or a datagram of any size and content, not authenticated: for the
  /// layer that moves a relayed stream to a direct path (hyperdht.md 9.3). Comes before the bytes are looked at.
  @exclusivity(unchecked) package var onTransportActivity: (() -> Void)?
  /// `write` has returned false and may be used again.
  package var onDrain: (() -> Void)?
  /// The peer has ended its half and all its messages are delivered.
  package var onEnd: (() -> Void)?
  /// `nil` after both halves ended, after a plain `destroy` and when the transport closed early without an error.
  package var onClose: ((EncryptedStreamError?) -> Void)?
  /// For the layer that makes the connection: the stream has begun to close. Runs inside the call that causes it.
  package var onDestroying: (() -> Void)?
  /// The peer's packets go to another address from now on.
  package var onPathChange: ((Endpoint) -> Void)?
  /// From the layer that makes the connection: the stream is on its way to another path, and may get there.
  package var isMoving: (() -> Bool)?
  /// From the layer that makes the connection: how it has found a path to the peer, one line per step.
  package var pathTimeline: (() -> [String])?

  // MARK: Settings

  /// Milliseconds without a frame sent after which an empty message goes out, unless something sent before waits for
  /// its acknowledgement; 0 is off. While on, received empty messages are swallowed, and a peer that has vanished is
  /// noticed: so long after the last sign of life, and the transport's give-up time (13 s) later. `end` sets it to 0,
  /// and the transport goes on in the same interval. From 5 seconds on the message may leave up to `SharedTicks.slack`
  /// earlier, together with those of other streams.
  package var keepAlive: UInt64 = 0 {
    didSet { keepAliveChanged() }
  }
  /// Milliseconds without any received byte after which the stream is destroyed; 0 is off. Paused time does not count.
  package var timeout: UInt64 = 0 {
    didSet { timeoutChanged() }
  }
  /// Milliseconds from start to the peer's verified header; 0 is off. Set before start.
  package var handshakeTimeout = Limits.Stream.handshakeTimeout
  /// Whether to send one empty message right behind the header, so that the peer can authenticate this side at once.
  /// `nil`: as initiator of a handshake that ran elsewhere. Set before start.
  package var sendsConfirmation: Bool?
  /// Whether `end` says so inside the encryption, with an empty message tagged FINAL. Deployed peers accept it; with
  /// keepalive off they see an empty message.
  package var sendsFinal = false
  /// Whether packets count only from the peer's known addresses, and those where it goes on with the stream. The layer
  /// that makes the connection may decide that itself for a while. Set before start; later `checkSources`.
  package var checksSources = true
  /// Whether datagrams are received; sending is not affected.
  package var receivesDatagrams = true
  /// From the layer that makes the connection: the packets go over a relay.
  package var isRelayed = false
  /// The memory that this stream's peer shares with others until it has sent a message with content; `nil` for one that
  /// we have chosen to connect to. Set before start.
  package var strangers: StrangerMemory?
  /// Where the stranger's packets come from. Set before `start`.
  package var strangerHost: IPv4Address?
  /// Largest frame body accepted from the peer, 17...16,777,215 bytes.
  @exclusivity(unchecked) package var maximumFrame = Limits.Stream.maximumBody

  // MARK: State

  enum Phase: Int, Comparable {
    case created, handshaking, keyed, receiving, destroying, closed
    static func < (a: Phase, b: Phase) -> Bool { a.rawValue < b.rawValue }
  }

  /// What few streams have, or have for long: in memory of its own.
  final class Box<Value> {
    @exclusivity(unchecked) var value: Value
    init(_ value: Value) { self.value = value }
  }

  struct Observer {
    var open: (() -> Void)?
    var authenticated: (() -> Void)?
    var close: ((EncryptedStreamError?) -> Void)?
  }

  // Thousands of connections: flags stand together, because each one between words takes a word.

  let environment: any Environment
  /// The keys that are known beforehand, until the handshake is done.
  var given: Box<(own: Bytes32?, remote: Bytes32?)>?
  @exclusivity(unchecked) var byteTransport: (any ByteTransport)?
  @exclusivity(unchecked) var statisticsStorage = EncryptedStreamStatistics()
  var keys: SessionKeys?
  /// Only of a stream that shakes hands on its transport, until that is done.
  var handshake: NoiseHandshake? {
    get { handshakeBox?.value }
    set { handshakeBox = newValue.map { Box($0) } }
  }
  private var handshakeBox: Box<NoiseHandshake>?
  @exclusivity(unchecked) var phase = Phase.created
  var wasOpened = false
  @exclusivity(unchecked) package internal(set) var isAuthenticated = false
  /// Why the stream is closing or closed; `nil` for a regular end and a plain `destroy`.
  package internal(set) var closeError: EncryptedStreamError? {
    get { closeErrorBox?.value }
    set { closeErrorBox = newValue.map { Box($0) } }
  }
  private var closeErrorBox: Box<EncryptedStreamError>?
  @exclusivity(unchecked) var transportIsClosed = false
  var closesWhenRead = false
  var closeIsScheduled = false

  // Sending.
  @exclusivity(unchecked) var sealer: FrameCipher?
  @exclusivity(unchecked) var batch: OwnedBuffer?
  @exclusivity(unchecked) var batchSize = Limits.Stream.firstBatch
  @exclusivity(unchecked) var flushIsScheduled = false
  @exclusivity(unchecked) var isBlocked = false
  @exclusivity(unchecked) var needsDrain = false
  var isEnding = false
  var transportIsEnded = false
  @exclusivity(unchecked) var lastSent: UInt64 = 0
  var early: [OwnedBuffer] = []
  var earlyCount = 0
  var earlyFlushes: [(Bool) -> Void] = []
  let acknowledgements = AcknowledgementQueue()
  /// `keepAlive` as `end` found it, or set since.
  var keepAliveAfterEnd: UInt64 = 0

  // Receiving.
  let reader = FrameReader()
  @exclusivity(unchecked) var opener: FrameCipher?
  @exclusivity(unchecked) var scratch: UnsafeMutableRawPointer?
  @exclusivity(unchecked) var scratchCapacity = 0
  @exclusivity(unchecked) var lastReceived: UInt64 = 0
  /// Bytes of messages that had been read when the keepalive interval ended last.
  var readAtKeepAlive: UInt64 = 0
  /// The message that authenticated the peer while there was no reader.
  @exclusivity(unchecked) var keptMessage: [UInt8]?
  @exclusivity(unchecked) var isProcessing = false
  @exclusivity(unchecked) var readingIsScheduled = false
  @exclusivity(unchecked) package internal(set) var isPaused = false
  @exclusivity(unchecked) package internal(set) var isHeld = false
  @exclusivity(unchecked) var isWaitingForReader = false
  @exclusivity(unchecked) var transportIsPaused = false
  @exclusivity(unchecked) var remoteHasEnded = false
  @exclusivity(unchecked) var endIsDelivered = false
  /// The peer said inside the encryption that its half is complete.
  package internal(set) var receivedFinal = false
  var swallowsAfterEnd = false

  // While the peer is a stranger.
  @exclusivity(unchecked) var isStranger = false
  /// The peer is a stranger, or has not proved its key.
  @exclusivity(unchecked) var awaitsFirst = true
  /// Reading stops until there is memory for the begun frame.
  @exclusivity(unchecked) var lacksMemory = false
  var share: StrangerMemory.Share?
  /// Bytes that the peer may have under way.
  var strangerWindow = 0
  var frameTimer: (any ScheduledAction)?
  /// By then (microseconds) the begun frame is complete, or has got on from here (bytes).
  var frameDeadline: UInt64 = 0
  var frameMark = 0

  // Observers, timers and datagrams.
  var observers: [Observer] = []
  /// For intervals of 5 seconds and more, `tickPlace` instead.
  var keepAliveTimer: (any ScheduledAction)?
  package var tickPlace = TickPlace()
  /// `timeout` has run out, and what waits in the sockets is read before the peer is judged.
  var isReadingBeforeTimeout = false
  var timeoutTimer: (any ScheduledAction)?
  var handshakeTimer: (any ScheduledAction)?
  var datagrams: Box<DatagramCipher>?

  /// Keys that are known beforehand are visible at once; a handshake that proves another remote key than
  /// `remotePublicKey` fails.
  package init(
    environment: any Environment, isInitiator: Bool, publicKey: Bytes32? = nil, remotePublicKey: Bytes32? = nil
  ) {
    Sodium.initialize()
    self.environment = environment
    self.isInitiator = isInitiator
    if publicKey != nil || remotePublicKey != nil { given = Box((publicKey, remotePublicKey)) }
  }

  deinit {
    scratch?.deallocate()
    if tickPlace.isWaiting { environment.sharedTicks.cancel(self) }
  }

  /// The keys exist and the stream is not closing.
  package var isOpen: Bool { wasOpened && phase < .destroying }
  /// The peer has sent its header, and the stream is not closing.
  package var hasRemoteHeader: Bool { phase == .receiving }
  /// True from the moment something started to close the stream.
  package var isDestroying: Bool { phase >= .destroying }
  /// True from `onClose` on.
  package var isClosed: Bool { phase == .closed }
  /// Everything the peer wants to say has been delivered.
  package var isEnded: Bool { endIsDelivered }
  /// `end` has been called.
  package var isWriteEnded: Bool { isEnding }
  /// Message frames sent, with their prefixes. Handshake, headers and datagrams do not count.
  package var rawBytesWritten: UInt64 { statisticsStorage.frameBytesWritten }
  /// Message frames received, **without** their prefixes, as the reference counts.
  package var rawBytesRead: UInt64 { statisticsStorage.frameBytesRead }
  package var statistics: EncryptedStreamStatistics { statisticsStorage }
  /// From the layer that makes the connection.
  package func pathChanged(to remote: Endpoint) {
    statisticsStorage.pathChanges &+= 1
    onPathChange?(remote)
  }

  /// `nil` before the handshake is done, and from the close on.
  package var sessionKeys: SessionKeys? { keys }

  var isLive: Bool { phase < .destroying }
  var hasReader: Bool { onMessage != nil || onOwnedMessage != nil }
}

/// Counters of one stream.
package struct EncryptedStreamStatistics: Hashable, Sendable {
  /// With prefixes.
  package var frameBytesWritten: UInt64 = 0
  /// Without prefixes.
  package var frameBytesRead: UInt64 = 0
  /// Paths that the packets have left for another one.
  package var pathChanges: UInt32 = 0
  /// Empty ones included, both ways.
  package var messagesWritten: UInt64 = 0
  package var messagesRead: UInt64 = 0
  package var messageBytesWritten: UInt64 = 0
  package var messageBytesRead: UInt64 = 0
  package var keepAlivesSkipped: UInt64 = 0
  package var transportWrites: UInt64 = 0
  package var datagramsSent: UInt64 = 0
  package var datagramsReceived: UInt64 = 0
  /// Too short, forged or from before the keys.
  package var datagramsDropped: UInt64 = 0
  package var datagramsReplayed: UInt64 = 0

  package init() {}
}
