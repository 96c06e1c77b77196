import HyperEncoding
import HyperEnvironment
import HyperSecretStream

/// The relayed streams of one node, and its connections with relays.
final class RelayClients {
  private unowned let node: DHTNode
  private var controls: [Bytes32: RelayControl] = [:]
  private var paths: [ObjectIdentifier: RelayPath] = [:]
  /// Requests under way, by the side that named the relay.
  private var unpaired: [RelayPath.Origin: Int] = [:]

  init(node: DHTNode) { self.node = node }

  var controlCount: Int { controls.count }
  var pathCount: Int { paths.count }

  /// Whether another request of this kind may be made now (hyperdht.md B-4).
  func hasRoom(for origin: RelayPath.Origin) -> Bool {
    unpaired[origin, default: 0]
      < (origin == .client ? Limits.Relay.unpairedClientRelays : Limits.Relay.unpairedOwnRelays)
  }

  /// A connection with the relay, a living one if there is one.
  func control(of publicKey: Bytes32) -> RelayControl {
    if let known = controls[publicKey], known.isUsable { return known }
    var options = ConnectOptions()
    // Relays behind relays would let a stranger send us from one key to the next.
    options.followsServerRelay = false
    let control = RelayControl(
      environment: node.environment, publicKey: publicKey, ownKey: node.defaultKeyPair.publicKey,
      stream: node.connect(to: publicKey, options: options))
    controls[publicKey] = control
    control.onUnusable = { [weak self, unowned control] in
      if let self, controls[publicKey] === control { controls[publicKey] = nil }
    }
    return control
  }

  func add(_ path: RelayPath) {
    paths[ObjectIdentifier(path)] = path
    unpaired[path.origin, default: 0] += 1
  }

  func settled(_ path: RelayPath) { unpaired[path.origin, default: 0] -= 1 }

  func remove(_ path: RelayPath) { paths[ObjectIdentifier(path)] = nil }

  /// The node goes down, or to sleep.
  func destroyAll() {
    for path in Array(paths.values) { path.destroy() }
    for control in Array(controls.values) { control.destroy() }
    controls = [:]
  }
}
