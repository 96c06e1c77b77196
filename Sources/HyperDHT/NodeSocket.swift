import HyperDHTEngine
import HyperEncoding
import HyperEnvironment
import HyperRuntime

extension HyperDHT {
  /// The sockets of a node (dht-rpc.md 10), both IPv4.
  public enum NodeSocket: Hashable, Sendable, CaseIterable {
    /// What requests leave from: `client` while the node is firewalled, `server` afterwards.
    case current
    /// The one on the port that strangers know. Silent while the node is firewalled.
    case server
    /// The one that opens mappings of the NAT by what it sends.
    case client

    /// On the loop; `nil` while the node is suspended, and when it is destroyed.
    func socket(of node: DHTNode) -> (any DatagramSocket)? {
      switch self {
      case .current: node.rpc.socket
      case .server: node.rpc.serverSocket
      case .client: node.rpc.clientSocket
      }
    }

    /// The same where `nil` leaves the choice to the node.
    func chosen(by node: DHTNode) -> (any DatagramSocket)? { self == .current ? nil : socket(of: node) }
  }

  /// Where other programs on this host reach the node: the address of one of its sockets, 127.0.0.1 for one that is
  /// bound to all addresses. `nil` while the node is suspended, and when it is destroyed.
  public nonisolated(nonsending) func localAddress(of socket: NodeSocket = .server) async -> Endpoint? {
    await read { node in
      guard let bound = socket.socket(of: node)?.localEndpoint else { return nil }
      return bound.host == .any ? Endpoint(host: .loopback, port: bound.port) : bound
    } ?? nil
  }
}
