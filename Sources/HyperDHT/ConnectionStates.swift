import HyperEncoding
import HyperRuntime

extension HyperDHT.Connection {
  /// The way of a connection's packets. Both sides of one connection may see it differently for a moment.
  public enum Path: Hashable, Sendable {
    /// To the peer itself, or to the NAT in front of it.
    case direct(Endpoint)
    /// To a blind relay, which sees addresses and volumes, not content.
    case relayed(Endpoint)

    /// Where the packets go.
    public var endpoint: Endpoint {
      switch self {
      case .direct(let endpoint), .relayed(let endpoint): endpoint
      }
    }

    /// It goes over a blind relay.
    public var isRelayed: Bool { if case .relayed = self { true } else { false } }
  }

  /// How far a connection is. It goes forward only: `connecting`, `open`, any number of `moved`, `closing`, `closed`;
  /// some may be left out. New cases may be added.
  public enum State: Hashable, Sendable {
    /// Of a `Dial`: the peer is looked for, and a path to it. A `Connection` exists from its opening on; what a swarm
    /// dials is told by `Hyperswarm.Event.attempt`.
    case connecting
    /// Since its opening it goes this way.
    case open(Path)
    /// It goes on over another path, without loss: an address has changed, or a direct path is in the place of a relay.
    case moved(Path)
    /// One half has ended, by either side, or the program has let go of it: what was written is still sent.
    case closing
    /// The last one; why, `nil` for a regular end or a local `destroy`.
    case closed(ConnectionError?)
  }

  /// The present state, without waiting: as of the loop's latest change.
  public var state: State { inner.board.current }

  /// The path in use, the last one when it has closed; `nil` if the transport was gone before the connection opened.
  public var path: Path? { inner.board.path }

  /// The present state, then each change, up to `closed`. Each reader has its own sequence, up to 16 at a time: the
  /// oldest gives way. A reader that is more than 16 changes behind misses those between, never the last one.
  public var states: HyperDHT.Events<State, Never> { HyperDHT.Events(inner.board.reader()) }
}

/// The state of a connection and the readers of its changes: written on the loop, except for `closing`, read anywhere.
/// With the queues that few connections need, which are made by their first use. Copies are the same board.
struct StateBoard: Sendable {
  typealias State = HyperDHT.Connection.State

  private struct Reader {
    weak var queue: EventQueue<State, Never>?
  }

  private struct Content {
    var state = State.connecting
    var path: HyperDHT.Connection.Path?
    var isClosed = false
    var readers: [Reader] = []
    var datagrams: EventQueue<[UInt8], Never>?
    var pathChanges: EventQueue<Endpoint, Never>?
    var isProven = false
    var isDestructionDue = false
    var proof: ClosingFlag<ConnectionError>?
  }

  private let content = Locked(Content())

  var current: State { content.withLock { $0.state } }
  var path: HyperDHT.Connection.Path? { content.withLock { $0.path } }

  var datagrams: EventQueue<[UInt8], Never> { queue(\.datagrams, Limits.datagrams) }
  var pathChanges: EventQueue<Endpoint, Never> { queue(\.pathChanges, Limits.pathChanges) }

  /// The peer has proved its key, and did so before the connection closed.
  var isProven: Bool { content.withLock { $0.isProven } }

  /// From any thread: `destroy` was called. Known before the loop comes to it: a handle that goes on the loop overtakes
  /// what other threads have posted.
  var isDestructionDue: Bool { content.withLock { $0.isDestructionDue } }
  func expectDestruction() { content.withLock { $0.isDestructionDue = true } }

  /// Closes without a reason when the peer has proved its key, with one if the connection closes before.
  var proof: ClosingFlag<ConnectionError> {
    content.withLock { content in
      if let proof = content.proof { return proof }
      let proof = ClosingFlag<ConnectionError>()
      content.proof = proof
      if case .closed(let error) = content.state, !content.isProven { proof.record(error ?? .closed) }
      if content.isProven || content.isClosed { proof.close() }
      return proof
    }
  }

  func proved() {
    let proof = content.withLock { content -> ClosingFlag<ConnectionError>? in
      content.isProven = !content.isClosed
      return content.proof
    }
    proof?.close()
  }

  private func queue<Element>(
    _ place: WritableKeyPath<Content, EventQueue<Element, Never>?>, _ capacity: Int
  ) -> EventQueue<Element, Never> {
    content.withLock { content in
      if let queue = content[keyPath: place] { return queue }
      let queue = EventQueue<Element, Never>(capacity: capacity)
      content[keyPath: place] = queue
      if content.isClosed { queue.finish() }
      return queue
    }
  }

  func reader() -> EventQueue<State, Never> {
    let queue = EventQueue<State, Never>(capacity: Limits.stateChanges)
    let oldest = content.withLock { content -> EventQueue<State, Never>? in
      queue.push(content.state)
      if content.isClosed {
        queue.finish()
        return nil
      }
      content.readers.removeAll { $0.queue == nil }
      content.readers.append(Reader(queue: queue))
      return content.readers.count > Limits.stateReaders ? content.readers.removeFirst().queue : nil
    }
    oldest?.finish()
    return queue
  }

  /// The path at the opening; without one the transport is gone already.
  func open(_ path: HyperDHT.Connection.Path?) {
    guard let path else { return closing() }
    content.withLock { $0.path = path }
    change { _ in .open(path) }
  }

  /// In the turn of the opening: the path was another one.
  func reopen(_ path: HyperDHT.Connection.Path) {
    content.withLock { $0.path = path }
    change { state in
      switch state {
      case .open: .open(path)
      case .connecting, .moved, .closing, .closed: nil
      }
    }
  }

  func moved(to path: HyperDHT.Connection.Path) {
    content.withLock { $0.path = path }
    change { state in
      switch state {
      case .open, .moved: .moved(path)
      case .connecting, .closing, .closed: nil
      }
    }
  }

  func closing() {
    change { state in
      switch state {
      case .connecting, .open, .moved: .closing
      case .closing, .closed: nil
      }
    }
  }

  func closed(_ error: ConnectionError?) {
    let (readers, datagrams, pathChanges, proof) = content.withLock { content in
      content.state = .closed(error)
      content.isClosed = true
      defer { content.readers = [] }
      return (content.readers, content.datagrams, content.pathChanges, content.proof)
    }
    datagrams?.finish()
    pathChanges?.finish()
    // Nothing after a proof.
    proof?.record(error ?? .closed)
    proof?.close()
    for reader in readers {
      guard let queue = reader.queue else { continue }
      push(.closed(error), to: queue)
      queue.finish()
    }
  }

  private func change(_ next: (State) -> State?) {
    // Under the lock, so that all readers see the changes in one order: a push resumes a task and runs nothing.
    content.withLock { content in
      guard !content.isClosed, let state = next(content.state) else { return }
      content.state = state
      for reader in content.readers {
        if let queue = reader.queue { push(state, to: queue) }
      }
    }
  }

  /// A full queue gives what it has for the newest state.
  private func push(_ state: State, to queue: EventQueue<State, Never>) {
    guard !queue.push(state) else { return }
    _ = queue.drain()
    queue.push(state)
  }
}
