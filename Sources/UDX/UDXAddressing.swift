import CHyperUDX
import CHyperUV
import HyperEncoding
import HyperEnvironment

// Sockets and streams with addresses of either family.

extension UDXSocket {
  /// The same to an address of either family, of which IPv6 ones are for sockets that are bound to such an address, or
  /// not bound yet; others drop them.
  public func send(_ bytes: [UInt8], to destination: UDXAddress, ttl: UInt8 = 0) {
    bytes.withUnsafeBytes { send($0, toPlace: destination, ttl: ttl) }
  }
}

extension UDXStream {
  /// Attaches a socket and the peer's stream `remoteID` at `remote`, which may be an IPv6 address: the socket is then
  /// one that is bound to such an address, or not bound yet.
  /// - Throws: as the call with an IPv4 address; `EINVAL` for an IPv6 address and a socket at an IPv4 one, too.
  public func connect(_ socket: UDXSocket, remoteID: UInt32, to remote: UDXAddress) throws(TransportError) {
    try attach(socket, remoteID: remoteID, place: remote)
  }

  /// Moves the stream to another path, as the call with an IPv4 address does, and throws as that. The families of the
  /// old and the new path may differ.
  public func changeRemote(
    _ socket: UDXSocket, remoteID: UInt32, to remote: UDXAddress, _ completion: @escaping () -> Void
  ) throws(TransportError) {
    try move(socket, remoteID: remoteID, place: remote, completion)
  }

  /// Where the peer's packets go; kept after the close.
  public var remoteAddress: UDXAddress? { remote.map { UDXAddress($0) } ?? remoteIPv6 }

  /// The same as `setFirewall`, which is not asked then, with sources of either family. Without either everything
  /// is accepted; one for IPv4 sources alone accepts no others.
  /// - Parameter accepts: called on the loop for each such packet; held until the stream closes.
  public func setAddressFirewall(_ accepts: ((UDXSocket, UDXAddress) -> Bool)?) { addressFirewall = accepts }

  package func connect(
    socket: any DatagramSocket, remoteID: UInt32, to remote: Endpoint
  ) throws(TransportError) {
    guard let socket = socket as? UDXSocket else { throw .invalid }
    try attach(socket, remoteID: remoteID, place: remote)
  }

  package func changeRemote(
    socket: any DatagramSocket, remoteID: UInt32, to remote: Endpoint, _ completion: @escaping () -> Void
  ) throws(TransportError) {
    guard let socket = socket as? UDXSocket else { throw .invalid }
    try move(socket, remoteID: remoteID, place: remote, completion)
  }

  /// Non-zero drops the packet.
  static func asked(
    _ stream: UnsafeMutablePointer<udx_stream_t>?, _ socket: UnsafeMutablePointer<udx_socket_t>?,
    _ source: UnsafePointer<sockaddr>?
  ) -> Int32 {
    guard let context = stream?.pointee.data, let socketContext = socket?.pointee.data else { return 1 }
    let socket = Unmanaged<UDXSocket>.fromOpaque(socketContext).takeUnretainedValue()
    let this = Unmanaged<UDXStream>.fromOpaque(context).takeUnretainedValue()
    if let ask = this.addressFirewall {
      return UDXAddress(socketAddress: source).map { ask(socket, $0) } ?? false ? 0 : 1
    }
    guard let ask = this.firewall else { return 0 }
    return Endpoint(socketAddress: source).map { ask(socket, $0) } ?? false ? 0 : 1
  }
}
