import HyperEncoding
import HyperEnvironment

extension UDXStream {
  /// Attaches a socket and the peer's stream `remoteID` at `remote`. Sends nothing; binds the socket to any port if
  /// need be. Fails when connected, closed or born dead, and for port 0.
  public func connect(_ socket: UDXSocket, remoteID: UInt32, to remote: Endpoint) throws(TransportError) {
    try connect(socket: socket, remoteID: remoteID, to: remote)
  }

  /// Moves the stream to another path at once; packets sent before keep their old destination. `completion` runs once
  /// when all of them are acknowledged, possibly inside this call, or never if the stream closes first.
  public func changeRemote(
    _ socket: UDXSocket, remoteID: UInt32, to remote: Endpoint, _ completion: @escaping () -> Void
  ) throws(TransportError) {
    try changeRemote(socket: socket, remoteID: remoteID, to: remote, completion)
  }

  /// Forwards everything that arrives for this stream to the peer of `other`; both ends of a relay do it for each
  /// other.
  public func relay(to other: UDXStream) throws(TransportError) {
    try relay(to: other as any TransportStream)
  }

  /// Asked for packets that arrive on a socket other than the connected one (any socket before `connect`): `false`
  /// drops the packet. May call `connect`. `nil` accepts everything.
  public func setFirewall(_ accepts: ((UDXSocket, Endpoint) -> Bool)?) {
    guard let accepts else {
      firewall = nil
      return
    }
    firewall = { socket, source in
      guard let socket = socket as? UDXSocket else { return false }
      return accepts(socket, source)
    }
  }
}
