import HyperCrypto
import HyperEncoding
import HyperEnvironment
import HyperswarmTesting
import XCTest

@testable import HyperSecretStream

/// An error of a layer above the stream.
struct TestReason: CodedError {
  var code: String
  var description: String
}

func keyPair(_ byte: UInt8) -> KeyPair { KeyPair(seed: Bytes32(repeating: byte)) }

func bytes32(_ hex: String) -> Bytes32 {
  guard let value = Bytes32(hex: hex) else { preconditionFailure("not 32 bytes of hex: \(hex)") }
  return value
}

func bytes64(_ hex: String) -> Bytes64 {
  guard let value = Bytes64(hex: hex) else { preconditionFailure("not 64 bytes of hex: \(hex)") }
  return value
}

/// Hex with spaces allowed; nothing for anything else.
func hex(_ text: String) -> [UInt8] {
  Hex.decode(text.contains(where: \.isWhitespace) ? text.filter { !$0.isWhitespace } : text) ?? []
}

/// le24 length, then the body.
func frame(_ body: [UInt8]) -> [UInt8] {
  [UInt8(body.count & 0xff), UInt8(body.count >> 8 & 0xff), UInt8(body.count >> 16 & 0xff)] + body
}

/// The bodies of a sequence of whole frames.
func frames(_ bytes: [UInt8]) -> [[UInt8]] {
  var out: [[UInt8]] = []
  var offset = 0
  while offset + 3 <= bytes.count {
    let length = Int(bytes[offset]) | Int(bytes[offset + 1]) << 8 | Int(bytes[offset + 2]) << 16
    guard offset + 3 + length <= bytes.count else { break }
    out.append(Array(bytes[offset + 3..<offset + 3 + length]))
    offset += 3 + length
  }
  return out
}

/// A transport whose wire is the test: what is written is recorded, what arrives is fed.
final class WireTransport: ByteTransport {
  var onData: ((UnsafeRawBufferPointer) -> Void)?
  var onEnd: (() -> Void)?
  var onDrain: (() -> Void)?
  var onClose: ((TransportStreamError?) -> Void)?

  private let environment: any Environment
  private(set) var writes: [[UInt8]] = []
  private(set) var isClosed = false
  private(set) var isEnded = false
  private(set) var wasDestroyed = false
  private(set) var isPaused = false
  private(set) var pauseCount = 0
  /// As told, in order.
  private(set) var limits: [ReceiveLimit?] = []
  /// What `write` returns.
  var hasRoom = true
  /// Kept until the test acknowledges.
  private var acknowledgements: [(Bool) -> Void] = []

  init(_ environment: any Environment) { self.environment = environment }

  var written: [UInt8] { writes.flatMap { $0 } }

  func write(_ buffer: OwnedBuffer, _ onAcknowledged: ((Bool) -> Void)?) -> Bool {
    writes.append(Array(buffer.bytes))
    if let onAcknowledged { acknowledgements.append(onAcknowledged) }
    return hasRoom
  }

  func acknowledge(_ count: Int = .max) {
    let done = acknowledgements.prefix(count)
    acknowledgements.removeFirst(done.count)
    for acknowledge in done { acknowledge(true) }
  }

  func end() { isEnded = true }

  func destroy() {
    wasDestroyed = true
    close(nil)
  }

  /// As if the transport had closed by itself.
  func close(_ error: TransportStreamError?) {
    guard !isClosed else { return }
    isClosed = true
    environment.defer { [self] in
      for acknowledge in acknowledgements { acknowledge(false) }
      acknowledgements = []
      onClose?(error)
    }
  }

  func pauseReading() {
    isPaused = true
    pauseCount += 1
  }

  func resumeReading() { isPaused = false }

  func setReceiveLimit(_ limit: ReceiveLimit?) { limits.append(limit) }

  func feed(_ bytes: [UInt8]) { bytes.withUnsafeBytes { onData?($0) } }
}

/// Two byte transports back to back over a virtual loop, as a pipe or a TCP connection.
final class PipeTransport: ByteTransport {
  var onData: ((UnsafeRawBufferPointer) -> Void)?
  var onEnd: (() -> Void)?
  var onDrain: (() -> Void)?
  var onClose: ((TransportStreamError?) -> Void)?

  private let environment: any Environment
  private weak var peer: PipeTransport?
  private var inbound: [[UInt8]] = []
  private var inboundEnd = false
  private var pumpIsScheduled = false
  private var isPaused = false
  private var hasEnded = false
  private var hasReceivedEnd = false
  private(set) var isClosed = false
  private(set) var sent: [UInt8] = []
  private(set) var writeCount = 0
  private(set) var maximumUnread = 0
  /// Sizes of the pieces in which arriving bytes are delivered; `nil` keeps the writes.
  var chunkSize: (() -> Int)?
  /// Changes what this end sends, by offset in the stream.
  var tamper: ((inout [UInt8], Int) -> Void)?
  var keepsSent = true
  static let highWaterMark = 256 * 1024

  private init(_ environment: any Environment) { self.environment = environment }

  static func pair(_ environment: any Environment) -> (PipeTransport, PipeTransport) {
    let a = PipeTransport(environment)
    let b = PipeTransport(environment)
    a.peer = b
    b.peer = a
    return (a, b)
  }

  private var unread: Int { inbound.reduce(0) { $0 + $1.count } }
  private var blockedWriter = false

  @discardableResult
  func write(_ buffer: OwnedBuffer, _ onAcknowledged: ((Bool) -> Void)?) -> Bool {
    guard !isClosed, !hasEnded, let peer, !peer.isClosed else {
      environment.defer { onAcknowledged?(false) }
      return true
    }
    var bytes = Array(buffer.bytes)
    let offset = sentCount
    sentCount += bytes.count
    tamper?(&bytes, offset)
    if keepsSent { sent += bytes }
    writeCount += 1
    peer.inbound.append(bytes)
    peer.maximumUnread = max(peer.maximumUnread, peer.unread)
    peer.schedulePump()
    environment.defer { onAcknowledged?(true) }
    if peer.unread > PipeTransport.highWaterMark { blockedWriter = true }
    return !blockedWriter
  }

  private var sentCount = 0

  func end() {
    guard !isClosed, !hasEnded else { return }
    hasEnded = true
    peer?.inboundEnd = true
    peer?.schedulePump()
    closeIfDone()
  }

  func destroy() { close(nil, tellPeer: true) }

  func fail(_ error: TransportStreamError) { close(error, tellPeer: false) }

  private func close(_ error: TransportStreamError?, tellPeer: Bool) {
    guard !isClosed else { return }
    isClosed = true
    if tellPeer, let peer { environment.defer { peer.close(.reset, tellPeer: false) } }
    environment.defer { [self] in
      let callback = onClose
      onData = nil
      onEnd = nil
      onDrain = nil
      onClose = nil
      callback?(error)
    }
  }

  private func closeIfDone() {
    if hasEnded, hasReceivedEnd { close(nil, tellPeer: false) }
  }

  func pauseReading() { isPaused = true }

  func resumeReading() {
    isPaused = false
    schedulePump()
  }

  private func schedulePump() {
    guard !pumpIsScheduled else { return }
    pumpIsScheduled = true
    environment.defer { [self] in
      pumpIsScheduled = false
      pump()
    }
  }

  private func pump() {
    while !isPaused, !isClosed, !inbound.isEmpty {
      let bytes = inbound.removeFirst()
      var offset = 0
      while offset < bytes.count, !isClosed {
        let size = max(1, min(chunkSize?() ?? bytes.count, bytes.count - offset))
        if isPaused {
          inbound.insert(Array(bytes[offset...]), at: 0)
          break
        }
        bytes.withUnsafeBytes { onData?(UnsafeRawBufferPointer(rebasing: $0[offset..<offset + size])) }
        offset += size
      }
    }
    if let peer, peer.blockedWriter, unread <= PipeTransport.highWaterMark / 2 {
      peer.blockedWriter = false
      environment.defer { peer.onDrain?() }
    }
    if !isPaused, inbound.isEmpty, inboundEnd, !hasReceivedEnd, !isClosed {
      hasReceivedEnd = true
      onEnd?()
      closeIfDone()
    }
  }
}

/// What happened on a stream, in order.
final class Recorder {
  private(set) var events: [String] = []
  private(set) var messages: [[UInt8]] = []
  private(set) var datagrams: [[UInt8]] = []
  private(set) var closeCount = 0
  private(set) var error: EncryptedStreamError?
  var keepsMessages = true
  private(set) var messageBytes = 0
  private(set) var messageCount = 0

  init(_ stream: EncryptedStream, reads: Bool = true) {
    stream.onHandshake = { [weak self] in self?.events.append("handshake") }
    stream.onOpen = { [weak self] in self?.events.append("open") }
    stream.onAuthenticated = { [weak self] in self?.events.append("authenticated") }
    stream.onRemoteHeader = { [weak self] in self?.events.append("header") }
    if reads { read(stream) }
    stream.onDatagram = { [weak self] in self?.datagrams.append(Array($0)) }
    stream.onDrain = { [weak self] in self?.events.append("drain") }
    stream.onEnd = { [weak self] in self?.events.append("end") }
    stream.onClose = { [weak self] in
      self?.events.append("close")
      self?.closeCount += 1
      self?.error = $0
    }
  }

  func read(_ stream: EncryptedStream) {
    stream.onMessage = { [weak self] bytes in
      guard let self else { return }
      messageCount += 1
      messageBytes += bytes.count
      guard keepsMessages else { return }
      events.append("message")
      messages.append(Array(bytes))
    }
  }

  func note(_ message: [UInt8]) {
    events.append("message")
    messages.append(message)
  }

  var texts: [String] { messages.map { String(decoding: $0, as: UTF8.self) } }
}

/// Two streams on one virtual loop.
final class StreamPair {
  let network: VirtualNetwork
  let environment: VirtualHost
  let a: EncryptedStream  // initiator
  let b: EncryptedStream
  let recordA: Recorder
  let recordB: Recorder
  let pipeA: PipeTransport
  let pipeB: PipeTransport
  let keysA: SessionKeys
  let keysB: SessionKeys

  init(reads: Bool = true, seed: UInt64 = 1) {
    network = VirtualNetwork(seed: seed)
    environment = network.makeHost()
    let (keysA, keysB) = StreamPair.keys()
    self.keysA = keysA
    self.keysB = keysB
    a = EncryptedStream(environment: environment, isInitiator: true)
    b = EncryptedStream(environment: environment, isInitiator: false)
    recordA = Recorder(a, reads: reads)
    recordB = Recorder(b, reads: reads)
    (pipeA, pipeB) = PipeTransport.pair(environment)
  }

  /// The finished handshake of secret-stream.md 17.4.
  static func keys() -> (SessionKeys, SessionKeys) {
    let tx = bytes32("cc00d99bd3a15a6779df38fd42fd25a84d73264023e7c1da95cf3bcbdce9c210")
    let rx = bytes32("78dd48ecef5d11fd953197694a8ee2d9f8d86d49d56d856e3dd7c8e78047826b")
    let hash = bytes64(
      "ecde6b23d634617ea8aa5158be3ccf929858cd61dcec872cd15feb102e4bbb1d"
        + "1e09caab34b12c584a73778ddf7e9f831f83eeac89586bc305858e139e220810")
    let a = keyPair(1).publicKey
    let b = keyPair(2).publicKey
    return (
      SessionKeys(
        sendKey: tx, receiveKey: rx, handshakeHash: hash, isInitiator: true, publicKey: a, remotePublicKey: b),
      SessionKeys(
        sendKey: rx, receiveKey: tx, handshakeHash: hash, isInitiator: false, publicKey: b, remotePublicKey: a)
    )
  }

  func start() {
    a.start(transport: pipeA, keys: keysA)
    b.start(transport: pipeB, keys: keysB)
  }

  func startInBand(_ pattern: NoisePattern = .xx) throws {
    try a.startInBand(transport: pipeA, pattern: pattern, keyPair: keyPair(1))
    try b.startInBand(transport: pipeB, pattern: pattern, keyPair: keyPair(2))
  }

  func run(_ milliseconds: UInt64 = 1) { network.advance(by: milliseconds) }
}

/// Two connected transport streams with datagrams, on two hosts.
final class UDXPair {
  let network: VirtualNetwork
  let hostA: VirtualHost
  let hostB: VirtualHost
  let transportA: any TransportStream
  let transportB: any TransportStream

  init(seed: UInt64 = 1) throws {
    network = VirtualNetwork(seed: seed)
    hostA = network.makeHost()
    hostB = network.makeHost()
    let socketA = hostA.makeSocket()
    let socketB = hostB.makeSocket()
    try socketA.bind(host: .any, port: 1000)
    try socketB.bind(host: .any, port: 2000)
    transportA = hostA.makeStream(localID: 1)
    transportB = hostB.makeStream(localID: 2)
    try transportA.connect(socket: socketA, remoteID: 2, to: Endpoint(host: hostB.address, port: 2000))
    try transportB.connect(socket: socketB, remoteID: 1, to: Endpoint(host: hostA.address, port: 1000))
  }
}
