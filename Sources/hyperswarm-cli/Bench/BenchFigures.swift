import Foundation

/// Times of one kind, in order of their length.
struct BenchTimes {
  private let sorted: [Duration]

  init(_ times: [Duration]) { sorted = times.sorted() }

  var isEmpty: Bool { sorted.isEmpty }
  var count: Int { sorted.count }
  var total: Duration { sorted.reduce(.zero, +) }

  /// The shortest time that so many of 100 do not exceed (the nearest rank).
  func percentile(_ part: Double) -> Duration {
    guard let last = sorted.last else { return .zero }
    let rank = Int((part / 100 * Double(sorted.count)).rounded(.up))
    return rank < sorted.count ? sorted[max(0, rank - 1)] : last
  }

  var fields: [(String, JSON)] {
    [
      ("count", .integer(count)), ("p50", value(50)), ("p90", value(90)), ("p99", value(99)), ("max", value(100)),
      ("mean", isEmpty ? .null : .integer((total / count).microseconds)),
    ]
  }

  private func value(_ part: Double) -> JSON { isEmpty ? .null : .integer(percentile(part).microseconds) }

  var text: String {
    "half within \(percentile(50).readable), 90% \(percentile(90).readable), 99% \(percentile(99).readable), "
      + "all \(percentile(100).readable)"
  }

  // MARK: The histogram

  struct Bucket {
    /// Microseconds; it holds the times below that are not in the bucket before.
    var limit: Int
    var count: Int
  }

  /// Limits are 1, 2 and 5 with zeros; empty buckets at both ends are left out.
  var histogram: [Bucket] {
    guard let last = sorted.last?.microseconds else { return [] }
    var buckets: [Bucket] = []
    var index = 0
    var limit = 1
    var step = 0
    while true {
      let start = index
      while index < sorted.count, sorted[index].microseconds < limit { index += 1 }
      if index > start || !buckets.isEmpty { buckets.append(Bucket(limit: limit, count: index - start)) }
      if limit > last { return buckets }
      limit = [2, 5, 10][step % 3] * limit / [1, 2, 5][step % 3]
      step += 1
    }
  }

  /// A line for each bucket.
  var chart: [String] {
    let buckets = histogram
    let most = Double(buckets.map(\.count).max() ?? 0)
    return buckets.map { bucket in
      let limit = "< " + Duration.microseconds(bucket.limit).short
      return "  " + String(repeating: " ", count: max(0, 9 - limit.count)) + limit + "  "
        + Chart.bar(Double(bucket.count), of: most, width: 40) + " \(bucket.count)"
    }
  }
}

extension Duration {
  /// Of round numbers.
  fileprivate var short: String {
    switch microseconds {
    case ..<1000: "\(microseconds) \u{b5}s"
    case ..<1_000_000: "\(microseconds / 1000) ms"
    default: "\(microseconds / 1_000_000) s"
    }
  }
}
