import ArgumentParser
import HyperDHT
import HyperEncoding
import Hyperswarm

struct Ping: Command {
  static let configuration = CommandConfiguration(
    abstract: "Ask a DHT node, or the peer with a key, whether it is there.",
    discussion: """
      A node is named by host and port. A peer is named by its key: ping connects to it, as any caller does, and takes \
      the time of acknowledged empty messages; a peer that takes one caller only is then done with it.
      Exit code 1 when no answer came.
      """)

  @OptionGroup var common: CommonOptions
  @OptionGroup var identity: IdentityOptions
  @Option(name: [.short, .long], help: "Requests.")
  var count = 1
  @Option(name: [.short, .long], help: ArgumentHelp("Time between requests.", valueName: "seconds"))
  var interval = 1.0
  @Argument(help: ArgumentHelp("The node or the peer.", valueName: "host:port|key"))
  var target: String

  func validate() throws {
    guard (1...1_000_000).contains(count) else { throw ValidationError("--count is 1 to 1000000") }
    guard interval >= 0.01, interval <= 86_400 else { throw ValidationError("--interval is 0.01 to 86400 seconds") }
    if key != nil { return }
    if common.bootstrap != nil, CommonOptions.isBootstrapGiven {
      throw ValidationError("--bootstrap is for keys: a node is asked directly")
    }
    do {
      _ = try HostPort(parsing: target)
    } catch {
      throw ValidationError("'\(target)' is neither a key nor a node: \(error)")
    }
  }

  private var key: Bytes32? { try? KeyText.parse(target) }

  func execute() async throws {
    if let key { return try await pingPeer(key) }
    let place = try HostPort(parsing: target)
    let endpoint = try await onThread { Result { try place.resolve() } }.get()
    var options = HyperDHT.Options(bootstrap: [], port: 0)
    options.host = endpoint.host.octets.first == 127 ? .loopback : .any
    let dht = try await HyperDHT(options)
    try await using(dht, until: Interrupt()) {
      try await series(of: target, on: dht) {
        let start = ContinuousClock.now
        let pong = try await dht.ping(endpoint)
        let time = ContinuousClock.now - start
        return (time, pong)
      } report: { time, pong in
        Console.event(
          "pong",
          "\(pong.from.endpoint) answered in \(time.readable) and sees us as \(pong.to)"
            + (pong.from.id.map { ", id \($0.hex)" } ?? ", no id"),
          [
            ("from", .string(pong.from.endpoint.description)), ("id", pong.from.id.map { .string($0.hex) } ?? .null),
            ("to", .string(pong.to.description)), ("microseconds", .integer(time.microseconds)),
          ])
      }
    }
  }

  private func pingPeer(_ key: Bytes32) async throws {
    let dht = try await enterNetwork(common, keyPair: identity.keyPair)
    try await using(dht, until: Interrupt()) {
      let start = ContinuousClock.now
      let connection = try await telling(
        "connecting to \(key.hex): no answer yet", [("publicKey", .string(key.hex))]
      ) { try await dht.connect(to: key) }
      let opening = ContinuousClock.now - start
      let path = await PathDescription(connection)
      Console.event(
        "connection", "connected with \(key.hex) in \(opening.readable), \(path.text)",
        [("remotePublicKey", .string(key.hex)), ("microseconds", .integer(opening.microseconds))] + path.fields)
      try await series(of: key.hex, on: dht) {
        let start = ContinuousClock.now
        try await connection.write([])
        try await connection.flush()
        return (ContinuousClock.now - start, ())
      } report: { time, _ in
        Console.event(
          "pong", "\(key.hex.prefix(8)) answered in \(time.readable)",
          [("from", .string(key.hex)), ("microseconds", .integer(time.microseconds))])
      }
      await connection.close()
    }
  }

  /// Requests one after the other, on the loop of the node: no change of thread is in the times.
  private func series<Answer: Sendable>(
    of name: String, on dht: HyperDHT, _ request: @escaping @Sendable () async throws -> (Duration, Answer),
    report: (Duration, Answer) -> Void
  ) async throws {
    var times: [Duration] = []
    for number in 0..<count {
      try Console.check()
      if number > 0 { try await Task.sleep(for: .seconds(interval)) }
      do {
        let (time, answer) = try await Task(executorPreference: dht.loop) { try await request() }.value
        times.append(time)
        report(time, answer)
      } catch let error as DHTError where error == .requestTimeout {
        if count > 1 { Console.event("timeout", "\(name) did not answer", [("target", .string(name))]) }
      }
    }
    if count > 1 { summarise(name, times) }
    if times.isEmpty { throw Failure("\(name) did not answer", code: DHTError.requestTimeout.code) }
  }

  private func summarise(_ name: String, _ times: [Duration]) {
    let lowest = times.min() ?? .zero
    let highest = times.max() ?? .zero
    let mean = times.reduce(.zero, +) / max(times.count, 1)
    let range = times.isEmpty ? "" : ", \(lowest.readable) to \(highest.readable), \(mean.readable) on average"
    Console.event(
      "statistics", "\(times.count) of \(count) answered\(range)",
      [
        ("target", .string(name)), ("sent", .integer(count)), ("answered", .integer(times.count)),
        ("lowest", times.isEmpty ? .null : .integer(lowest.microseconds)),
        ("mean", times.isEmpty ? .null : .integer(mean.microseconds)),
        ("highest", times.isEmpty ? .null : .integer(highest.microseconds)),
      ])
  }
}

extension Duration {
  var microseconds: Int { Int((seconds * 1e6).rounded()) }

  /// With three significant digits or more.
  var readable: String {
    switch microseconds {
    case ..<1000: "\(microseconds) \u{b5}s"
    case ..<100_000: "\(microseconds / 1000).\(String(microseconds % 1000 / 10 + 100).dropFirst()) ms"
    case ..<10_000_000: "\(microseconds / 1000) ms"
    default: "\(microseconds / 1_000_000) s"
    }
  }
}
