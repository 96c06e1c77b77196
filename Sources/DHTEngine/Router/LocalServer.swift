import HyperEncoding
import HyperEnvironment

/// A server of this node, as the router sees it (hyperdht.md 5.3, 5.5 and 7).
///
/// Both calls answer through `completion`, at once or later, with `nil` for "no answer"; only the first call of a
/// completion counts, and none after the server was unpinned.
package protocol LocalServer: AnyObject {
  func handleHandshake(_ request: HandshakeRequest, _ completion: @escaping (HandshakeReply?) -> Void)
  func handleHolepunch(_ request: HolepunchRequest, _ completion: @escaping (HolepunchReply?) -> Void)
  /// Where a message 1 that a node has brought is to go instead; `nil` keeps it.
  func taker(of message: [UInt8], from sender: Endpoint) -> Endpoint?
  /// Whether what comes as from a second relay at this host is from the server that announces the key.
  func isHandedOver(by host: IPv4Address) -> Bool
}

extension LocalServer {
  package func taker(of message: [UInt8], from sender: Endpoint) -> Endpoint? { nil }
  package func isHandedOver(by host: IPv4Address) -> Bool { false }
}

/// A PEER_HANDSHAKE for a local server.
package struct HandshakeRequest {
  /// Noise message 1.
  package var noise: [UInt8]
  /// Whether the client sent it here itself. What a client claims about its own address is ignored then
  /// (hyperdht.md B-2).
  package var isDirect: Bool
  /// The client as its relay saw it; the UDP source when direct.
  package var clientAddress: Endpoint
  /// The UDP source: the client or a relay. Of what is handed over the relay that brought it.
  package var from: Endpoint
  /// Our address as the sender knows it.
  package var to: Endpoint
  /// Where the message arrived.
  package var socket: any DatagramSocket
  /// It comes by the server of this host that announces the key.
  package var isHandedOver = false

  /// The host that the client's share is taken from. A relay's word for a client on loopback counts as the relay's.
  var chargedClient: IPv4Address { clientAddress.host.isLoopback ? from.host : clientAddress.host }
}

package struct HandshakeReply {
  /// Noise message 2.
  package var noise: [UInt8]
  /// The socket to answer from; `nil` for the one where the message arrived.
  package var socket: (any DatagramSocket)?

  package init(noise: [UInt8], socket: (any DatagramSocket)? = nil) {
    self.noise = noise
    self.socket = socket
  }
}

/// A PEER_HOLEPUNCH for a local server; these always come through a relay.
package struct HolepunchRequest {
  /// The session id of our noise payload.
  package var id: UInt64
  /// A sealed ``HolepunchPayload``.
  package var payload: [UInt8]
  /// The client as its relay saw it.
  package var peerAddress: Endpoint
  /// The relay.
  package var from: Endpoint
  package var to: Endpoint
  package var socket: any DatagramSocket
}

package struct HolepunchReply {
  package var payload: [UInt8]
  /// The socket to answer from; `nil` for the one where the message arrived.
  package var socket: (any DatagramSocket)?

  package init(payload: [UInt8], socket: (any DatagramSocket)? = nil) {
    self.payload = payload
    self.socket = socket
  }
}
