import Foundation
import HyperFileTransfer
import Synchronization

/// How far one transfer is; written by the transfer, read by the display.
final class TransferProgress: Sendable {
  struct Snapshot: Sendable {
    var file = ""
    var fileSize: UInt64 = 0
    var filePosition: UInt64 = 0
    var files = 0
    var total: UInt64 = 0
    /// Of all files: what is there.
    var done: UInt64 = 0
    /// What this process has moved.
    var moved: UInt64 = 0
  }

  private let state = Mutex(Snapshot())
  var snapshot: Snapshot { state.withLock { $0 } }

  func begin(files: Int, bytes: UInt64) {
    state.withLock {
      $0.files = files
      $0.total = bytes
    }
  }

  /// A file begins at an offset, behind so many bytes of others.
  func file(_ name: String, size: UInt64, at offset: UInt64, before: UInt64) {
    state.withLock {
      $0.file = name
      $0.fileSize = size
      $0.filePosition = offset
      $0.done = before + offset
    }
  }

  func advance(to position: UInt64) {
    state.withLock {
      let count = position - $0.filePosition
      $0.filePosition = position
      $0.done += count
      $0.moved += count
    }
  }
}

/// Shows the progress of transfers: on a terminal a line that changes, elsewhere one now and then.
final class ProgressDisplay: Sendable {
  private let transfers = Mutex<[ObjectIdentifier: TransferProgress]>([:])
  private static let interval: Duration = Console.isTerminal && !Console.isJSON ? .milliseconds(200) : .seconds(2)
  /// Of the rate, in intervals.
  private static let window = 15

  func add(_ progress: TransferProgress) { transfers.withLock { $0[ObjectIdentifier(progress)] = progress } }
  func remove(_ progress: TransferProgress) { transfers.withLock { $0[ObjectIdentifier(progress)] = nil } }

  /// Until cancelled.
  func run() async {
    let clock = ContinuousClock()
    var samples: [(time: ContinuousClock.Instant, moved: UInt64)] = []
    var shown: UInt64?
    while (try? await Task.sleep(for: ProgressDisplay.interval)) != nil {
      let snapshots = transfers.withLock { $0.values.map(\.snapshot) }.filter { !$0.file.isEmpty }
      let moved = snapshots.reduce(0) { $0 + $1.moved }
      // A transfer has left, and its bytes with it.
      if let last = samples.last, moved < last.moved { samples.removeAll() }
      samples.append((clock.now, moved))
      if samples.count > ProgressDisplay.window { samples.removeFirst() }
      guard let first = samples.first, let last = samples.last, !snapshots.isEmpty else { continue }
      let seconds = (last.time - first.time).seconds
      let rate = seconds > 0 ? Double(last.moved - first.moved) / seconds : 0
      // A pipe need not be told again that nothing has happened.
      if !Console.isTerminal, shown == moved { continue }
      shown = moved
      show(snapshots, rate)
    }
  }

  private func show(_ snapshots: [TransferProgress.Snapshot], _ rate: Double) {
    if snapshots.count == 1, let only = snapshots.first { return show(only, rate) }
    Console.progressEvent(
      "\(snapshots.count) receivers   \(ByteCount.text(UInt64(rate)))/s",
      [("receivers", .integer(snapshots.count)), ("bytesPerSecond", .number(rate))])
  }

  private func show(_ progress: TransferProgress.Snapshot, _ rate: Double) {
    let percent = progress.total > 0 ? Int(100 * Double(progress.done) / Double(progress.total)) : 100
    let left = rate > 0 ? Double(progress.total - min(progress.done, progress.total)) / rate : nil
    let file = progress.fileSize > 0 ? Int(100 * Double(progress.filePosition) / Double(progress.fileSize)) : 100
    let bar = String(repeating: "#", count: percent / 5) + String(repeating: "-", count: 20 - percent / 5)
    let name = ProgressDisplay.shortened(progress.file)
    let parts = [
      progress.files == 1 ? name : "\(name) \(file) %", "[\(bar)] \(percent) %",
      "\(ByteCount.text(progress.done)) of \(ByteCount.text(progress.total))", "\(ByteCount.text(UInt64(rate)))/s",
      left.map { "\(ProgressDisplay.time($0)) left" } ?? "waiting",
    ]
    Console.progressEvent(
      parts.joined(separator: "  "),
      [
        ("file", .string(progress.file)), ("fileBytes", .integer(Int(progress.filePosition))),
        ("fileTotal", .integer(Int(progress.fileSize))), ("bytes", .integer(Int(progress.done))),
        ("total", .integer(Int(progress.total))), ("bytesPerSecond", .number(rate)),
        ("secondsLeft", left.map { .number($0) } ?? .null),
      ])
  }

  /// The end of a long path says more than its beginning.
  static func shortened(_ name: String) -> String { name.count <= 28 ? name : "…" + name.suffix(27) }

  static func time(_ seconds: Double) -> String {
    let seconds = Int(min(seconds, 1e8))
    switch seconds {
    case ..<60: return "\(seconds) s"
    case ..<3600: return "\(seconds / 60) min \(seconds % 60) s"
    default: return "\(seconds / 3600) h \(seconds % 3600 / 60) min"
    }
  }
}

enum ByteCount {
  static func text(_ count: UInt64) -> String {
    guard count >= 1024 else { return "\(count) B" }
    var value = Double(count)
    var units = ["B", "KiB", "MiB", "GiB", "TiB"][...]
    while value >= 1024, units.count > 1 {
      value /= 1024
      units = units.dropFirst()
    }
    return String(format: value < 100 ? "%.1f %@" : "%.0f %@", value, units.first ?? "")
  }
}

extension Console {
  /// A line of progress, on standard error.
  static func progressEvent(_ text: String, _ fields: [(String, JSON)]) {
    if isJSON { note("progress", "", fields) } else { progress(text) }
  }
}
