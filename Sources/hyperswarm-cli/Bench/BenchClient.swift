import Foundation
import HyperDHT
import HyperEncoding
import Synchronization

/// The side that measures.
struct BenchClient: Sendable {
  enum Measurement: String, CaseIterable, Sendable {
    case connects
    case latency
    case up
    case down
  }

  struct Bounds: Sendable {
    var seconds: Double
    var bytes: Int
    var length: Int
    var connects: Int
    /// Connects at a time.
    var parallel: Int
    var pings: Int
  }

  /// For all connects, or all round trips.
  private static let shortTime = Duration.seconds(5)
  /// Bytes of a message that is answered.
  private static let ping = 64
  /// Round trips before those that count: they find caches cold.
  private static let warmUp = 10

  let dht: HyperDHT
  let key: Bytes32
  let options: HyperDHT.ConnectOptions
  let bounds: Bounds

  func run(_ measurements: [Measurement]) async throws {
    for measurement in measurements {
      try Task.checkCancellation()
      switch measurement {
      case .connects: try await connects()
      case .latency: try await latency()
      case .up, .down: try await throughput(isUp: measurement == .up)
      }
      try Console.check()
    }
  }

  /// On the loop: no change of thread is in the times.
  private func onLoop<T: Sendable>(_ body: @escaping @Sendable () async throws -> T) async throws -> T {
    let task = Task(executorPreference: dht.loop) { try await body() }
    return try await withTaskCancellationHandler {
      try await task.value
    } onCancel: {
      task.cancel()
    }
  }

  private func open(_ request: BenchProtocol.Request) async throws -> HyperDHT.Connection {
    let connection = try await dialling(key, on: dht, options)
    let answer = try await BenchProtocol.within(BenchProtocol.step, of: connection) {
      try await connection.write(request.text)
      return try await connection.read()
    }
    guard answer == Array("ok".utf8) else {
      connection.destroy()
      let text = Join.printable(String(decoding: (answer ?? []).prefix(100), as: UTF8.self))
      throw Failure("the peer does not serve bench: \(text.isEmpty ? "it has ended" : text)", code: "PROTOCOL")
    }
    return connection
  }

  // MARK: Connects

  private func connects() async throws {
    let start = ContinuousClock.now
    let end = start + BenchClient.shortTime
    let begun = Meter()
    let times = BenchTimes(
      try await onLoop {
        try await withThrowingTaskGroup(of: [Duration].self) { group in
          for number in 0..<bounds.parallel {
            group.addTask { try await dialInTurn(until: end, begun, isTalkative: number == 0) }
          }
          return try await group.reduce(into: []) { $0 += $1 }
        }
      })
    let isAlone = bounds.parallel == 1
    // Of several at a time the sum of all times is longer than they took.
    let time = isAlone ? times.total : ContinuousClock.now - start
    let rate = Double(times.count) / max(time.seconds, 1e-9)
    let rateText = rate < 10 ? String(format: "%.1f", rate) : "\(Int(rate.rounded()))"
    let manner = isAlone ? "one after the other" : "\(bounds.parallel) at a time"
    Console.event(
      "connects", "connects    \(rateText)/s \(manner) (\(times.count)): \(times.text)",
      [("perSecond", .number(rate)), ("parallel", .integer(bounds.parallel))] + times.fields)
  }

  /// Connects and parts until the time is over, or all of them have begun.
  private func dialInTurn(
    until end: ContinuousClock.Instant, _ begun: Meter, isTalkative: Bool
  ) async throws -> [Duration] {
    var times: [Duration] = []
    while times.isEmpty || ContinuousClock.now < end, begun.add(1) <= bounds.connects {
      let start = ContinuousClock.now
      let connection =
        isTalkative ? try await dialling(key, on: dht, options) : try await dht.connect(to: key, options: options)
      times.append(ContinuousClock.now - start)
      await connection.close()
    }
    return times
  }

  // MARK: Latency

  private func latency() async throws {
    let times = BenchTimes(
      try await onLoop {
        let connection = try await open(.echo)
        let message = [UInt8](repeating: 0x68, count: BenchClient.ping)
        var times: [Duration] = []
        let end = ContinuousClock.now + BenchClient.shortTime
        for round in 0..<(bounds.pings + BenchClient.warmUp) where ContinuousClock.now < end || times.isEmpty {
          let start = ContinuousClock.now
          let answer = try await BenchProtocol.within(BenchProtocol.step, of: connection) {
            try await connection.write(message)
            return try await connection.read()
          }
          guard answer == message else { throw Failure("the peer has answered something else", code: "PROTOCOL") }
          if round >= BenchClient.warmUp { times.append(ContinuousClock.now - start) }
        }
        await connection.close()
        return times
      })
    let histogram = times.histogram.map {
      JSON.object([("below", .integer($0.limit)), ("count", .integer($0.count))])
    }
    let chart = BenchClient.isTerminal ? times.chart.map { "\n" + $0 }.joined() : ""
    Console.event(
      "latency", "latency     \(times.count) round trips of \(BenchClient.ping) bytes: \(times.text)\(chart)",
      times.fields + [("histogram", .array(histogram))])
  }

  static let isTerminal = isatty(1) == 1

  // MARK: Throughput

  private func throughput(isUp: Bool) async throws {
    let name = isUp ? "up" : "down"
    let bounds = bounds
    let connection = try await open(
      isUp
        ? .sink : .source(milliseconds: Int(bounds.seconds * 1000), bytes: bounds.bytes, length: bounds.length))
    let meter = Meter()
    let telling = Task { await tell(name, meter) }
    defer { telling.cancel() }
    let (bytes, time) = try await BenchProtocol.within(bounds.seconds + BenchProtocol.step, of: connection) {
      try await onLoop {
        guard isUp else { return try await BenchProtocol.receive(from: connection) { meter.add($0) } }
        try await BenchProtocol.send(
          over: connection, seconds: bounds.seconds, bytes: bounds.bytes, length: bounds.length
        ) { meter.add($0) }
        // What has arrived, and how long that took, is the receiver's to tell.
        return try BenchClient.report(try await connection.read())
      }
    }
    telling.cancel()
    let path = await PathDescription(connection)
    let numbers = await connection.statistics()
    await connection.close()
    let rate = Double(bytes) / max(time.seconds, 1e-6)
    Console.event(
      "throughput",
      "\(name == "up" ? "up    " : "down  ")      \(Chart.bytes(rate))/s: \(Chart.bytes(Double(bytes))) in "
        + "\(time.readable)" + (isUp ? ", \(numbers.retransmissions) packets sent again" : "")
        + ", packets of \(numbers.mtu) bytes, \(path.text)",
      [
        ("direction", .string(name)), ("bytes", .integer(bytes)), ("seconds", .number(time.seconds)),
        ("bytesPerSecond", .number(rate)), ("retransmissions", .integer(Int(clamping: numbers.retransmissions))),
        ("mtu", .integer(Int(numbers.mtu))),
        ("roundTripMilliseconds", .integer(Int(clamping: numbers.roundTripTime.wholeMilliseconds))),
      ] + path.fields)
  }

  private static func report(_ message: [UInt8]?) throws -> (bytes: Int, time: Duration) {
    let words = String(decoding: message ?? [], as: UTF8.self).split(separator: " ").map { Int($0) ?? -1 }
    guard words.count == 2, words[0] >= 0, words[1] >= 0 else {
      throw Failure("the peer does not say what has arrived", code: "PROTOCOL")
    }
    return (words[0], .microseconds(words[1]))
  }

  /// Each second so far, on a terminal with a bar whose whole is the fastest one.
  private func tell(_ name: String, _ meter: Meter) async {
    var former = 0
    var fastest = 0.0
    var last = ContinuousClock.now
    var second = 0
    while (try? await Task.sleep(until: last + .seconds(1))) != nil {
      let now = ContinuousClock.now
      let bytes = meter.bytes
      let time = (now - last).seconds
      let rate = Double(bytes - former) / time
      second += 1
      fastest = max(fastest, rate)
      let text = "  \(second) s  \(Chart.bytes(rate))/s"
      let bar =
        BenchClient.isTerminal
        ? String(repeating: " ", count: max(1, 22 - text.count)) + Chart.bar(rate, of: fastest, width: 40) : ""
      Console.event(
        "interval", text + bar,
        [
          ("direction", .string(name)), ("second", .integer(second)), ("bytes", .integer(bytes - former)),
          ("seconds", .number(time)), ("bytesPerSecond", .number(rate)),
        ])
      (former, last) = (bytes, now)
    }
  }

  private final class Meter: Sendable {
    private let count = Atomic(0)
    var bytes: Int { count.load(ordering: .relaxed) }
    @discardableResult
    func add(_ bytes: Int) -> Int { count.add(bytes, ordering: .relaxed).newValue }
  }
}
