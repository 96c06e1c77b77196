import HyperEncoding
import HyperEnvironment

/// Random punches are loud (hyperdht.md 8.6): what all of them together take is bounded in sockets, and one network is
/// the aim of one at a time, with a pause after each. So a peer that does not mean it holds up its own network only.
///
/// When the sockets are used up, a punch that has had its turn makes room for a network that has none.
final class PunchBudget {
  /// One punch.
  final class Ticket {
    fileprivate let network: IPv4Address?
    fileprivate let sockets: Int
    fileprivate let since: UInt64
    fileprivate let stop: () -> Void

    fileprivate init(network: IPv4Address?, sockets: Int, since: UInt64, stop: @escaping () -> Void) {
      self.network = network
      self.sockets = sockets
      self.since = since
      self.stop = stop
    }
  }

  private let environment: any Environment
  private let interval: UInt64
  /// By the order of their beginnings.
  private var running: [Ticket] = []
  /// When the last punch into a network has ended, newest last.
  private var ended: [(network: IPv4Address, at: UInt64)] = []
  private var quietSince: UInt64?

  init(environment: any Environment, interval: UInt64, startsRunning: Bool) {
    self.environment = environment
    self.interval = interval
    if startsRunning { restart() }
  }

  /// Sockets that a punch between these NATs counts as; `nil` when it is no random one.
  static func cost(local: Firewall, remote: Firewall) -> Int? {
    guard local.isRandom || remote.isRandom else { return nil }
    return local.isRandom ? Limits.Punch.birthdaySockets : Limits.Punch.randomPortSockets
  }

  var socketCount: Int { running.reduce(0) { $0 + $1.sockets } }

  func isAvailable(for network: IPv4Address?, sockets: Int) -> Bool {
    let now = environment.nowMilliseconds
    if let quietSince, now - quietSince < interval { return false }
    if running.contains(where: { $0.network == network }) { return false }
    if let last = ended.last(where: { $0.network == network }), now - last.at < interval { return false }
    let past = running.filter { isPast($0, now) }.reduce(0) { $0 + $1.sockets }
    return socketCount - past + sockets <= Limits.Punch.randomSockets
  }

  /// `stop` ends the punch, when another one needs its sockets.
  func begin(for network: IPv4Address?, sockets: Int, stop: @escaping () -> Void) -> Ticket {
    let now = environment.nowMilliseconds
    while socketCount + sockets > Limits.Punch.randomSockets, let oldest = running.first, isPast(oldest, now) {
      end(oldest)
      oldest.stop()
    }
    let ticket = Ticket(network: network, sockets: sockets, since: now, stop: stop)
    running.append(ticket)
    return ticket
  }

  /// Idempotent.
  func end(_ ticket: Ticket) {
    guard let index = running.firstIndex(where: { $0 === ticket }) else { return }
    running.remove(at: index)
    guard let network = ticket.network else { return }
    ended.removeAll { $0.network == network }
    ended.append((network, environment.nowMilliseconds))
    if ended.count > Limits.Punch.punchedNetworks { ended.removeFirst() }
  }

  /// No random punch for a while.
  func restart() { quietSince = environment.nowMilliseconds }

  private func isPast(_ ticket: Ticket, _ now: UInt64) -> Bool { now >= ticket.since + Limits.Punch.randomPunchTurn }
}
