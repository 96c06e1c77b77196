import Foundation
import Synchronization

/// One thread that waits for descriptors on behalf of tasks.
final class Poller: Sendable {
  static let shared = Poller()

  private struct Waiter: Sendable {
    let descriptor: Int32
    let events: Int16
    let deadline: Date?
    let continuation: CheckedContinuation<Bool, Never>
  }

  private let added = Mutex<[Waiter]>([])
  private let wakeUp: (read: Int32, write: Int32)

  private init() {
    var ends: [Int32] = [-1, -1]
    // Without a pipe nothing can be waited for.
    precondition(pipe(&ends) == 0, "no descriptors are left")
    for end in ends {
      _ = fcntl(end, F_SETFD, FD_CLOEXEC)
      _ = fcntl(end, F_SETFL, O_NONBLOCK)
    }
    wakeUp = (ends[0], ends[1])
    Thread { [self] in run() }.start()
  }

  /// Waits until the descriptor is ready, has an error or has ended. `false` after so many seconds.
  /// The descriptor stays open until then: `Socket.shutDown` ends the wait.
  func wait(_ descriptor: Int32, for events: Int32, seconds: Double? = nil) async -> Bool {
    await withCheckedContinuation { continuation in
      let deadline = seconds.map { Date(timeIntervalSinceNow: $0) }
      added.withLock {
        $0.append(
          Waiter(descriptor: descriptor, events: Int16(events), deadline: deadline, continuation: continuation))
      }
      var byte: UInt8 = 0
      _ = write(wakeUp.write, &byte, 1)
    }
  }

  private func takeAdded() -> [Waiter] {
    added.withLock { added in
      defer { added = [] }
      return added
    }
  }

  private func run() {
    var waiters: [Waiter] = []
    var polled: [pollfd] = []
    while true {
      polled = [pollfd(fd: wakeUp.read, events: Int16(POLLIN), revents: 0)]
      polled += waiters.map { pollfd(fd: $0.descriptor, events: $0.events, revents: 0) }
      let next = waiters.compactMap(\.deadline).min()
      let timeout = next.map { Int32(max(0, min($0.timeIntervalSinceNow * 1000 + 1, 60_000))) } ?? -1
      guard poll(&polled, nfds_t(polled.count), timeout) >= 0 || errno == EINTR else { continue }
      if polled[0].revents != 0 {
        var bytes = [UInt8](repeating: 0, count: 512)
        while read(wakeUp.read, &bytes, bytes.count) > 0 {}
      }
      let now = Date()
      var kept: [Waiter] = []
      for (index, waiter) in waiters.enumerated() {
        if polled[index + 1].revents != 0 {
          waiter.continuation.resume(returning: true)
        } else if let deadline = waiter.deadline, deadline <= now {
          waiter.continuation.resume(returning: false)
        } else {
          kept.append(waiter)
        }
      }
      waiters = kept + takeAdded()
    }
  }
}
