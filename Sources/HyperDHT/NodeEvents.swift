import HyperDHTEngine
import HyperEncoding
import HyperRPC
import HyperRuntime

extension HyperDHT {
  /// What happens to a node. New cases may be added.
  public enum Event: Hashable, Sendable {
    /// Entering the network has ended; whether a node has answered is in `Status.isOnline`.
    case ready
    /// The node has become a permanent member of the routing tables of others; again after a `wakeup`.
    case persistent
    /// The node is no permanent member any more: its public address has changed, or it is no longer reachable.
    case ephemeral
    /// The network sees another public address, or another NAT: `host` is `nil` where the nodes disagree, `port` is 0
    /// where only the ports differ (the NAT gives every destination another one).
    case natChanged(host: IPv4Address?, port: UInt16)
    /// A permanent node has lost the public address that its id is made of; the new one if it is known. Servers
    /// announce themselves again by themselves.
    case addressChanged(old: Endpoint, new: Endpoint?)
    /// The interfaces of the machine, or the public address, have changed.
    case networkChanged
    /// Interfaces, `Status.isOnline` or `Status.isDegraded` have changed. Not repeated while one waits to be read.
    case networkUpdated
    /// The network has begun to answer.
    case online
    /// The network does not answer, or not any more: nothing for about four seconds, and three probes in a row.
    case offline
    /// The machine has slept, or the node has been resumed.
    case wakeup
    /// `suspend` is done: the sockets are closed.
    case suspended
    /// `resume` is done: the sockets are open again.
    case resumed
    /// The last one: the node is destroyed.
    case closed
  }

  /// An entry of the routing table has come or gone.
  public enum TableChange: Hashable, Sendable {
    /// The node answers, or was named by `addNode`.
    case added(Node)
    /// It did not answer, or made room for another one.
    case removed(Node)
  }

  /// What happens to the node from now on; ends when it is destroyed. The first reader also has what happened before it
  /// came, the first 256 events. Each reader has its own copy. Up to 256 events wait to be read, further ones are
  /// dropped; up to 64 readers at a time, the oldest gives way.
  public func events() -> Events<Event, Never> { observers.reader(on: loop) }

  /// Entries of the routing table that come and go, from now on; first reader, bounds and end as of `events`. Many
  /// while the node enters the network.
  public func tableChanges() -> Events<TableChange, Never> { tableObservers.reader(on: loop) }
}

/// Joins the callbacks of a node with the readers of its events, on the loop.
struct NodeObservers {
  let events = EventObservers<HyperDHT.Event>(keepsEarly: true)
  let table = EventObservers<HyperDHT.TableChange>(keepsEarly: true)

  init(_ node: DHTNode) {
    // The node's lists hold the observers, and the observers hold nothing of the node.
    let events = events
    let table = table
    node.onStage.add { stage in
      switch stage {
      case .ready: events.push(.ready)
      case .wakeup: events.push(.wakeup)
      case .suspended: events.push(.suspended)
      case .resumed: events.push(.resumed)
      }
    }
    node.onPersistent.add { events.push(.persistent) }
    node.onEphemeral.add { events.push(.ephemeral) }
    node.onNATUpdate.add { events.push(.natChanged(host: $0.host, port: $0.port)) }
    node.onAddressChange.add { events.push(.addressChanged(old: $0.old, new: $0.new)) }
    node.onNetworkChange.add { events.push(.networkChanged) }
    node.onNetworkUpdate.add { events.pushOnce(.networkUpdated) }
    node.onNetworkState.add { state in
      switch state {
      case .online: events.push(.online)
      case .offline: events.push(.offline)
      case .unknown: break
      }
    }
    node.onNodeAdded.add { table.push(.added(HyperDHT.Node($0))) }
    node.onNodeRemoved.add { table.push(.removed(HyperDHT.Node($0))) }
    node.onClose.add {
      events.push(.closed)
      events.finish()
      table.finish()
    }
  }
}
