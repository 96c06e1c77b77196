import HyperDHT
import HyperEncoding
import Synchronization

/// What the places of a command are shared by: addresses, and keys where an address says nothing, because a relay or
/// this machine stands between.
enum PlaceGroup: Hashable, Sendable {
  case host(IPv4Address)
  case key(Bytes32)

  init(_ connection: HyperDHT.Connection) {
    if let path = connection.path, !path.isRelayed, !path.endpoint.host.isLoopback {
      self = .host(path.endpoint.host)
    } else {
      self = .key(connection.remotePublicKey)
    }
  }
}

/// Callers at a time, of whom none can keep the others out. Where all places are taken, a newcomer gets that of
///
/// - a caller that has shown nothing yet, of a group with as many or more of them, or of its own;
/// - one that has said and heard nothing for a while, of a group with more;
/// - any, of a group with more than a quarter of the places and twice as many as the newcomer's;
///
/// and of these of the group with most, and there of the one that was silent for longest.
final class Places: Sendable {
  typealias Instant = ContinuousClock.Instant

  /// One caller's. A caller that is asked to give way keeps it until it has left.
  final class Place: Sendable {
    let group: PlaceGroup
    fileprivate let number: Int
    fileprivate let giveWay: @Sendable () -> Void
    private let hasShown: @Sendable () -> Bool
    private let settled = Atomic(false)
    private let used: Mutex<Instant>

    fileprivate init(
      _ number: Int, _ group: PlaceGroup, _ now: Instant, hasShown: @escaping @Sendable () -> Bool,
      giveWay: @escaping @Sendable () -> Void
    ) {
      self.number = number
      self.group = group
      self.hasShown = hasShown
      self.giveWay = giveWay
      used = Mutex(now)
    }

    /// Something was said or heard.
    func touch(at now: Instant = .now) { used.withLock { $0 = now } }

    /// The caller has shown what it has to.
    func settle() { settled.store(true, ordering: .relaxed) }

    fileprivate var isSettled: Bool { settled.load(ordering: .relaxed) || hasShown() }
    fileprivate var usedAt: Instant { used.withLock { $0 } }
  }

  private struct State {
    var places: [Int: Place] = [:]
    var counts: [PlaceGroup: Int] = [:]
    /// Asked to give way, and still there.
    var leaving: Set<Int> = []
    var next = 0

    mutating func remove(_ place: Place) {
      guard places.removeValue(forKey: place.number) != nil else { return }
      let left = counts[place.group, default: 1] - 1
      counts[place.group] = left > 0 ? left : nil
    }
  }

  let limit: Int
  /// More that may be there until those that give way have gone.
  private let slack: Int
  private let idle: Duration?
  private let state = Mutex(State())

  /// - Parameter idle: of silence, after which a caller gives way to one of a group with fewer; `nil` for no such time.
  init(_ limit: Int, idle: Duration? = nil) {
    self.limit = limit
    slack = Places.slack(of: limit)
    self.idle = idle
  }

  /// As many as there is room for, those that are leaving included.
  static func within(_ room: Int, idle: Duration? = nil) -> Places { Places(max(room * 16 / 17, 1), idle: idle) }

  /// What so many places need, with those that are leaving.
  static func room(for limit: Int) -> Int { limit + slack(of: limit) }

  private static func slack(of limit: Int) -> Int { max(limit / 16, 1) }

  var count: Int { state.withLock { $0.places.count } }
  var isFull: Bool { count >= limit }

  /// A place for a caller, at the cost of another one where need be; `nil` when there is none for it.
  func enter(
    _ group: PlaceGroup, at now: Instant = .now, hasShown: @escaping @Sendable () -> Bool = { false },
    giveWay: @escaping @Sendable () -> Void
  ) -> Place? {
    let (place, victim) = state.withLock { state -> (Place?, Place?) in
      guard state.places.count + state.leaving.count < limit + slack else { return (nil, nil) }
      var victim: Place?
      if state.places.count >= limit {
        victim = self.victim(in: state, for: group, at: now)
        guard let victim else { return (nil, nil) }
        state.remove(victim)
        state.leaving.insert(victim.number)
      }
      let place = Place(state.next, group, now, hasShown: hasShown, giveWay: giveWay)
      state.next += 1
      state.places[place.number] = place
      state.counts[group, default: 0] += 1
      return (place, victim)
    }
    victim?.giveWay()
    return place
  }

  /// A place for a connection, which is a stranger's until its peer has proved its key.
  func enter(_ connection: HyperDHT.Connection) -> Place? {
    enter(PlaceGroup(connection), hasShown: { connection.isPeerProven }, giveWay: { connection.destroy() })
  }

  func leave(_ place: Place) {
    state.withLock { state in
      state.remove(place)
      state.leaving.remove(place.number)
    }
  }

  /// Whether a caller of a new group would find a place.
  func hasRoom(at now: Instant = .now) -> Bool {
    state.withLock { $0.places.count < limit || victim(in: $0, for: nil, at: now) != nil }
  }

  private func victim(in state: State, for group: PlaceGroup?, at now: Instant) -> Place? {
    let own = 1 + (group.flatMap { state.counts[$0] } ?? 0)
    var found: (place: Place, count: Int, usedAt: Instant)?
    for place in state.places.values {
      let count = state.counts[place.group, default: 0]
      if let found, count < found.count { continue }
      let usedAt = place.usedAt
      guard place.group == group ? !place.isSettled : givesWay(place, count, usedAt, to: own, now) else { continue }
      if let found, count == found.count, (usedAt, place.number) > (found.usedAt, found.place.number) { continue }
      found = (place, count, usedAt)
    }
    return found?.place
  }

  private func givesWay(_ place: Place, _ count: Int, _ usedAt: Instant, to own: Int, _ now: Instant) -> Bool {
    if own <= count, !place.isSettled { return true }
    if let idle, own < count, now - usedAt >= idle { return true }
    return count > limit / 4 && 2 * own <= count
  }
}
