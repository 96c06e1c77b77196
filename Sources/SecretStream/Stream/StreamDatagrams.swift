import HyperEnvironment

extension EncryptedStream {
  /// Sends one unordered, unreliable message. False, with nothing sent, before the keys exist, over a transport without
  /// datagrams, after `destroy`, and above `maximumDatagram`.
  ///
  /// Do not put secrets here: an observer of the handshake can compute the key (secret-stream.md 19).
  package func sendDatagram(_ bytes: [UInt8]) -> Bool {
    guard isLive, let transport, keys != nil, bytes.count <= maximumDatagram else { return false }
    prepareDatagrams()
    guard let sealed = datagrams?.value.seal(bytes) else {
      fail(.datagramNonceExhausted)
      return false
    }
    transport.sendMessage(sealed)
    statisticsStorage.datagramsSent &+= 1
    return true
  }

  /// The largest datagram that fits the path as the transport knows it now, bytes: the packet less IP (20), UDP (8) and
  /// UDX (20) headers and 24 of its own. Without a transport with datagrams 0.
  package var maximumDatagram: Int {
    guard let transport else { return 0 }
    let mtu = Int(transport.statistics.mtu)
    return max(0, (mtu > 0 ? mtu : Limits.Datagram.assumedMTU) - Limits.Datagram.pathOverhead)
  }

  func transportMessage(_ bytes: UnsafeRawBufferPointer) {
    guard isLive else { return }
    onTransportActivity?()
    guard isLive, receivesDatagrams else { return }
    guard keys != nil, bytes.count >= Limits.Datagram.overhead else {
      statisticsStorage.datagramsDropped &+= 1
      return
    }
    prepareDatagrams()
    withUnsafeTemporaryAllocation(byteCount: bytes.count, alignment: 16) { target in
      guard let base = target.baseAddress, let received = datagrams?.value.open(bytes, to: base) else { return }
      switch received {
      case .message(let count):
        statisticsStorage.datagramsReceived &+= 1
        onDatagram?(UnsafeRawBufferPointer(start: base, count: count))
      case .forged: statisticsStorage.datagramsDropped &+= 1
      case .replayed: statisticsStorage.datagramsReplayed &+= 1
      }
    }
  }

  /// Datagrams are rare: keys and counter are made with the first one.
  private func prepareDatagrams() {
    guard datagrams == nil, let keys else { return }
    var start: UInt64 = 0
    withUnsafeMutableBytes(of: &start) { environment.randomBytes($0) }
    datagrams = Box(DatagramCipher(keys: keys, start: UInt64(littleEndian: start)))
  }
}
