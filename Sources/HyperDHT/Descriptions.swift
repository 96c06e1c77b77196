import HyperEncoding

// What a debugger and a log show. The texts are for people and may change.
extension HyperDHT: CustomStringConvertible {
  public var description: String { "HyperDHT(\(defaultKeyPair.publicKey.hex))" }
}

extension HyperDHT.Server: CustomStringConvertible {
  public var description: String { "HyperDHT.Server(\(publicKey.hex))" }
}

extension HyperDHT.RelayServer: CustomStringConvertible {
  public var description: String { "HyperDHT.RelayServer(\(publicKey.hex))" }
}

extension HyperDHT.Dial: CustomStringConvertible {
  public var description: String { "HyperDHT.Dial(\(publicKey.hex), \(state))" }
}

extension HyperDHT.Connection: CustomStringConvertible {
  public var description: String {
    "HyperDHT.Connection(\(isInitiator ? "to" : "from") \(remotePublicKey.hex), \(state))"
  }
}

extension HyperDHT.Connection.Path: CustomStringConvertible {
  public var description: String {
    switch self {
    case .direct(let endpoint): "direct to \(endpoint)"
    case .relayed(let endpoint): "relayed by \(endpoint)"
    }
  }
}

extension HyperDHT.Connection.State: CustomStringConvertible {
  public var description: String {
    switch self {
    case .connecting: "connecting"
    case .open(let path): "open, \(path)"
    case .moved(let path): "moved, \(path)"
    case .closing: "closing"
    case .closed(nil): "closed"
    case .closed(let error?): "closed, \(error)"
    }
  }
}

extension HyperDHT.Node: CustomStringConvertible {
  public var description: String { id == nil ? "\(endpoint), ephemeral" : "\(endpoint)" }
}
