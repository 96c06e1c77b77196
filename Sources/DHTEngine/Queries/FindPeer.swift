import HyperEncoding
import HyperRPC

/// One node's answer to FIND_PEER or LOOKUP: the node that gave it, and where it saw this one.
package struct FindPeerResult {
  package var token: Bytes32?
  package var from: NodeAddress
  /// Our address as that node sees it.
  package var to: Endpoint
  package var peer: PeerRecord
}

extension DHTNode {
  /// Nodes that hold an announcement of the server with this key.
  package func findPeer(_ publicKey: Bytes32, options: DHTQueryOptions = .init()) -> DHTQuery<FindPeerResult> {
    findPeer(target: Target.of(publicKey: publicKey), options: options)
  }

  /// As `findPeer(_:)`, for the hash of a key.
  package func findPeer(target: Bytes32, options: DHTQueryOptions = .init()) -> DHTQuery<FindPeerResult> {
    let query = rpc.query(
      target: target, command: Command.findPeer.rawValue, value: nil, options: options.queryOptions)
    return DHTQuery(query) { response in
      guard let value = response.value, let peer = try? CompactReader.decode(PeerRecord.self, from: value) else {
        return nil
      }
      return FindPeerResult(token: response.token, from: response.from, to: response.to, peer: peer)
    }
  }
}
