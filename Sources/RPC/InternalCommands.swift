import HyperEncoding
import HyperEnvironment

/// Commands of this layer (dht-rpc.md 7.1).
enum InternalCommand: UInt64 {
  case ping = 0
  case pingNAT = 1
  case findNode = 2
  case downHint = 3
  case delayedPing = 4
}

extension RPCNode {
  /// Answers leave from the socket on which the request arrived.
  func handleInternal(_ request: RequestDatagram, from source: Endpoint, on socket: any DatagramSocket) {
    count(request.command) { $0.served += 1 }
    switch InternalCommand(rawValue: request.command) {
    case .ping: acknowledge(request, to: source, on: socket)
    case .pingNAT: handlePingNAT(request, from: source, on: socket)
    case .findNode: handleFindNode(request, from: source, on: socket)
    case .downHint: handleDownHint(request, from: source, on: socket)
    case .delayedPing: handleDelayedPing(request, from: source, on: socket)
    case nil:
      sendReply(
        tid: request.tid, error: RPCErrorCode.unknownCommand, value: nil, includesToken: false,
        closestTo: request.target, to: source, on: socket)
    }
  }

  private func acknowledge(_ request: RequestDatagram, to destination: Endpoint, on socket: any DatagramSocket) {
    sendReply(
      tid: request.tid, error: RPCErrorCode.ok, value: nil, includesToken: false, closestTo: nil, to: destination,
      on: socket)
  }

  /// The first field of the value, `nil` when it is missing or too short.
  private func field<Value>(
    _ request: RequestDatagram, _ read: (inout CompactReader) throws(CompactError) -> Value
  ) -> Value? {
    guard let value = request.value else { return nil }
    return value.withUnsafeBytes { bytes in
      var reader = CompactReader(bytes)
      do throws(CompactError) { return try read(&reader) } catch { return nil }
    }
  }

  /// Answers to the port in the value at the source's IP address, with that port in `to`.
  private func handlePingNAT(_ request: RequestDatagram, from source: Endpoint, on socket: any DatagramSocket) {
    let port = field(request) { reader throws(CompactError) in try reader.uint16() }
    guard let port, port != 0 else {
      statistics.drops.invalidCommand += 1
      return
    }
    acknowledge(request, to: Endpoint(host: source.host, port: port), on: socket)
  }

  private func handleFindNode(_ request: RequestDatagram, from source: Endpoint, on socket: any DatagramSocket) {
    guard let target = request.target else {
      statistics.drops.invalidCommand += 1
      return
    }
    sendReply(
      tid: request.tid, error: RPCErrorCode.ok, value: nil, includesToken: false, closestTo: target, to: source,
      on: socket)
  }

  /// "The node at this address, which you told me about, does not answer."
  private func handleDownHint(_ request: RequestDatagram, from source: Endpoint, on socket: any DatagramSocket) {
    guard let dead = field(request, { reader throws(CompactError) in try Endpoint(from: &reader) }) else {
      statistics.drops.invalidCommand += 1
      return
    }
    acknowledge(request, to: source, on: socket)
    guard downChecks < Limits.maximumDownChecks, let node = table.node(NodeAddress.id(of: dead)),
      node.pinged < tick || node.downHints == 0,
      hintBudget.take(source.host, now: environment.nowMilliseconds)
    else { return }
    node.downHints += 1
    checkLiveness(of: node)
  }

  private func handleDelayedPing(_ request: RequestDatagram, from source: Endpoint, on socket: any DatagramSocket) {
    let milliseconds = field(request) { reader throws(CompactError) in try reader.uint32() }
    guard let milliseconds, UInt64(milliseconds) <= maximumPingDelay else {
      statistics.drops.invalidCommand += 1
      return
    }
    let isProven = replyBudget.isProven(source, now: environment.nowMilliseconds)
    guard let ticket = delayedPings.enter(source.host, isProven: isProven) else {
      statistics.drops.delayedPings += 1
      return
    }
    let timer = environment.schedule(after: UInt64(milliseconds)) { [weak self] in
      guard let self else { return }
      delayedPings.remove(ticket)
      acknowledge(request, to: source, on: socket)
    }
    delayedPings.insert(timer, ticket)
  }
}
