import ArgumentParser
import HyperDHT
import HyperEncoding

struct Bench: Command {
  static let configuration = CommandConfiguration(
    abstract: "Measure the way to a peer: connects, round trips, throughput both ways.",
    discussion: """
      The peer runs bench --serve and prints its key. With --loopback both sides, and a network, are in this process: \
      what this machine can do. A measurement ends after --time seconds or --bytes, whichever is first; connects and \
      round trips take up to 5 seconds each. With --parallel so many connects are under way all the time.
      """)

  @OptionGroup var common: CommonOptions
  @OptionGroup var identity: IdentityOptions
  @OptionGroup var relay: RelayOptions
  @Flag(help: "Be the other side, until Ctrl-C.")
  var serve = false
  @OptionGroup var access: AccessOptions
  @Flag(help: "Both sides in this process.")
  var loopback = false
  @Option(
    help: ArgumentHelp(
      "Measure only this: connects, latency, up or down; may be given several times.", valueName: "what"))
  var only: [BenchClient.Measurement] = []
  @Option(
    name: .shortAndLong,
    help: ArgumentHelp("Time of each direction of throughput; 5 if not given.", valueName: "seconds"))
  var time: Double?
  @Option(
    name: [.customShort("n"), .long],
    help: ArgumentHelp("Bytes of each direction at most, with k, M or G for thousands.", valueName: "size"),
    transform: Bench.size)
  var bytes: Int?
  @Option(
    name: .shortAndLong, help: ArgumentHelp("Bytes of one message; 65536 if not given.", valueName: "size"),
    transform: Bench.size)
  var length: Int?
  @Option(help: "Connects at most; 20 if not given, or ten times --parallel.")
  var connects: Int?
  @Option(help: "Connects at a time; one after the other if not given.")
  var parallel: Int?
  @Option(help: "Round trips at most; 1000 if not given.")
  var pings: Int?
  @Argument(help: "Public key of the other side: 64 hexadecimal digits or 52 z-base-32 characters.")
  var key: KeyArgument?

  static func size(_ text: String) throws -> Int {
    let factor = text.last.flatMap { ["k": 1000, "K": 1000, "M": 1_000_000, "G": 1_000_000_000][$0] }
    guard let number = Int(factor == nil ? text[...] : text.dropLast()), number > 0,
      case (let size, false) = number.multipliedReportingOverflow(by: factor ?? 1)
    else { throw InvalidValue("'\(text)' is no size; 500M is one") }
    return size
  }

  func validate() throws {
    guard [serve, loopback, key != nil].filter(\.self).count == 1 else {
      throw ValidationError("one of a key, --serve and --loopback is wanted")
    }
    if serve, isMeasuring { throw ValidationError("what to measure is for the side that calls, not for --serve") }
    guard (0.1...BenchProtocol.longest).contains(time ?? 1) else {
      throw ValidationError("--time is 0.1 to \(Int(BenchProtocol.longest)) seconds")
    }
    guard (1...BenchProtocol.mostBytes).contains(bytes ?? 1) else {
      throw ValidationError("--bytes is 1 to \(BenchProtocol.mostBytes)")
    }
    guard (1...BenchProtocol.largestMessage).contains(length ?? 1) else {
      throw ValidationError("--length is 1 to \(BenchProtocol.largestMessage)")
    }
    guard (1...10_000).contains(connects ?? 1) else { throw ValidationError("--connects is 1 to 10000") }
    guard (1...BenchServer.callers).contains(parallel ?? 1) else {
      throw ValidationError("--parallel is 1 to \(BenchServer.callers)")
    }
    guard (1...1_000_000).contains(pings ?? 1) else { throw ValidationError("--pings is 1 to 1000000") }
    if !serve, !access.allow.isEmpty || access.allowFile != nil {
      throw ValidationError("--allow and --allow-file are for --serve")
    }
    if loopback, common.bootstrap != nil, CommonOptions.isBootstrapGiven {
      throw ValidationError("--loopback has a network of its own: --bootstrap is for a key or --serve")
    }
  }

  private var isMeasuring: Bool {
    !only.isEmpty || time != nil || [bytes, length, connects, parallel, pings].contains { $0 != nil }
  }

  func execute() async throws {
    if serve { return try await runServer() }
    guard let key else { return try await runLoopback() }
    let dht = try await enterNetwork(common, keyPair: identity.keyPair)
    let client = client(of: key.key, on: dht)
    let measurements = measurements
    try await using(dht, until: Interrupt()) { try await client.run(measurements) }
  }

  private var measurements: [BenchClient.Measurement] { only.isEmpty ? BenchClient.Measurement.allCases : only }

  private func client(of key: Bytes32, on dht: HyperDHT) -> BenchClient {
    BenchClient(
      dht: dht, key: key, options: relay.connecting,
      bounds: .init(
        seconds: time ?? 5, bytes: bytes ?? BenchProtocol.mostBytes, length: length ?? 65_536,
        connects: connects ?? parallel.map { $0 * 10 } ?? 20, parallel: parallel ?? 1, pings: pings ?? 1000))
  }

  private func runServer() async throws {
    var options = relay.listening
    options.firewall = try access.keys().map(AccessOptions.firewall)
    let keyPair = identity.keyPair
    let dht = try await enterNetwork(common, keyPair: keyPair, entirely: true)
    let server = BenchServer(dht: dht, keyPair: keyPair, options: options, isTalkative: true)
    let interrupt = Interrupt()
    do {
      try await using(dht, until: interrupt) {
        try await withThrowingTaskGroup(of: Void.self) { group in
          group.addTask {
            try await server.run { key in
              Console.event("listening", "bench serves as \(key.hex)", [("publicKey", .string(key.hex))])
            }
          }
          // What is measured is not read any more.
          group.addTask { await Console.waitForLoss() }
          try await group.next()
          group.cancelAll()
        }
      }
    } catch is ExitCode {
      // A signal is the regular end.
    }
  }

  private func runLoopback() async throws {
    let testnet = try await HyperDHT.Testnet(size: 3)
    var options = HyperDHT.Options(bootstrap: testnet.bootstrap, port: 0, keyPair: identity.keyPair)
    options.host = .loopback
    let near = try await HyperDHT(options)
    options.keyPair = nil
    let far = try await HyperDHT(options)
    let keyPair = HyperDHT.keyPair()
    let server = BenchServer(dht: far, keyPair: keyPair, options: .init(), isTalkative: false)
    let (announcements, announcement) = AsyncStream<Void>.makeStream()
    let serving = Task {
      defer { announcement.finish() }
      try await server.run { _ in announcement.yield() }
    }
    let client = client(of: keyPair.publicKey, on: near)
    let measurements = measurements
    let result: Result<Void, any Error>
    do {
      try await using(near, until: Interrupt()) {
        for await _ in announcements { break }
        try await client.run(measurements)
      }
      result = .success(())
    } catch {
      result = .failure(error)
    }
    serving.cancel()
    await far.destroy(force: true)
    await testnet.destroy()
    try result.get()
  }
}

extension BenchClient.Measurement: ExpressibleByArgument {}
