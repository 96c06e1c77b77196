import HyperCollections
import HyperEncoding

/// Which messages are forwarded (hyperdht.md B-6): a token bucket for each source, for each destination host, and for
/// all together.
///
/// The shared buckets are not emptied by the loudest: the more a source has tried lately, the more they must hold for
/// it. While there is enough for all this changes nothing; when there is not, heavy sources are refused first, and a
/// client that connects now and then is served.
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
  private let configuration: RouterConfiguration

  init(_ configuration: RouterConfiguration, now: UInt64) {
    self.configuration = configuration
    let memory = 4 * Limits.Router.forwardHalfLife
    sources = TwoGenerationCache(
      .init(maximumEntries: configuration.maximumTrackedHosts, maximumAge: memory), now: now)
    destinations = TwoGenerationCache(
      .init(maximumEntries: configuration.maximumTrackedHosts, maximumAge: memory), now: now)
    total = TokenBucket(configuration.totalForwards, now: now)
  }

  /// Whether a message of this source may go to `destination` now (milliseconds).
  mutating func take(_ endpoint: Endpoint, isProven: Bool, to destination: IPv4Address, now: UInt64) -> Bool {
    if endpoint.isLoopback { return true }
    let key = isProven ? endpoint : Endpoint(host: endpoint.host, port: 0)
    var source =
      sources.peek(key, now: now) ?? Source(bucket: TokenBucket(configuration.forwards, now: now), updated: now)
    source.note(now)
    let reserve = source.reserve(above: isProven ? 0 : Limits.Router.reservedForProvenSources)
    let isAllowed = takeAll(&source, destination, above: reserve, now)
    sources.set(key, source, now: now)
    return isAllowed
  }

  /// All of the three, or none.
  private mutating func takeAll(
    _ source: inout Source, _ destination: IPv4Address, above reserve: UInt64, _ now: UInt64
  ) -> Bool {
    var own = source.bucket
    var shared = total
    var ahead = destinations.peek(destination, now: now) ?? TokenBucket(configuration.destinationForwards, now: now)
    guard own.take(now: now), shared.take(above: reserve, now: now), ahead.take(above: reserve, now: now) else {
      return false
    }
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
