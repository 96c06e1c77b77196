import CHyperUDX
import CHyperUV
import HyperEncoding
import HyperEnvironment

/// A UDX stream: ordered, reliable bytes both ways, and unordered, unreliable messages beside them. Not encrypted.
///
/// Loop-confined. Receives from its making on, subject to the firewall; `connect` attaches socket and peer and sends
/// nothing. Until `onData` or `onEnd` is set, the bytes that arrive are kept, up to the advertised window (4 MiB), and
/// delivered then; such a stream does not see the peer's end, and so does not close by itself. Held by the transport
/// until `onClose`, and its callbacks with it: the owner of a stream destroys it or sees it end. It closes by itself
/// when both sides have ended and everything is acknowledged. A peer that is gone is noticed 13 seconds after something
/// was sent that is not acknowledged, and otherwise never (udx.md 2.5, 2.8, 3.7).
public final class UDXStream: TransportStream {
  // The C stream exists from `init` until its finalize callback and holds this object for that time.

  /// The id that the peer puts into packets for this stream.
  public let localID: UInt32
  package var firewall: ((any DatagramSocket, Endpoint) -> Bool)?
  var addressFirewall: ((UDXSocket, UDXAddress) -> Bool)?
  package var asksForSources = false {
    didSet { if let handle { udx_stream_firewall_sources(handle, asksForSources ? 1 : 0) } }
  }
  package var judgesSource: (([UnsafeRawBufferPointer]) -> SourceVerdict)? {
    didSet {
      guard let handle, !isClosed else { return }
      // Without memory there is no check: as with every peer of the reference.
      _ = udx_stream_check_sources(
        handle, judgesSource == nil ? nil : { UDXStream.judged($0, $1, $2, $3) }, { UDXStream.strayed($0, $1, $2) })
    }
  }
  package var judgesMessage: ((UnsafeRawBufferPointer) -> Bool)?
  package var followsPeer = false
  package var onPeerMoved: ((Endpoint) -> Void)?
  /// Stream bytes in order: one packet's payload where it lies in the receive buffer, valid during the call.
  public var onData: ((UnsafeRawBufferPointer) -> Void)? { didSet { readingChanged() } }
  /// The peer has ended its half; nothing follows on `onData`.
  public var onEnd: (() -> Void)? { didSet { readingChanged() } }
  /// What waits has fallen below the mark again after a `write` returned `false`.
  public var onDrain: (() -> Void)?
  /// A message, valid during the call. Without it messages are dropped; reading that is paused does not hold them up.
  public var onMessage: ((UnsafeRawBufferPointer) -> Void)?
  package var onUnacknowledged: (() -> Void)?
  /// Exactly once, last, also for a stream that never connected: `nil` for a regular end or a local `destroy`.
  public var onClose: ((TransportStreamError?) -> Void)?

  /// Where the peer's packets go; kept after the close. `nil` also at an IPv6 address: `remoteAddress`.
  public private(set) var remote: Endpoint?
  private(set) var remoteIPv6: UDXAddress?
  /// Whether `connect` has succeeded, and the stream has not closed.
  public private(set) var isConnected = false
  /// Whether the stream has closed: it is `onClose` alone that may still come.
  public private(set) var isClosed = false
  package var socket: (any DatagramSocket)? { udxSocket }
  package var hasUnacknowledged: Bool { unacknowledged > 0 }

  let environment: UDXInstance
  /// `nil` when the C stream could not be made, and after it is gone.
  private(set) var handle: UnsafeMutablePointer<udx_stream_t>?
  private var udxSocket: UDXSocket?
  private var formerSockets: [UDXSocket] = []  // all that the stream used before: finalize tells them, too
  /// The remote is one that only others have named, and nothing else is known of where the peer is.
  private var isClaimed = false
  private var isPaused = false
  private var isReading = false
  private var isReadingCheckDue = false
  private var hasEnded = false
  /// Requests that the C stream has.
  private var unacknowledged = 0
  private var isEndDue = false
  private var closeError: TransportStreamError?
  private var remoteChanges: [() -> Void] = []
  /// Outlive the C stream.
  private var meters: [UDXRelayMeter] = []
  private var finalStatistics: (() -> TransportStatistics)?

  /// `localID` must be unique in the instance; with an id in use, or after `close` of the instance, the stream is born
  /// dead: `connect` fails.
  public convenience init(_ instance: UDXInstance, localID: UInt32) {
    self.init(environment: instance, localID: localID)
  }

  package init(environment: UDXInstance, localID: UInt32) {
    self.environment = environment
    self.localID = localID
    let stream = UnsafeMutablePointer<udx_stream_t>.allocate(capacity: 1)
    stream.initialize(to: udx_stream_t())
    let result = udx_stream_init(
      environment.udx, stream, localID, { UDXStream.closed($0, $1) }, { UDXStream.finalized($0) })
    guard result == 0 else {
      stream.deallocate()
      return
    }
    environment.becameBusy()
    handle = stream
    // Held until the finalize callback.
    stream.pointee.data = Unmanaged.passRetained(self).toOpaque()
    udx_stream_firewall(stream) { UDXStream.asked($0, $1, $2) }
    udx_stream_recv_start(stream) { UDXStream.messageReceived($0, $1, $2) }
    udx_stream_write_resume(stream) { UDXStream.drained($0) }
    // Started and stopped, so that what arrives is kept instead of discarded.
    udx_stream_read_start(stream) { UDXStream.received($0, $1, $2) }
    udx_stream_read_stop(stream)
  }

  // MARK: Connecting

  /// Of either family.
  func attach(_ socket: UDXSocket, remoteID: UInt32, place: some SocketPlace) throws(TransportError) {
    guard let handle, !isClosed, place.port != 0 else { throw .invalid }
    let socketHandle = try socket.boundHandle(isIPv6: place.isIPv6)
    let result = place.withSocketAddress { udx_stream_connect(handle, socketHandle, remoteID, $0) }
    guard result == 0 else { throw TransportError(uv: result) }
    isConnected = true
    setRemote(place)
    attach(socket)
    if isEndDue {
      isEndDue = false
      end()
    }
  }

  /// Of either family.
  func move(
    _ socket: UDXSocket, remoteID: UInt32, place: some SocketPlace, _ completion: @escaping () -> Void
  ) throws(TransportError) {
    guard let handle, isConnected, !isClosed, place.port != 0 else { throw .invalid }
    let socketHandle = try socket.boundHandle(isIPv6: place.isIPv6)
    let result = place.withSocketAddress {
      udx_stream_change_remote(handle, socketHandle, remoteID, $0) { UDXStream.remoteChanged($0) }
    }
    guard result >= 0 else { throw TransportError(uv: result) }
    take(socket, place)
    if result == 1 { completion() } else { remoteChanges.append(completion) }
  }

  package func migrate(socket: any DatagramSocket, to remote: Endpoint) throws(TransportError) {
    guard let handle, isConnected, !isClosed, let socket = socket as? UDXSocket, remote.port != 0 else {
      throw .invalid
    }
    let socketHandle = try socket.boundHandle()
    let result = remote.withSocketAddress { udx_stream_migrate(handle, socketHandle, $0) }
    guard result == 0 else { throw TransportError(uv: result) }
    take(socket, remote)
  }

  package func limitUntilHeard() {
    guard let handle, isConnected, !isClosed else { return }
    isClaimed = udx_stream_limit_unheard(handle) == 0
  }

  private func setRemote(_ place: some SocketPlace) {
    remote = place.endpoint
    remoteIPv6 = remote == nil ? place.address : nil
  }

  private func take(_ socket: UDXSocket, _ remote: some SocketPlace) {
    isClaimed = false
    setRemote(remote)
    guard udxSocket !== socket else { return }
    let old = udxSocket
    attach(socket)
    old?.streamLeft()
  }

  private func attach(_ socket: UDXSocket) {
    if let old = udxSocket, old !== socket { formerSockets.append(old) }
    formerSockets.removeAll { $0 === socket }
    udxSocket = socket
    socket.streamJoined()
  }

  /// The engine tells of every change that had to wait, in their order.
  private func remoteChanged() {
    if !remoteChanges.isEmpty { remoteChanges.removeFirst()() }
  }

  package func relay(to other: any TransportStream) throws(TransportError) {
    guard let handle, !isClosed, let other = (other as? UDXStream)?.handle else { throw .invalid }
    let result = udx_stream_relay_to(handle, other)
    guard result == 0 else { throw TransportError(uv: result) }
  }

  package func addRelayQuota(_ quota: RelayQuota) {
    guard let handle, !isClosed else { return }
    let meter = quota.meter as? UDXRelayMeter ?? UDXRelayMeter(environment, quota)
    quota.meter = meter
    guard udx_stream_add_relay_quota(handle, meter.quota) == 0 else { preconditionFailure("too many quotas") }
    meters.append(meter)
  }

  // MARK: Sending

  /// Queues the buffer without a copy; the stream owns it until it is acknowledged or the stream closes: do not change
  /// it meanwhile.
  /// - Parameters:
  ///   - buffer: what to send, `count` bytes of it.
  ///   - onAcknowledged: called once, on the loop: whether the peer has all of it. Where nothing is taken, before
  ///     `connect` and after `end` or the close, that is `false`, in a later turn.
  /// - Returns: `false` when the writer should wait for `onDrain`: more than 256 KiB wait or are unacknowledged, beyond
  ///   what the path carries at a time. The buffer is taken all the same.
  @discardableResult
  public func write(_ buffer: OwnedBuffer, _ onAcknowledged: ((Bool) -> Void)? = nil) -> Bool {
    guard let handle, !isClosed, !hasEnded, !isEndDue else {
      refuse(onAcknowledged)
      return true
    }
    let block = environment.pool.take(payload: 0)
    let request = block.bindMemory(to: udx_stream_write_t.self, capacity: 1)
    let context = (block + RequestPool.headerSize).initializeMemory(
      as: WriteContext.self, to: WriteContext(buffer: buffer, onAcknowledged: onAcknowledged))
    request.pointee.data = UnsafeMutableRawPointer(context)
    var bytes = uv_buf_t(base: buffer.base.assumingMemoryBound(to: CChar.self), len: buffer.count)
    let result = udx_stream_write(request, handle, &bytes, 1) { UDXStream.acknowledged($0, $1, $2) }
    guard result >= 0 else {
      context.deinitialize(count: 1)
      environment.pool.giveBack(block, payload: 0)
      refuse(onAcknowledged)
      return true
    }
    addUnacknowledged()
    return result != 0
  }

  private func addUnacknowledged() {
    unacknowledged &+= 1
    if unacknowledged == 1 { onUnacknowledged?() }
  }

  private func refuse(_ onAcknowledged: ((Bool) -> Void)?) {
    guard let onAcknowledged else { return }
    environment.later { onAcknowledged(false) }
  }

  /// Sends what is queued, then ends the writing half. Before `connect` it is put off until then.
  public func end() {
    guard let handle, !isClosed, !hasEnded else { return }
    guard isConnected else {
      isEndDue = true
      return
    }
    hasEnded = true
    let block = environment.pool.take(payload: 0)
    let request = block.bindMemory(to: udx_stream_write_t.self, capacity: 1)
    let context = (block + RequestPool.headerSize).initializeMemory(as: WriteContext.self, to: WriteContext())
    request.pointee.data = UnsafeMutableRawPointer(context)
    let result = udx_stream_write_end(request, handle, nil, 0) { UDXStream.acknowledged($0, $1, $2) }
    guard result >= 0 else {
      context.deinitialize(count: 1)
      environment.pool.giveBack(block, payload: 0)
      return
    }
    addUnacknowledged()
  }

  /// The END is the probe: every peer acknowledges it again. Before its first acknowledgement, and while data waits for
  /// one, retransmission finds a dead peer.
  package func keepAliveAfterEnd(_ milliseconds: UInt64) {
    guard let handle, !isClosed else { return }
    _ = udx_stream_set_keepalive(handle, UInt32(clamping: milliseconds))
  }

  /// One unordered, unreliable message of at most `statistics.mtu` - 48 bytes (68 over IPv6); longer ones are lost on
  /// the way. Not acknowledged, not held back by congestion (udx.md 2.7). The bytes are copied. Dropped before
  /// `connect` and after the close, and while 4,096 datagrams wait for the system.
  public func sendMessage(_ bytes: [UInt8]) {
    guard let handle, !isClosed, isConnected, bytes.count <= Limits.datagram else { return }
    let block = environment.pool.take(payload: bytes.count)
    let request = block.initializeMemory(as: udx_stream_send_t.self, to: udx_stream_send_t())
    let payload = block + RequestPool.headerSize
    bytes.withUnsafeBytes { source in
      if let base = source.baseAddress { payload.copyMemory(from: base, byteCount: source.count) }
    }
    var buffer = uv_buf_t(base: payload.assumingMemoryBound(to: CChar.self), len: bytes.count)
    request.pointee.data = UnsafeMutableRawPointer(bitPattern: bytes.count)
    let result = udx_stream_send(request, handle, &buffer, 1) { request, _ in
      guard let request, let context = request.pointee.stream?.pointee.data else { return }
      let size = Int(bitPattern: request.pointee.data)
      Unmanaged<UDXStream>.fromOpaque(context)._withUnsafeGuaranteedRef {
        $0.environment.pool.giveBack(UnsafeMutableRawPointer(request), payload: size)
      }
    }
    if result < 0 { environment.pool.giveBack(block, payload: bytes.count) }
  }

  /// Aborts, telling the peer once (udx.md 2.6). Writes that are not acknowledged are called back inside this call,
  /// with `false`; `onClose` comes later. Idempotent.
  public func destroy() {
    guard !isClosed else { return }
    guard let handle else {
      // There never was a C stream.
      isClosed = true
      environment.later { self.finish() }
      return
    }
    udx_stream_destroy(handle)
  }

  // MARK: Receiving

  /// Stops `onData`: what arrives is kept and the window towards the peer closes. Also from inside `onData`.
  public func pauseReading() {
    isPaused = true
    updateReading()
  }

  /// Undoes `pauseReading`: what waits is delivered.
  public func resumeReading() {
    isPaused = false
    readingChanged()
  }

  package func setReceiveLimit(_ limit: ReceiveLimit?) {
    guard let handle, !isClosed else { return }
    _ = udx_stream_set_rwnd_max(handle, UInt32(clamping: limit?.window ?? Limits.receiveWindow))
    _ = udx_stream_set_reorder_max(handle, UInt32(clamping: limit?.memory ?? 0))
    _ = udx_stream_window_changed(handle)
  }

  /// Reading starts in the next turn: setting a callback must not call it.
  private func readingChanged() {
    guard !isClosed, wantsReading != isReading, !isReadingCheckDue else { return }
    if !wantsReading { return updateReading() }
    isReadingCheckDue = true
    environment.later {
      self.isReadingCheckDue = false
      self.updateReading()
    }
  }

  private var wantsReading: Bool { !isPaused && (onData != nil || onEnd != nil) }

  private func updateReading() {
    guard let handle, !isClosed, wantsReading != isReading else { return }
    isReading = wantsReading
    if isReading {
      udx_stream_read_start(handle) { UDXStream.received($0, $1, $2) }
    } else {
      udx_stream_read_stop(handle)
    }
  }

  /// Counters of the stream; kept after the close.
  public var statistics: TransportStatistics {
    guard let handle else { return finalStatistics?() ?? TransportStatistics() }
    var result = TransportStatistics()
    result.roundTripTime = .milliseconds(Int64(handle.pointee.srtt))
    result.mtu = handle.pointee.mtu
    result.congestionWindow = handle.pointee.cwnd
    result.bytesInFlight = handle.pointee.inflight
    result.bytesReceived = handle.pointee.bytes_rx
    result.bytesSent = handle.pointee.bytes_tx
    result.packetsReceived = handle.pointee.packets_rx
    result.packetsSent = handle.pointee.packets_tx
    result.retransmissions = UInt64(handle.pointee.retransmit_count)
    result.timeouts = UInt64(handle.pointee.rto_count)
    result.fastRecoveries = UInt64(handle.pointee.fast_recovery_count)
    return result
  }

  // MARK: Callbacks from C

  @inline(__always)
  private static func with(_ stream: UnsafeMutablePointer<udx_stream_t>?, _ body: (UDXStream) -> Void) {
    guard let context = stream?.pointee.data else { return }
    Unmanaged<UDXStream>.fromOpaque(context)._withUnsafeGuaranteedRef(body)
  }

  private static func received(
    _ stream: UnsafeMutablePointer<udx_stream_t>?, _ length: Int, _ buffer: UnsafePointer<uv_buf_t>?
  ) {
    with(stream) { this in
      if length > 0, let buffer {
        this.onData?(UnsafeRawBufferPointer(start: buffer.pointee.base, count: length))
      } else if length < 0 {
        this.onEnd?()
      }
    }
  }

  private static func messageReceived(
    _ stream: UnsafeMutablePointer<udx_stream_t>?, _ length: Int, _ buffer: UnsafePointer<uv_buf_t>?
  ) {
    guard length >= 0, let buffer else { return }
    with(stream) { $0.onMessage?(UnsafeRawBufferPointer(start: buffer.pointee.base, count: length)) }
  }

  private static func drained(_ stream: UnsafeMutablePointer<udx_stream_t>?) { with(stream) { $0.onDrain?() } }

  private static func remoteChanged(_ stream: UnsafeMutablePointer<udx_stream_t>?) {
    with(stream) { $0.remoteChanged() }
  }

  private static func judged(
    _ stream: UnsafeMutablePointer<udx_stream_t>?, _ isMessage: Int32, _ buffers: UnsafePointer<uv_buf_t>?,
    _ count: UInt32
  ) -> Int {
    guard let context = stream?.pointee.data, let buffers else { return Int(UV_EAGAIN.rawValue) }
    let this = Unmanaged<UDXStream>.fromOpaque(context).takeUnretainedValue()
    let pieces = UnsafeBufferPointer(start: buffers, count: Int(count)).map {
      UnsafeRawBufferPointer(start: $0.base, count: $0.len)
    }
    if isMessage != 0 {
      return pieces.first.map { this.judgesMessage?($0) ?? false } ?? false ? 0 : Int(UV_EPROTO.rawValue)
    }
    switch this.judgesSource?(pieces) ?? .undecided {
    case .proven: return 0
    case .forged: return Int(UV_EPROTO.rawValue)
    case .needs(let bytes): return max(bytes, 1)
    case .undecided: return Int(UV_EAGAIN.rawValue)
    }
  }

  private static func strayed(
    _ stream: UnsafeMutablePointer<udx_stream_t>?, _ socket: UnsafeMutablePointer<udx_socket_t>?,
    _ source: UnsafePointer<sockaddr>?
  ) {
    guard let socketContext = socket?.pointee.data, let endpoint = Endpoint(socketAddress: source) else { return }
    let socket = Unmanaged<UDXSocket>.fromOpaque(socketContext).takeUnretainedValue()
    with(stream) { this in
      // Where it was only said to be, and was not heard from, it need not say that it is elsewhere.
      guard this.followsPeer || this.isClaimed && !this.isPathValidated,
        (try? this.migrate(socket: socket, to: endpoint)) != nil
      else { return }
      this.onPeerMoved?(endpoint)
    }
  }

  private static func acknowledged(
    _ request: UnsafeMutablePointer<udx_stream_write_t>?, _ status: Int32, _ unordered: Int32
  ) {
    guard let request, let data = request.pointee.data else { return }
    let contextPointer = data.assumingMemoryBound(to: WriteContext.self)
    let context = contextPointer.move()
    with(request.pointee.stream) {
      $0.environment.pool.giveBack(UnsafeMutableRawPointer(request), payload: 0)
      $0.unacknowledged &-= 1
      context.onAcknowledged?(status == 0)
    }
  }

  /// First of the closing callbacks: the stream has left the tables.
  private static func closed(_ stream: UnsafeMutablePointer<udx_stream_t>?, _ status: Int32) {
    with(stream) { this in
      this.isClosed = true
      this.isConnected = false
      switch status {
      case 0: this.closeError = nil
      case UV_ECONNRESET.rawValue: this.closeError = .reset
      case UV_ETIMEDOUT.rawValue: this.closeError = .timedOut
      case UV_EMSGSIZE.rawValue: this.closeError = .packetsTooLarge(pathMTU: Int(this.handle?.pointee.mtu ?? 0))
      default: this.closeError = .other(status)
      }
    }
  }

  /// Last of them: all writes have been called back, the memory may go.
  private static func finalized(_ stream: UnsafeMutablePointer<udx_stream_t>?) {
    guard let stream, let context = stream.pointee.data else { return }
    let this = Unmanaged<UDXStream>.fromOpaque(context).takeRetainedValue()
    let last = this.statistics
    this.finalStatistics = { last }
    this.handle = nil
    stream.deallocate()
    this.finish()
  }

  private func finish() {
    isClosed = true
    isConnected = false
    let callback = onClose
    firewall = nil
    addressFirewall = nil
    judgesSource = nil
    judgesMessage = nil
    onPeerMoved = nil
    onData = nil
    onEnd = nil
    onDrain = nil
    onMessage = nil
    onUnacknowledged = nil
    onClose = nil
    remoteChanges = []
    udxSocket?.streamLeft()
    udxSocket?.streamFinalized()
    let former = formerSockets
    formerSockets = []
    for socket in former { socket.streamFinalized() }
    callback?(closeError)
  }
}
