import HyperEncoding
import HyperEnvironment

extension UDXStream {
  /// Attaches a socket and the peer's stream `remoteID` at `remote`. Sends nothing; binds the socket to any port if
  /// need be (udx.md 2.2).
  /// - Throws: `EISCONN` when connected; `EINVAL` when closed or born dead, for port 0, and for a socket that is closed
  ///   or of another instance; what `bind` throws.
  public func connect(_ socket: UDXSocket, remoteID: UInt32, to remote: Endpoint) throws(TransportError) {
    try connect(socket: socket, remoteID: remoteID, to: remote)
  }

  /// Moves the stream to another path at once; packets sent before keep their old destination (udx.md 2.9).
  /// `completion` runs once, on the loop, when all of them are acknowledged, possibly inside this call, or never if the
  /// stream closes first.
  /// - Throws: `EINVAL` when not connected, closed or relaying, for port 0, and for a socket that is closed or of
  ///   another instance; `EBUSY` while packets of eight paths are not acknowledged; what `bind` throws. Nothing has
  ///   changed then.
  public func changeRemote(
    _ socket: UDXSocket, remoteID: UInt32, to remote: Endpoint, _ completion: @escaping () -> Void
  ) throws(TransportError) {
    try changeRemote(socket: socket, remoteID: remoteID, to: remote, completion)
  }

  /// Forwards everything that arrives for this stream to the peer of `other`, from the socket of that one; both ends of
  /// a relay do it for each other (udx.md 2.10). It acknowledges nothing itself any more, and this cannot be undone.
  /// When `other` closes this stream is destroyed, and the peers are not told.
  /// - Throws: `EINVAL` when either is closed, or this one relays already.
  public func relay(to other: UDXStream) throws(TransportError) {
    try relay(to: other as any TransportStream)
  }

  /// Asked for packets that arrive on a socket other than the connected one (any socket before `connect`): `false`
  /// drops the packet. May call `connect`. `nil` accepts everything.
  /// - Parameter accepts: called on the loop, with the socket and the source of each such packet; held until the stream
  ///   closes.
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
