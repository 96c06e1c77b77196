import HyperEncoding
import HyperEnvironment
import HyperRuntime

#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

extension UDXTransport {
  /// Counters of all sockets and streams of the transport together, also of those that have closed; all zero once its
  /// loop has ended.
  public nonisolated(nonsending) func statistics() async -> UDXStatistics {
    let environment = environment
    return await onLoop(loop) { environment.value.instance.statistics } ?? UDXStatistics()
  }

  /// The IPv4 addresses of a host name, or of a dotted address, in the order of the system's resolver, at most 32;
  /// empty when there is none, or the loop has ended. The call with a port has IPv6 ones, too. Up to 16 look-ups run at
  /// a time on a loop, each on a thread of its own; further ones find nothing. Lasts as long as the resolver takes,
  /// cancelled or not.
  public nonisolated(nonsending) func lookup(_ host: String) async -> [IPv4Address] {
    let environment = environment
    let loop = loop
    return await withUnsafeContinuation {
      (continuation: UnsafeContinuation<[IPv4Address], Never>) in
      let isPosted = loop.post { environment.value.resolve(host) { continuation.resume(returning: $0) } }
      if !isPosted { continuation.resume(returning: []) }
    }
  }

  /// The addresses of a host name, or of an address, with a port: what `connect` and `send` take. In the order of the
  /// system's resolver, at most 32; empty when there is none. Up to 16 look-ups run at a time, further ones find
  /// nothing.
  /// - Parameters:
  ///   - host: a name, or an address of either family, such as `fe80::1%eth0`.
  ///   - port: of all addresses.
  ///   - family: which addresses to look for; `nil` is both.
  public nonisolated(nonsending) func lookup(
    _ host: String, port: UInt16, family: UDXAddress.Family? = nil
  ) async -> [UDXAddress] {
    let loop = loop
    let number =
      switch family {
      case .ipv4: AF_INET
      case .ipv6: AF_INET6
      case nil: AF_UNSPEC
      }
    return await withUnsafeContinuation {
      (continuation: UnsafeContinuation<[UDXAddress], Never>) in
      let isPosted = loop.post {
        loop.resolve(host, family: number) { found in
          continuation.resume(returning: found.map { UDXAddress(host: $0.host, port: port, scope: $0.scope) })
        }
      }
      if !isPosted { continuation.resume(returning: []) }
    }
  }

  /// An address of this host.
  public struct Interface: Hashable, Sendable {
    /// The system's name of the interface, such as `eth0`.
    public var name: String
    /// The system's number of the interface: the `scope` of a `UDXAddress` that is link-local.
    public var index: UInt32
    /// One of its addresses, of either family.
    public var address: IPAddress
    /// Loopback and the like.
    public var isInternal: Bool

    init(_ local: LocalAddress) {
      name = local.name
      index = local.index
      address = local.address
      isInternal = local.isInternal
    }
  }

  /// The addresses of this host's interfaces at this moment, of both families; none when the system does not tell. From
  /// any thread.
  public static var interfaces: [Interface] { UVEventLoop.localAddresses().map(Interface.init) }

  /// The addresses of this host whenever they, or its IPv4 routes, change. Each change goes to one reader; up to 16
  /// wait, further ones are dropped. The transport watches as long as the sequence or an iterator of it lives; the
  /// sequence ends with the transport's loop.
  /// - Parameter interval: how often to ask systems that do not tell, 100 ms at least. Where the system tells, that
  ///   is done besides, no more often than every five seconds.
  public nonisolated(nonsending) func interfaceChanges(
    every interval: Duration = .seconds(5)
  ) async -> InterfaceChanges {
    let queue = EventQueue<[Interface], Never>(capacity: Limits.interfaceChanges)
    let (loop, milliseconds) = (loop, interval.wholeMilliseconds)
    let watching = await onLoop(loop) { [weak queue] in
      let watch = loop.watchLocalAddresses(every: milliseconds) { addresses in
        queue?.push(addresses.map(Interface.init))
      }
      let hook = loop.addShutdownHook { closed in
        watch.cancel()
        queue?.finish()
        closed()
      }
      return LoopBound((watch, hook))
    }
    if let watching {
      queue.whenReleased {
        loop.post {
          watching.value.0.cancel()
          loop.removeShutdownHook(watching.value.1)
        }
      }
    } else {
      queue.finish()
    }
    return InterfaceChanges(queue: queue)
  }

  /// The addresses of this host, one element a change.
  public struct InterfaceChanges: AsyncSequence, Sendable {
    /// All addresses after the change.
    public typealias Element = [Interface]
    /// It ends without an error.
    public typealias Failure = Never
    let queue: EventQueue<[Interface], Never>

    /// Another reader of the same changes.
    public func makeAsyncIterator() -> Iterator { Iterator(queue: queue) }

    /// Takes the changes one by one.
    public struct Iterator: AsyncIteratorProtocol {
      let queue: EventQueue<[Interface], Never>

      /// The addresses after the next change; `nil` when the loop has ended, or the task is cancelled.
      public mutating func next(isolation actor: isolated (any Actor)?) async -> [Interface]? {
        await queue.next()
      }

      /// The addresses after the next change; `nil` when the loop has ended, or the task is cancelled.
      public mutating func next() async -> [Interface]? { await queue.next() }
    }
  }
}
