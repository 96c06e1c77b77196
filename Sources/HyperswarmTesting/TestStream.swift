import HyperEncoding
import HyperEnvironment

/// An in-memory transport stream: reliable and ordered over the virtual network, with the life cycle of a UDX stream
/// (firewall callback, data before `connect`, END, destroy resets the peer), without its packet format.
///
/// Segments are numbered, acknowledged and repeated every 200 ms, so loss hooks and NATs may eat packets.
package final class TestStream: TransportStream {
  package let localID: UInt32
  package var firewall: ((any DatagramSocket, Endpoint) -> Bool)?
  package var onData: ((UnsafeRawBufferPointer) -> Void)?
  package var onEnd: (() -> Void)?
  package var onDrain: (() -> Void)?
  package var onMessage: ((UnsafeRawBufferPointer) -> Void)?
  package var onClose: ((TransportStreamError?) -> Void)?

  package private(set) var remote: Endpoint?
  package private(set) var isConnected = false
  package private(set) var isClosed = false
  package var statistics = TransportStatistics()
  package var socket: (any DatagramSocket)? { testSocket }

  /// Milliseconds between repetitions, and repetitions without any acknowledgement until `timedOut`.
  static let retransmitInterval: UInt64 = 200
  static let maximumRetransmits = 60
  /// Bytes on the way before `write` returns false, and bytes the receiver takes while paused.
  static let highWaterMark = 256 * 1024
  static let receiveWindow = 256 * 1024

  private enum Body {
    case data(OwnedBuffer)
    case end
  }

  private struct Segment {
    var sequence: UInt64
    var body: Body
    var onAcknowledged: ((Bool) -> Void)?
    var wasSent = false
    var count: Int {
      if case .data(let buffer) = body { return buffer.count }
      return 0
    }
  }

  private enum PacketKind {
    case segment(UInt64, Body)
    case acknowledgement(UInt64)
    case message([UInt8])
    case reset
  }

  private let environment: TestEnvironment
  private var testSocket: TestSocket?
  private var remoteID: UInt32 = 0
  private var relayTarget: TestStream?
  private var unacknowledged: [Segment] = []
  private var nextSequence: UInt64 = 0
  private var bytesQueued = 0
  private var needsDrain = false
  private var timer: (any ScheduledAction)?
  private var retransmits = 0
  private var expected: UInt64 = 0
  private var outOfOrder: [UInt64: Body] = [:]
  private var pausedData: [OwnedBuffer] = []
  private var pausedBytes = 0
  private var isPaused = false
  private var pendingEnd = false
  private var owesAcknowledgement = false
  private var hasEnded = false
  private var remoteHasEnded = false
  private var hasFinished = false
  private var changes: [(sequence: UInt64, completion: () -> Void)] = []

  init(environment: TestEnvironment, localID: UInt32) {
    self.environment = environment
    self.localID = localID
    environment.streams[localID] = self
  }

  // MARK: Connecting

  package func connect(
    socket: any DatagramSocket, remoteID: UInt32, to remote: Endpoint
  ) throws(TransportError) {
    guard !isClosed, let socket = socket as? TestSocket, !socket.isClosed, remote.port != 0 else {
      throw TransportError(code: -22, description: "invalid argument")
    }
    guard !isConnected else { throw TransportError(code: -106, description: "already connected") }
    isConnected = true
    attach(socket, remoteID: remoteID, to: remote)
    if owesAcknowledgement { acknowledge() }
    deliverEnd()
    flush()
  }

  package func changeRemote(
    socket: any DatagramSocket, remoteID: UInt32, to remote: Endpoint, _ completion: @escaping () -> Void
  ) throws(TransportError) {
    guard isConnected, !isClosed, let socket = socket as? TestSocket, !socket.isClosed, remote.port != 0 else {
      throw TransportError(code: -22, description: "invalid argument")
    }
    attach(socket, remoteID: remoteID, to: remote)
    if unacknowledged.isEmpty {
      completion()
    } else {
      changes.append((nextSequence, completion))
    }
  }

  private func attach(_ socket: TestSocket, remoteID: UInt32, to remote: Endpoint) {
    let old = testSocket
    testSocket = socket
    self.remoteID = remoteID
    self.remote = remote
    if old !== socket {
      socket.attach(self)
      old?.detach(self)
    }
  }

  package func relay(to other: any TransportStream) throws(TransportError) {
    guard !isClosed, let other = other as? TestStream, !other.isClosed else {
      throw TransportError(code: -22, description: "invalid argument")
    }
    relayTarget = other
  }

  // MARK: Sending

  package func write(_ buffer: OwnedBuffer, _ onAcknowledged: ((Bool) -> Void)?) -> Bool {
    guard !isClosed, !hasEnded else {
      if let onAcknowledged { environment.network.deferred { onAcknowledged(false) } }
      return true
    }
    queue(Segment(sequence: nextSequence, body: .data(buffer), onAcknowledged: onAcknowledged))
    guard bytesQueued > TestStream.highWaterMark else { return true }
    needsDrain = true
    return false
  }

  package func end() {
    guard !isClosed, !hasEnded else { return }
    hasEnded = true
    queue(Segment(sequence: nextSequence, body: .end, onAcknowledged: nil))
  }

  private func queue(_ segment: Segment) {
    nextSequence += 1
    bytesQueued += segment.count
    unacknowledged.append(segment)
    if isConnected { environment.network.deferred { [weak self] in self?.flush() } }
  }

  /// Sends what was not sent yet.
  private func flush() {
    guard isConnected, !isClosed else { return }
    for index in unacknowledged.indices where !unacknowledged[index].wasSent {
      unacknowledged[index].wasSent = true
      transmit(unacknowledged[index])
    }
    armTimer()
  }

  private func transmit(_ segment: Segment) {
    statistics.packetsSent += 1
    statistics.bytesSent += UInt64(segment.count)
    send(.segment(segment.sequence, segment.body))
  }

  private func armTimer() {
    guard timer == nil, !unacknowledged.isEmpty, isConnected, !isClosed else { return }
    timer = environment.schedule(after: TestStream.retransmitInterval) { [weak self] in self?.retransmit() }
  }

  private func retransmit() {
    timer = nil
    guard !unacknowledged.isEmpty, !isClosed else { return }
    retransmits += 1
    if retransmits > TestStream.maximumRetransmits {
      close(.timedOut)
      return
    }
    for segment in unacknowledged where segment.wasSent {
      statistics.retransmissions += 1
      transmit(segment)
    }
    armTimer()
  }

  package func sendMessage(_ bytes: [UInt8]) {
    guard isConnected, !isClosed else { return }
    send(.message(bytes))
  }

  package func destroy() {
    guard !isClosed else { return }
    // The end of a relay is silent (udx.md 2.10).
    if isConnected, relayTarget == nil { send(.reset) }
    close(nil)
  }

  private func send(_ kind: PacketKind) {
    guard let testSocket, let remote, !environment.isDown else { return }
    let id = remoteID
    environment.network.send(from: testSocket, to: remote, bytes: [], isStream: true, ttl: 64) { socket, source in
      socket.environment.streams[id]?.receive(kind, on: socket, from: source)
    }
  }

  // MARK: Receiving

  private func receive(_ kind: PacketKind, on socket: TestSocket, from source: Endpoint) {
    guard !isClosed else {
      // The peer has missed our last acknowledgement.
      if hasFinished, case .segment = kind { send(.acknowledgement(expected)) }
      return
    }
    statistics.packetsReceived += 1
    if socket !== testSocket, let firewall {
      guard firewall(socket, source), !isClosed else { return }
    }
    if let relayTarget {
      relayTarget.send(kind)
      if case .reset = kind {
        close(.reset)
        relayTarget.close(.reset)
      }
      return
    }
    switch kind {
    case .segment(let sequence, let body): receive(sequence, body)
    case .acknowledgement(let sequence): acknowledged(below: sequence)
    case .message(let bytes): bytes.withUnsafeBytes { onMessage?($0) }
    case .reset: close(.reset)
    }
  }

  private func receive(_ sequence: UInt64, _ body: Body) {
    if sequence >= expected {
      // A paused receiver has no window: the sender repeats later.
      if isPaused, pausedBytes > TestStream.receiveWindow { return }
      outOfOrder[sequence] = body
    }
    while !isClosed, let next = outOfOrder.removeValue(forKey: expected) {
      expected += 1
      switch next {
      case .data(let buffer):
        statistics.bytesReceived += UInt64(buffer.count)
        if isPaused {
          pausedData.append(buffer)
          pausedBytes += buffer.count
        } else {
          onData?(buffer.bytes)
        }
      case .end: pendingEnd = true
      }
    }
    guard !isClosed else { return }
    acknowledge()
    deliverEnd()
  }

  private func acknowledge() {
    guard isConnected else {
      owesAcknowledgement = true
      return
    }
    owesAcknowledgement = false
    send(.acknowledgement(expected))
  }

  private func deliverEnd() {
    guard pendingEnd, !remoteHasEnded, !isPaused, isConnected, !isClosed else { return }
    remoteHasEnded = true
    onEnd?()
    closeIfDone()
  }

  private func acknowledged(below sequence: UInt64) {
    var done: [Segment] = []
    while let first = unacknowledged.first, first.sequence < sequence {
      bytesQueued -= first.count
      done.append(unacknowledged.removeFirst())
    }
    guard !done.isEmpty else { return }
    retransmits = 0
    timer?.cancel()
    timer = nil
    armTimer()
    let ready = changes.filter { $0.sequence <= sequence }
    changes.removeAll { $0.sequence <= sequence }
    for change in ready { change.completion() }
    for segment in done { segment.onAcknowledged?(true) }
    if needsDrain, bytesQueued <= TestStream.highWaterMark / 2, !isClosed {
      needsDrain = false
      onDrain?()
    }
    closeIfDone()
  }

  package func pauseReading() { isPaused = true }

  package func resumeReading() {
    guard isPaused else { return }
    isPaused = false
    environment.network.deferred { [weak self] in
      guard let self else { return }
      while !isPaused, !isClosed, !pausedData.isEmpty {
        let buffer = pausedData.removeFirst()
        pausedBytes -= buffer.count
        onData?(buffer.bytes)
      }
      deliverEnd()
    }
  }

  // MARK: Closing

  private func closeIfDone() {
    guard hasEnded, remoteHasEnded, unacknowledged.isEmpty else { return }
    hasFinished = true
    close(nil)
  }

  /// A stream that ended regularly stays reachable for a while, to repeat its last acknowledgement.
  private func forget() {
    let action = { [self] in
      if environment.streams[localID] === self { environment.streams[localID] = nil }
    }
    if hasFinished {
      _ = environment.schedule(after: TestStream.retransmitInterval * 20, action)
    } else {
      action()
    }
  }

  private func close(_ error: TransportStreamError?) {
    guard !isClosed else { return }
    isClosed = true
    isConnected = false
    timer?.cancel()
    timer = nil
    let lost = unacknowledged
    unacknowledged = []
    changes = []
    outOfOrder = [:]
    pausedData = []
    // Kept alive here until the last callback has run.
    environment.network.deferred { [self] in
      forget()
      for segment in lost { segment.onAcknowledged?(false) }
      testSocket?.detach(self)
      let callback = onClose
      firewall = nil
      onData = nil
      onEnd = nil
      onDrain = nil
      onMessage = nil
      onClose = nil
      callback?(error)
    }
  }
}
