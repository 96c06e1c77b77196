import HyperEncoding

// The way of a packet: the sender's NAT, the conditions of the link, the receiver's NAT.
extension VirtualNetwork {
  func send(
    from socket: VirtualSocket, of host: VirtualHost, to destination: Endpoint, bytes: [UInt8], ttl: UInt8
  ) {
    guard let local = socket.localEndpoint, !host.isDown else { return }
    host.activity.send(bytes.count)
    var packet = Packet(
      sentAt: now, source: source(of: local, host, destination), destination: destination, bytes: bytes,
      isStream: isStreamPacket(bytes), ttl: ttl == 0 ? 64 : ttl, wasDropped: false)
    trace(packet)
    let link = host.link ?? link
    if shouldDrop?(packet) == true || random.chance(link.loss) {
      packet.wasDropped = true
      record(packet)
      digest.add(0)
      return
    }
    let index = record(packet)
    deliver(packet, from: host, after: latency?(packet) ?? link.delay(&random), index)
    if random.chance(link.duplication) { deliver(packet, from: host, after: link.delay(&random), nil) }
  }

  /// The sender as the receiver sees it.
  private func source(of local: Endpoint, _ host: VirtualHost, _ destination: Endpoint) -> Endpoint {
    let isLoopback = destination.host.value >> 24 == 127
    if isLoopback { return Endpoint(host: local.host == .any ? .loopback : local.host, port: local.port) }
    let source = Endpoint(host: local.host == .any ? host.address : local.host, port: local.port)
    // Inside one private network packets do not pass the NAT.
    guard let nat = host.nat, hosts[destination.host]?.nat !== nat else { return source }
    return nat.outbound(from: source, to: destination, now: now)
  }

  /// The first bytes of the transport's header (udx.md 1.1).
  private func isStreamPacket(_ bytes: [UInt8]) -> Bool { bytes.count >= 20 && bytes[0] == 0xff && bytes[1] == 1 }

  private func deliver(_ packet: Packet, from origin: VirtualHost, after delay: UInt64, _ index: Int?) {
    // One for each packet, so without a counted reference: the network stops the clock before it goes.
    _ = time.schedule(afterMicroseconds: delay) { [unowned(unsafe) self, time] in
      guard !time.isStopping else { return }
      let target = receiver(of: packet, from: origin)
      digest.add(now)
      digest.add(target == nil ? 0 : 1)
      if let target {
        target.receive(packet.bytes, from: packet.source)
      } else if let index, index < log.count {
        log[index].wasDropped = true
      }
    }
  }

  private func trace(_ packet: Packet) {
    digest.add(packet.sentAt)
    digest.add(packet.source)
    digest.add(packet.destination)
    digest.add(packet.bytes)
  }

  @discardableResult
  private func record(_ packet: Packet) -> Int? {
    guard isLogging, !packet.isStream || logsStreams else { return nil }
    log.append(packet)
    return log.count - 1
  }

  /// Empties the log, and gives its memory back.
  public func clearLog() { log = [] }

  private func receiver(of packet: Packet, from origin: VirtualHost) -> VirtualSocket? {
    var destination = packet.destination
    if destination.host.value >> 24 == 127 { return origin.socket(at: destination) }
    if !nats.isEmpty, let nat = nats[destination.host] {
      if origin.nat === nat, !nat.hairpins { return nil }
      guard let inside = nat.inbound(to: destination, from: packet.source, now: now) else { return nil }
      destination = inside
      guard let host = hosts[destination.host], host.partition == origin.partition else { return nil }
      return host.socket(at: destination)
    }
    guard let host = hosts[destination.host], host.partition == origin.partition else { return nil }
    // A private address is reachable only from the same network.
    if let nat = host.nat, origin.nat !== nat { return nil }
    return host.socket(at: destination)
  }
}
