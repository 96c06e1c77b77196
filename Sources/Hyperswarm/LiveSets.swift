import HyperDHT
import HyperEncoding
import HyperRuntime
import HyperswarmEngine

extension Hyperswarm {
  /// Known peers by public key: found, waiting, banned, explicit and connected ones. Live: each call looks anew.
  ///
  /// Iterating goes over those of the moment at which it begins, in no order. Bounded by the swarm to 8,192 besides
  /// those named by `joinPeer`.
  public struct Peers: Sequence, Sendable {
    let view: SwarmView

    /// How many there are at this moment.
    public var count: Int { view.state.withLock { $0.peers.count } }
    /// The swarm knows no peer.
    public var isEmpty: Bool { count == 0 }
    /// The peer with this key, `nil` if the swarm knows none.
    public subscript(publicKey: Bytes32) -> Peer? { view.peer(publicKey) }
    /// Over the peers of this moment, in no order.
    public func makeIterator() -> AnyIterator<Peer> {
      AnyIterator(view.state.withLock { $0.peers }.values.makeIterator())
    }
  }

  /// The open connections of both roles. Live: each call looks anew.
  ///
  /// A connection is in it before `connections` hands it out, and is gone when `waitUntilClosed` returns. The set does
  /// not keep a connection: one that the program lets go of closes, and is not in it any more. Iterating goes over
  /// those of the moment at which it begins, in the order in which they opened.
  public struct OpenConnections: Sequence, Sendable {
    let view: SwarmView

    /// How many there are at this moment. Looks at every connection.
    public var count: Int { view.state.withLock { $0.open.values.count { $0.connection != nil } } }
    /// No connection is open.
    public var isEmpty: Bool { view.state.withLock { $0.open.values.allSatisfy { $0.connection == nil } } }
    /// The connection with this peer: there is one at most.
    public subscript(publicKey: Bytes32) -> HyperDHT.Connection? {
      view.state.withLock { state in state.numbers[publicKey].flatMap { state.open[$0]?.connection } }
    }
    /// Over the connections of this moment, in the order of their opening. They are kept while it lasts.
    public func makeIterator() -> AnyIterator<HyperDHT.Connection> {
      let open = view.state.withLock { $0.open }
      let ordered = open.sorted { $0.key < $1.key }.compactMap(\.value.connection)
      return AnyIterator(ordered.makeIterator())
    }
  }

  /// Known peers, live; none once the swarm is destroyed.
  public var peers: Peers { Peers(view: view) }

  /// The open connections, live: to count them, to find the one with a peer, to send something to all. New ones come
  /// through `connections`.
  public var openConnections: OpenConnections { OpenConnections(view: view) }

  /// Dials in progress, those included about which the firewall is asked; as of the latest `Event.update`.
  public var connecting: Int { view.state.withLock { $0.connecting } }
}

/// What a swarm shows without waiting: written on the loop, read anywhere.
final class SwarmView: Sendable {
  struct OpenConnection {
    weak var connection: HyperDHT.Connection?
  }

  struct State {
    var peers: [Bytes32: Hyperswarm.Peer] = [:]
    /// By the order of opening.
    var open: [UInt64: OpenConnection] = [:]
    var numbers: [Bytes32: UInt64] = [:]
    var lastNumber: UInt64 = 0
    var connecting = 0
  }

  let state = Locked(State())

  func isConnected(_ publicKey: Bytes32) -> Bool { state.withLock { $0.numbers[publicKey] != nil } }

  func peer(_ publicKey: Bytes32) -> Hyperswarm.Peer? { state.withLock { $0.peers[publicKey] } }

  // MARK: On the loop

  func add(_ peer: Hyperswarm.Peer) { state.withLock { $0.peers[peer.publicKey] = peer } }

  func remove(peer publicKey: Bytes32) {
    // Released outside of the lock.
    _ = state.withLock { $0.peers.removeValue(forKey: publicKey) }
  }

  /// - Returns: the number under which the connection is to be removed.
  func add(_ connection: HyperDHT.Connection) -> UInt64 {
    state.withLock { state in
      state.lastNumber += 1
      state.open[state.lastNumber] = OpenConnection(connection: connection)
      state.numbers[connection.remotePublicKey] = state.lastNumber
      return state.lastNumber
    }
  }

  func remove(connection number: UInt64, of publicKey: Bytes32) {
    state.withLock { state in
      state.open[number] = nil
      if state.numbers[publicKey] == number { state.numbers[publicKey] = nil }
    }
  }

  func update(connecting: Int) { state.withLock { $0.connecting = connecting } }

  /// The swarm is destroyed.
  func clear() {
    let state = state
    // The objects are released outside of the lock.
    withExtendedLifetime(state.withLock { $0 }) { state.withLock { $0 = State() } }
  }
}
