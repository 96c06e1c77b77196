import Foundation
import HyperCrypto
import HyperEncoding
import HyperswarmTesting
import XCTest

/// Feeds bytes of strangers to a decoder or a host: the corpus in `Tests/Fuzz/swift` first, then mutations of it.
///
/// With every test run each target gets a few hundred mutations. `HYPERSWARM_FUZZ_SECONDS=3600` sets the processor time
/// for each of them instead, and `HYPERSWARM_FUZZ_KEEP=1` puts what led somewhere new into the corpus. A target says
/// where an input led; it fails by itself, by a trap, or by taking longer than ``slowest``.
struct Fuzzer {
  /// Seconds of processor time that one input may take: a thousand times what most take.
  static let slowest = 2.0
  /// Integers of the wire at the edges of their encodings.
  private static let edges: [[UInt8]] = [
    [0], [0xfc], [0xfd, 0xff, 0xff], [0xfe, 0xff, 0xff, 0xff, 0xff], [UInt8](repeating: 0xff, count: 9),
  ]
  /// Bytes of an input.
  static let longest = 4096

  let name: String
  /// Mutations when no time is set.
  let mutations: Int
  /// Inputs to begin with, as long as there is no corpus.
  let seeds: [[UInt8]]
  /// Where an input led, as a small number of kinds.
  let run: ([UInt8]) throws -> [Int]

  /// Seconds that this process has computed: a machine with other work does not count.
  private static var processorTime: Double { Double(clock()) / Double(CLOCKS_PER_SEC) }

  private var folder: URL {
    URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .appendingPathComponent("../../Fuzz/swift/corpus/\(name)").standardized
  }

  private func corpus() throws -> [[UInt8]] {
    guard let names = try? FileManager.default.contentsOfDirectory(atPath: folder.path) else { return [] }
    return try names.sorted().map { [UInt8](try Data(contentsOf: folder.appendingPathComponent($0))) }
  }

  @discardableResult
  func test(file: StaticString = #filePath, line: UInt = #line) throws -> String {
    let settings = ProcessInfo.processInfo.environment
    let seconds = settings["HYPERSWARM_FUZZ_SECONDS"].flatMap { Double($0) }
    let keeps = settings["HYPERSWARM_FUZZ_KEEP"] == "1"
    var pool: [[UInt8]] = []
    var seen: Set<[Int]> = []
    let recorded = try corpus()
    if !keeps { XCTAssertGreaterThan(recorded.count, 3, "no corpus of \(name)", file: file, line: line) }
    for input in recorded + (keeps ? seeds : []) {
      let isNew = seen.insert(try runTimed(input, file, line)).inserted
      pool.append(input)
      if keeps, isNew { try keep(input) }
    }
    let started = Self.processorTime
    var random = SeededRandom(seed: seconds == nil ? 1 : UInt64(Date().timeIntervalSince1970))
    var count = 0
    while seconds.map({ Self.processorTime - started < $0 }) ?? (count < mutations) {
      count += 1
      let input = mutate(pool, &random)
      guard seen.insert(try runTimed(input, file, line)).inserted else { continue }
      pool.append(input)
      if keeps { try keep(input) }
    }
    let time = Self.processorTime - started
    print("fuzz \(name): corpus of \(recorded.count), \(count) mutations in \(Int(time)) s, \(seen.count) kinds of end")
    return "\(recorded.count + count) inputs, \(seen.count) kinds of end"
  }

  private func runTimed(_ input: [UInt8], _ file: StaticString, _ line: UInt) throws -> [Int] {
    let started = Self.processorTime
    let kind = try run(input)
    let time = Self.processorTime - started
    XCTAssertLessThan(time, Fuzzer.slowest, "\(name): \(Hex.encode(input))", file: file, line: line)
    return kind
  }

  private func keep(_ input: [UInt8]) throws {
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    let name = String(Blake2b.hash32(input).hex.prefix(16))
    try Data(input).write(to: folder.appendingPathComponent(name))
  }

  // MARK: Mutations

  private func mutate(_ pool: [[UInt8]], _ random: inout SeededRandom) -> [UInt8] {
    func below(_ bound: Int) -> Int { bound > 0 ? Int(random.next() % UInt64(bound)) : 0 }
    var input = pool.isEmpty ? random.bytes(below(64)) : pool[below(pool.count)]
    for _ in 0...below(4) {
      switch below(8) {
      case 0 where !input.isEmpty: input[below(input.count)] = UInt8(truncatingIfNeeded: random.next())
      case 1 where !input.isEmpty: input[below(input.count)] ^= 1 << UInt8(below(8))
      case 2: input.insert(contentsOf: random.bytes(1 + below(8)), at: below(input.count + 1))
      case 3 where !input.isEmpty:
        let start = below(input.count)
        input.removeSubrange(start..<min(input.count, start + 1 + below(16)))
      case 4 where !input.isEmpty: input.removeLast(below(input.count))
      case 5 where !pool.isEmpty:
        // The head of one, the tail of another.
        let other = pool[below(pool.count)]
        input = Array(input.prefix(below(input.count + 1)) + other.suffix(below(other.count + 1)))
      case 6 where !input.isEmpty:
        // Numbers at the edges of the wire's integers.
        let value = Fuzzer.edges[below(Fuzzer.edges.count)]
        let start = below(input.count)
        input.replaceSubrange(start..<min(input.count, start + value.count), with: value)
      default:
        guard !input.isEmpty else { continue }
        let start = below(input.count)
        let piece = input[start..<min(input.count, start + 1 + below(40))]
        input.insert(contentsOf: Array(piece), at: below(input.count + 1))
      }
    }
    return Array(input.prefix(Fuzzer.longest))
  }
}
