import HyperDHTEngine
import HyperEncoding

extension HyperDHT {
  /// What stands between a peer and the network.
  public enum NATKind: Hashable, Sendable {
    /// Not found out yet.
    case unknown
    /// Nothing: reachable without punching.
    case open
    /// A NAT or firewall with one external address for all destinations.
    case consistent
    /// A NAT that gives every destination another port.
    case random

    init(_ firewall: UInt64) {
      switch firewall {
      case Firewall.unknown.rawValue: self = .unknown
      case Firewall.open.rawValue: self = .open
      case Firewall.consistent.rawValue: self = .consistent
      // Values of later versions count as random, too.
      default: self = .random
      }
    }
  }

  /// A hole that is about to be punched: what both sides know of themselves.
  public struct Holepunch: Hashable, Sendable {
    /// What the peer says of its own NAT.
    public var remoteNAT: NATKind
    /// What this node has found out about its own.
    public var localNAT: NATKind
    /// Where the peer may be reached, as it says, at most 8; not checked.
    public var remoteAddresses: [Endpoint]
    /// Where this node may be reached, as the network sees it; empty while it does not.
    public var localAddresses: [Endpoint]
  }
}

/// The engine's hook for a switch and a question of the application.
func holepunchHook(
  isAllowed: Bool, _ question: (@Sendable (HyperDHT.Holepunch) -> Bool)?
) -> HolepunchHook? {
  guard isAllowed else { return { _, _, _, _ in false } }
  return question.map { question in
    { remote, local, remoteAddresses, localAddresses in
      question(
        HyperDHT.Holepunch(
          remoteNAT: .init(remote), localNAT: .init(local), remoteAddresses: remoteAddresses,
          localAddresses: localAddresses))
    }
  }
}
