#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// Seconds on the clock, and of all threads of this process.
struct Meter {
  private let start = ContinuousClock.now
  private let cpuStart = clock()

  var seconds: Double { inSeconds(start.duration(to: .now)) }
  var cpuSeconds: Double { Double(clock() - cpuStart) / Double(CLOCKS_PER_SEC) }

  /// Of this process, without what it shares; only Linux tells it so.
  static var residentBytes: Int? {
    guard let file = fopen("/proc/self/statm", "r") else { return nil }
    defer { fclose(file) }
    var line = [CChar](repeating: 0, count: 256)
    guard fgets(&line, Int32(line.count), file) != nil else { return nil }
    let text = String(decoding: line.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    let pages = text.split(separator: " ").compactMap { Int($0) }
    return pages.count > 2 ? (pages[1] - pages[2]) * Int(getpagesize()) : nil
  }
}

func inSeconds(_ duration: Duration) -> Double {
  Double(duration.components.seconds) + Double(duration.components.attoseconds) * 1e-18
}

/// What `Benchmarks/harness/workloads.py` reads: an object a line. The programs of other stacks write the same.
enum Report {
  static func figure(_ work: String, _ metric: String, _ value: Double, _ unit: String, higher: Bool = false) {
    say(
      "{\"work\": \"\(work)\", \"metric\": \"\(metric)\", \"value\": \(value), \"unit\": \"\(unit)\", "
        + "\"higher\": \(higher)}")
  }

  /// Every single time, in microseconds: the harness makes the histogram.
  static func times(_ work: String, _ microseconds: [Double]) {
    let values = microseconds.map { "\(($0 * 10).rounded() / 10)" }.joined(separator: ", ")
    say("{\"work\": \"\(work)\", \"times\": [\(values)]}")
  }

  static func say(_ line: String) {
    print(line)
    fflush(nil)
  }
}
