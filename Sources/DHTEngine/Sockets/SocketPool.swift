import HyperEncoding
import HyperEnvironment
import HyperRPC

/// Sockets beside the node's own two, for hole punching (hyperdht.md 14.2).
final class SocketPool {
  private let environment: any Environment
  private let host: IPv4Address
  private weak var rpc: RPCNode?
  /// Looks at what is no probe before the DHT does; `true` takes it.
  var onStrayDatagram: ((UnsafeRawBufferPointer, Endpoint, any DatagramSocket) -> Bool)?
  private var held: [ObjectIdentifier: PunchSocket] = [:]

  init(environment: any Environment, host: IPv4Address, rpc: RPCNode) {
    self.environment = environment
    self.host = host
    self.rpc = rpc
  }

  /// Without the one that handshakes share.
  var count: Int { held.values.count { !$0.isShared } }

  /// A new socket on a port of the system's choice.
  func acquire(isShared: Bool = false) throws(TransportError) -> PunchSocket {
    let socket = environment.makeSocket()
    try socket.bind(host: host, port: 0)
    let holder = PunchSocket(socket: socket, isShared: isShared, pool: self)
    held[ObjectIdentifier(holder)] = holder
    socket.onMessage = { [weak self, weak rpc, weak holder, unowned socket] bytes, source in
      // Probes are told by their length alone, whatever the byte is (hyperdht.md 8.2).
      if bytes.count <= 1 {
        holder?.onProbe?(source)
      } else if self?.onStrayDatagram?(bytes, source, socket) != true {
        rpc?.receive(bytes, from: source, on: socket)
      }
    }
    socket.onRebind = { [weak rpc, unowned socket] in rpc?.rebound(socket) }
    return holder
  }

  /// Keeps a socket of the pool open after its holder has released it; `nil` for any other socket.
  func lease(_ socket: any DatagramSocket) -> SocketLease? {
    held.values.first { $0.socket === socket }.map(SocketLease.init)
  }

  fileprivate func forget(_ holder: PunchSocket) { held[ObjectIdentifier(holder)] = nil }

  func destroy() {
    for holder in held.values { holder.release() }
  }
}

/// One socket of the pool with its single holder, and leases that outlast it.
final class PunchSocket {
  let socket: any DatagramSocket
  let isShared: Bool
  /// A one-byte datagram came from there.
  var onProbe: ((Endpoint) -> Void)?
  private weak var pool: SocketPool?
  private(set) var isReleased = false
  fileprivate var leases = 0 { didSet { closeIfUnused() } }

  fileprivate init(socket: any DatagramSocket, isShared: Bool, pool: SocketPool) {
    self.socket = socket
    self.isShared = isShared
    self.pool = pool
  }

  /// Gives the socket back: it closes as soon as no lease and no stream uses it. Idempotent.
  func release() {
    guard !isReleased else { return }
    isReleased = true
    onProbe = nil
    closeIfUnused()
  }

  private func closeIfUnused() {
    guard isReleased, leases == 0 else { return }
    pool?.forget(self)
    socket.close()
  }
}

/// Keeps a socket of the pool open as long as it lives.
final class SocketLease {
  private let holder: PunchSocket

  fileprivate init(_ holder: PunchSocket) {
    self.holder = holder
    holder.leases += 1
  }

  deinit { holder.leases -= 1 }
}
