import HyperEncoding
import HyperRPC

/// Round-trip tokens of the nodes that carry the messages of one connect.
///
/// A node that has more to forward than it may cannot tell clients from forged addresses, and prefers those that echo
/// its token. Deployed clients echo none, and ordinarily ours does not either: only where a transmission has stayed
/// without an answer, from there on.
final class RelayTokens {
  private unowned let node: DHTNode
  private var tokens: [Endpoint: Bytes32] = [:]
  /// Have not answered in time.
  private var slow: Set<Endpoint> = []

  init(node: DHTNode) { self.node = node }

  /// What a node has answered with lately.
  func learn(_ token: Bytes32?, of relay: Endpoint) {
    guard node.options.showsTokens, let token, tokens[relay] != nil || tokens.count < Limits.Connect.candidates else {
      return
    }
    tokens[relay] = token
  }

  /// One request to `relay`, as `RPCNode.request`. A token that the node has refused is replaced once by that of its
  /// answer (dht-rpc.md C-2).
  func request(
    _ message: RequestMessage, to relay: Endpoint, options: RequestOptions, mayRepeat: Bool = true,
    _ completion: @escaping (Result<Response, RPCError>) -> Void
  ) {
    var first = message
    if slow.contains(relay) { first.token = tokens[relay] }
    let request = node.rpc.request(first, to: relay, options: options) { [self] result in
      if mayRepeat, node.options.showsTokens, case .success(let response) = result,
        response.error == RPCErrorCode.invalidToken,
        let token = response.token
      {
        slow.insert(relay)
        learn(token, of: relay)
        return self.request(message, to: relay, options: options, mayRepeat: false, completion)
      }
      completion(result)
    }
    request.onSlow = { [self, weak request] in
      slow.insert(relay)
      if let token = tokens[relay] { request?.show(token) }
    }
  }
}
