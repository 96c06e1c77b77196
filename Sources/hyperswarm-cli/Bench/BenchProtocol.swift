import HyperDHT

/// What both sides of `bench` say to each other (docs/tool.md).
enum BenchProtocol {
  static let greeting = "hyperswarm-bench/1"

  /// Seconds of one measurement.
  static let longest = 3600.0
  /// Bytes of one message: two of them fit between the marks of back-pressure.
  static let largestMessage = 1 << 19
  /// Bytes of one measurement: a day at 10 Gbit/s.
  static let mostBytes = 100_000_000_000_000
  /// Bytes of the first message.
  static let request = 256
  /// For each step of the other side that is not a measurement.
  static let step = 30.0

  enum Request {
    /// Every message comes back.
    case echo
    /// The caller sends; behind its end comes how much that was.
    case sink
    /// The caller is sent to.
    case source(milliseconds: Int, bytes: Int, length: Int)

    init?(_ message: [UInt8]) {
      guard message.count <= BenchProtocol.request else { return nil }
      let words = String(decoding: message, as: UTF8.self).split(separator: " ", omittingEmptySubsequences: false)
      guard words.count > 1, words[0] == BenchProtocol.greeting else { return nil }
      let numbers = words.dropFirst(2).map { Int($0) ?? -1 }
      switch (words[1], numbers.count) {
      case ("echo", 0): self = .echo
      case ("sink", 0): self = .sink
      case ("source", 3):
        guard (1...Int(BenchProtocol.longest * 1000)).contains(numbers[0]),
          (1...BenchProtocol.mostBytes).contains(numbers[1]),
          (1...BenchProtocol.largestMessage).contains(numbers[2])
        else { return nil }
        self = .source(milliseconds: numbers[0], bytes: numbers[1], length: numbers[2])
      default: return nil
      }
    }

    var text: String {
      switch self {
      case .echo: "\(BenchProtocol.greeting) echo"
      case .sink: "\(BenchProtocol.greeting) sink"
      case .source(let milliseconds, let bytes, let length):
        "\(BenchProtocol.greeting) source \(milliseconds) \(bytes) \(length)"
      }
    }
  }

  /// Runs `body`, and aborts the connection when it takes longer.
  static func within<T>(
    _ seconds: Double, of connection: HyperDHT.Connection, _ body: () async throws -> T
  ) async throws -> T {
    let deadline = Task {
      try await Task.sleep(for: .seconds(seconds))
      connection.destroy()
      return true
    }
    do {
      let result = try await body()
      deadline.cancel()
      return result
    } catch {
      deadline.cancel()
      guard (try? await deadline.value) == true else { throw error }
      throw Failure("the other side did not answer within \(Int(seconds)) s", code: "TIMEOUT")
    }
  }

  /// Sends messages of one length until a bound is reached, and then the end.
  static func send(
    over connection: HyperDHT.Connection, seconds: Double, bytes: Int, length: Int,
    counting: (Int) -> Void = { _ in }
  ) async throws {
    let message = [UInt8](repeating: 0x68, count: length)
    let end = ContinuousClock.now + .seconds(seconds)
    var sent = 0
    while sent < bytes, ContinuousClock.now < end {
      let count = min(length, bytes - sent)
      try await connection.write(count == length ? message : Array(message.prefix(count)))
      sent += count
      counting(count)
    }
    connection.end()
  }

  /// Reads to the end.
  static func receive(
    from connection: HyperDHT.Connection, counting: (Int) -> Void = { _ in }
  ) async throws -> (bytes: Int, time: Duration) {
    var bytes = 0
    var first: ContinuousClock.Instant?
    var last = ContinuousClock.now
    while let message = try await connection.read() {
      last = .now
      if first == nil { first = last }
      bytes += message.count
      counting(message.count)
    }
    return (bytes, first.map { last - $0 } ?? .zero)
  }
}
