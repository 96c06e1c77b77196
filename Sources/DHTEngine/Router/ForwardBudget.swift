import HyperCollections
import HyperEncoding
import HyperRPC

/// Which messages are forwarded (hyperdht.md B-6): a token bucket for each source, for each destination host, and for
/// all together.
///
/// The shared buckets are not emptied by the loudest: the more a source has tried lately, the more they must hold for
/// it. While there is enough for all this changes nothing; when there is not, heavy sources are refused first, and a
/// client that connects now and then is served.
///
/// Sources that are all light may be forged ones. What tells a client that exists from them has the lower levels of the
/// shared buckets for itself: its source is proven; or the message was refused and comes again; or it is one of hole
/// punching, which follows a handshake.
struct ForwardBudget {
  fileprivate struct Source {
    var bucket: TokenBucket
    var attempts: UInt64 = 0
    var updated: UInt64
  }

  /// A proven endpoint has a budget of its own, others share that of their IP address (port 0).
  private var sources: TwoGenerationCache<Endpoint, Source>
  private var destinations: TwoGenerationCache<IPv4Address, TokenBucket>
  private var total: TokenBucket
  private var refusals: Refusals<Message>
  private let configuration: RouterConfiguration

  /// One message and its retransmissions.
  private struct Message: Hashable {
    var source: Endpoint
    var tid: UInt16
  }

  init(_ configuration: RouterConfiguration, now: UInt64) {
    self.configuration = configuration
    let memory = 4 * Limits.Router.forwardHalfLife
    sources = TwoGenerationCache(
      .init(maximumEntries: configuration.maximumTrackedHosts, maximumAge: memory), now: now)
    destinations = TwoGenerationCache(
      .init(maximumEntries: configuration.maximumTrackedHosts, maximumAge: memory), now: now)
    total = TokenBucket(configuration.totalForwards, now: now)
    refusals = Refusals(
      maximumEntries: configuration.maximumTrackedRefusals, leastAge: Limits.Router.refusalAge,
      memory: Limits.Router.refusalMemory, now: now)
  }

  /// Refused messages that are remembered.
  var refusalCount: Int { refusals.count }

  /// Whether this message may go to `destination` now (milliseconds). The source of one that may not although it
  /// comes again is asked to show itself: from then on it has a budget of its own, which what others send in its name
  /// does not drain, nor what they send in other names.
  mutating func take(_ request: IncomingRequest, to destination: IPv4Address, now: UInt64) -> Bool {
    let endpoint = request.from.endpoint
    if endpoint.isLoopback { return true }
    let message = Message(source: endpoint, tid: request.tid)
    let key = request.isProven ? endpoint : Endpoint(host: endpoint.host, port: 0)
    var source =
      sources.peek(key, now: now) ?? Source(bucket: TokenBucket(configuration.forwards, now: now), updated: now)
    source.note(now)
    // Handshakes in a host's name leave it its hole punching, which comes from other ports.
    let isLeading = !request.isProven && request.command == Command.peerHandshake.rawValue
    let isAgain = request.isRepetition || refusals.isAgain(message, now: now)
    let reserve = source.reserve(above: leastReserve(request, isAgain: isAgain))
    let isAllowed = takeAll(
      &source, destination, above: reserve, ownReserve: isLeading ? Limits.Router.reservedForHolepunching : 0, now)
    sources.set(key, source, now: now)
    if !isAllowed, !request.isProven {
      if isAgain { request.verifyWaitingSource() }
      refusals.insert(message, now: now)
    }
    return isAllowed
  }

  /// Thousandths of the shared buckets that are for others.
  private func leastReserve(_ request: IncomingRequest, isAgain: Bool) -> UInt64 {
    if request.isProven { return 0 }
    if isAgain { return Limits.Router.reservedForProvenSources }
    return request.command == Command.peerHandshake.rawValue
      ? Limits.Router.reservedForKnownClients : Limits.Router.reservedForRepetitions
  }

  /// All of the three, or none.
  private mutating func takeAll(
    _ source: inout Source, _ destination: IPv4Address, above reserve: UInt64, ownReserve: UInt64, _ now: UInt64
  ) -> Bool {
    var own = source.bucket
    var shared = total
    var ahead = destinations.peek(destination, now: now) ?? TokenBucket(configuration.destinationForwards, now: now)
    guard own.take(above: ownReserve, now: now), shared.take(above: reserve, now: now),
      ahead.take(above: reserve, now: now)
    else { return false }
    source.bucket = own
    total = shared
    destinations.set(destination, ahead, now: now)
    return true
  }
}

extension ForwardBudget.Source {
  /// Counts an attempt, refused or not, in thousandths; half of what was there is forgotten in every half-life.
  fileprivate mutating func note(_ now: UInt64) {
    let elapsed = now > updated ? now - updated : 0
    let halvings = elapsed / Limits.Router.forwardHalfLife
    attempts = halvings < 64 ? attempts >> halvings : 0
    // Between two halvings the curve is taken for a straight line.
    let rest = elapsed % Limits.Router.forwardHalfLife
    attempts -= attempts * rest / (2 * Limits.Router.forwardHalfLife)
    attempts = min(attempts + 1000, 8 * 1000 * Limits.Router.heavyForwards)
    updated = now
  }

  /// Thousandths of a shared bucket that this source leaves to others: from `least` for one that has sent nothing.
  fileprivate func reserve(above least: UInt64) -> UInt64 {
    let weight = min(attempts / Limits.Router.heavyForwards, 1000)
    return least + weight * (Limits.Router.reservedForLightSources - least) / 1000
  }
}
