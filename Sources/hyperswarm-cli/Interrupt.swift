import ArgumentParser
import Foundation
import HyperDHT

/// SIGINT and SIGTERM, from its making on: make it before telling anybody that the command runs. The same signal again
/// ends the process at once (`Departure`). One per process.
final class Interrupt: @unchecked Sendable {
  /// Where the handlers write to. A signal source of Dispatch starts at an unknown later time; this does not.
  nonisolated(unsafe) private static var writeEnd: Int32 = -1

  private let source: (any DispatchSourceRead)?
  private let interrupts: AsyncStream<Int32>

  init() {
    let (stream, continuation) = AsyncStream<Int32>.makeStream()
    interrupts = stream
    var ends: [Int32] = [-1, -1]
    guard pipe(&ends) == 0 else {
      source = nil
      return
    }
    Interrupt.writeEnd = ends[1]
    let readEnd = ends[0]
    let source = DispatchSource.makeReadSource(fileDescriptor: readEnd, queue: .global())
    source.setEventHandler {
      var number: UInt8 = 0
      if read(readEnd, &number, 1) == 1 { continuation.yield(Int32(number)) }
    }
    source.activate()
    self.source = source
    for number in [SIGINT, SIGTERM] {
      signal(number) { number in
        Departure.take(number)
        var byte = UInt8(truncatingIfNeeded: number)
        _ = write(Interrupt.writeEnd, &byte, 1)
      }
    }
  }

  /// Returns at the first signal, or with `nil` when the task is cancelled; signals end the process at once from then
  /// on.
  @discardableResult
  func wait() async -> Int32? {
    var first: Int32?
    for await number in interrupts {
      first = number
      break
    }
    source?.cancel()
    for number in [SIGINT, SIGTERM] { Departure.take(number) }
    return first
  }
}

/// Runs `body` until it has ended or a signal comes, and destroys the node whatever happens: peers learn it at once.
/// Announcements are withdrawn unless `body` has failed. A signal ends the command with 128 plus its number.
func using(
  _ dht: HyperDHT, until interrupt: Interrupt, _ body: @escaping @Sendable () async throws -> Void
) async throws {
  enum End: Sendable {
    case finished((any Error)?)
    case signal(Int32)
  }
  let (ends, continuation) = AsyncStream<End>.makeStream()
  let work = Task {
    do {
      try await body()
      continuation.yield(.finished(nil))
    } catch {
      continuation.yield(.finished(error))
    }
  }
  let watch = Task {
    if let number = await interrupt.wait() { continuation.yield(.signal(number)) }
  }
  // The body may wait for a terminal or a reader that never comes: it is left behind at a signal.
  var first = End.finished(nil)
  for await end in ends {
    first = end
    break
  }
  work.cancel()
  watch.cancel()
  switch first {
  case .finished(nil): await dht.destroy()
  case .finished(let error?):
    await dht.destroy(force: true)
    throw error
  case .signal(let number):
    await dht.destroy()
    throw ExitCode(128 + number)
  }
}
