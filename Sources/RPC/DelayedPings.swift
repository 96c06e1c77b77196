import HyperCollections
import HyperEncoding
import HyperEnvironment

/// Answers that wait for their time, bounded in all and per source (dht-rpc.md 7.1 and C-11). When all places are taken
/// a newcomer takes that of the oldest of the host that has most, among requesters whose source may be forged; those of
/// proven ones go only for each other.
struct DelayedPings {
  struct Ticket: Hashable {
    fileprivate let number: UInt64
    fileprivate let source: IPv4Address
    fileprivate let isProven: Bool
  }

  private var timers: [UInt64: any ScheduledAction] = [:]
  private var unproven = HostQueue()
  private var proven = HostQueue()
  private var serial: UInt64 = 0

  var count: Int { timers.count }

  /// A place for an answer; `nil` when there is none.
  mutating func enter(_ source: IPv4Address, isProven: Bool) -> Ticket? {
    guard unproven.count(of: source) + proven.count(of: source) < Limits.maximumDelayedPingsPerSource else {
      return nil
    }
    if timers.count >= Limits.maximumDelayedPings {
      if let victim = unproven.heaviest {
        remove(Ticket(number: victim.oldest, source: victim.address, isProven: false))
      } else if isProven, let victim = proven.heaviest {
        remove(Ticket(number: victim.oldest, source: victim.address, isProven: true))
      } else {
        return nil
      }
    }
    serial += 1
    return Ticket(number: serial, source: source, isProven: isProven)
  }

  mutating func insert(_ timer: any ScheduledAction, _ ticket: Ticket) {
    timers[ticket.number] = timer
    if ticket.isProven {
      proven.insert(ticket.number, of: ticket.source)
    } else {
      unproven.insert(ticket.number, of: ticket.source)
    }
  }

  mutating func remove(_ ticket: Ticket) {
    guard let timer = timers.removeValue(forKey: ticket.number) else { return }
    timer.cancel()
    if ticket.isProven {
      proven.remove(ticket.number, of: ticket.source)
    } else {
      unproven.remove(ticket.number, of: ticket.source)
    }
  }

  mutating func cancelAll() {
    for timer in timers.values { timer.cancel() }
    timers = [:]
    unproven = HostQueue()
    proven = HostQueue()
  }
}
