import CHyperAllocations
import Foundation

/// Feeds bytes of strangers to a decoder or a host: the corpus in `Tests/Fuzz/swift` first, then mutations of it.
///
/// With every test run each target gets a few hundred mutations. `HYPERSWARM_FUZZ_SECONDS=3600` sets the processor time
/// for each of them instead, and `HYPERSWARM_FUZZ_KEEP=1` puts what led somewhere new into the corpus. A target says
/// where an input led. It fails by itself, by a trap, by taking longer than ``slowest``, or by asking for more memory
/// than ``allocates`` says; what it answers it judges itself (`docs/fuzzing.md`).
public struct Fuzzer {
  /// Why an input is a finding.
  public struct Finding: Error, CustomStringConvertible {
    public let description: String
  }

  /// Seconds of processor time that one input may take: a thousand times what most take.
  private static let slowest = 2.0
  /// Integers of the wire at the edges of their encodings.
  private static let edges: [[UInt8]] = [
    [0], [0xfc], [0xfd, 0xff, 0xff], [0xfe, 0xff, 0xff, 0xff, 0xff], [UInt8](repeating: 0xff, count: 9),
  ]
  /// Bytes of an input.
  private static let longest = 4096

  let name: String
  /// Mutations when no time is set.
  let mutations: Int
  /// Bytes that one input may make the thread ask the heap for, given back or not: so many, and as many for each byte.
  let allocates: (base: Int, perByte: Int)
  /// Inputs to begin with, as long as there is no corpus.
  let seeds: [[UInt8]]
  /// Where an input led, as a small number of kinds.
  let run: ([UInt8]) throws -> [Int]

  public init(
    name: String, mutations: Int, allocates: (base: Int, perByte: Int), seeds: [[UInt8]],
    run: @escaping ([UInt8]) throws -> [Int]
  ) {
    self.name = name
    self.mutations = mutations
    self.allocates = allocates
    self.seeds = seeds
    self.run = run
  }

  /// Seconds that this process has computed: a machine with other work does not count.
  private static var processorTime: Double { Double(clock()) / Double(CLOCKS_PER_SEC) }

  private var folder: URL {
    URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .appendingPathComponent("../Fuzz/swift/corpus/\(name)").standardized
  }

  private func corpus() throws -> [[UInt8]] {
    guard let names = try? FileManager.default.contentsOfDirectory(atPath: folder.path) else { return [] }
    return try names.sorted().map { [UInt8](try Data(contentsOf: folder.appendingPathComponent($0))) }
  }

  /// - Returns: what was done, in a few words.
  @discardableResult
  public func test() throws -> String {
    let settings = ProcessInfo.processInfo.environment
    let seconds = settings["HYPERSWARM_FUZZ_SECONDS"].flatMap { Double($0) }
    let keeps = settings["HYPERSWARM_FUZZ_KEEP"] == "1"
    var pool: [[UInt8]] = []
    var seen: Set<[Int]> = []
    let recorded = try corpus()
    guard keeps || recorded.count > 3 else { throw Finding(description: "no corpus of \(name)") }
    for input in recorded + (keeps ? seeds : []) {
      let isNew = seen.insert(try judged(input)).inserted
      pool.append(input)
      if keeps, isNew { try keep(input) }
    }
    let started = Self.processorTime
    var random = Random(state: seconds == nil ? 1 : UInt64(Date().timeIntervalSince1970))
    var count = 0
    while seconds.map({ Self.processorTime - started < $0 }) ?? (count < mutations) {
      count += 1
      let input = mutate(pool, &random)
      guard seen.insert(try judged(input)).inserted else { continue }
      pool.append(input)
      if keeps { try keep(input) }
    }
    let time = Self.processorTime - started
    print("fuzz \(name): corpus of \(recorded.count), \(count) mutations in \(Int(time)) s, \(seen.count) kinds of end")
    return "\(recorded.count + count) inputs, \(seen.count) kinds of end"
  }

  private func judged(_ input: [UInt8]) throws -> [Int] {
    let started = Self.processorTime
    let before = hyper_requested_bytes()
    let kind = try run(input)
    let requested = hyper_requested_bytes() - before
    let time = Self.processorTime - started
    guard time <= Fuzzer.slowest else { throw Finding(description: "\(name): \(time) s for \(hex(input))") }
    guard before < 0 || requested <= Int64(allocates.base + allocates.perByte * input.count) else {
      throw Finding(description: "\(name): \(requested) bytes of memory for \(hex(input))")
    }
    return kind
  }

  private func hex(_ bytes: [UInt8]) -> String { bytes.map { String(format: "%02x", $0) }.joined() }

  private func keep(_ input: [UInt8]) throws {
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    // FNV-1a: a name.
    let hash = input.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
    try Data(input).write(to: folder.appendingPathComponent(String(format: "%016lx", hash)))
  }

  // MARK: Mutations

  private func mutate(_ pool: [[UInt8]], _ random: inout Random) -> [UInt8] {
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

  /// SplitMix64.
  private struct Random {
    var state: UInt64

    mutating func next() -> UInt64 {
      state &+= 0x9e37_79b9_7f4a_7c15
      var value = state
      value = (value ^ value >> 30) &* 0xbf58_476d_1ce4_e5b9
      value = (value ^ value >> 27) &* 0x94d0_49bb_1331_11eb
      return value ^ value >> 31
    }

    mutating func bytes(_ count: Int) -> [UInt8] { (0..<count).map { _ in UInt8(truncatingIfNeeded: next()) } }
  }
}
