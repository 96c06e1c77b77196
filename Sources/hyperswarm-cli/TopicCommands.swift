import ArgumentParser
import HyperCrypto
import HyperDHT
import HyperEncoding
import Hyperswarm

struct Lookup: Command {
  static let configuration = CommandConfiguration(
    abstract: "Print which peers are announced under a topic.",
    discussion: "With --watch new peers are printed as they come, and those that two rounds in a row have not found.")

  @OptionGroup var common: CommonOptions
  @OptionGroup var watch: WatchOptions
  @Argument(help: "Any text, or 64 hexadecimal digits.")
  var topic: TopicArgument

  /// Rounds without a peer after which it counts as gone: one may miss the nodes that hold its announcement.
  private static let roundsUntilGone = 2

  func execute() async throws {
    let dht = try await enterNetwork(common)
    let (topic, watch) = (topic.topic, watch)
    try await watch.run(dht) {
      var round = 0
      var lastSeen: [Bytes32: Int] = [:]
      try await watch.repeating(every: .seconds(30)) {
        round += 1
        for try await reply in dht.lookup(topic) {
          for peer in reply.peers where lastSeen.updateValue(round, forKey: peer.publicKey) == nil {
            let relays = peer.relayAddresses.map(\.description)
            Console.event(
              "peer", ([peer.publicKey.hex] + relays).joined(separator: " "),
              [("publicKey", .string(peer.publicKey.hex)), ("relayAddresses", .array(relays.map { .string($0) }))])
          }
        }
        if !watch.watch || round == 1 {
          Console.note(
            "done", "\(counted(lastSeen.count, "peer")) under \(topic.hex)", [("peers", .integer(lastSeen.count))])
        }
        for (key, seen) in lastSeen where round - seen >= Lookup.roundsUntilGone {
          lastSeen[key] = nil
          Console.event("peer-gone", "\(key.hex) is gone", [("publicKey", .string(key.hex))])
        }
      }
    }
  }
}

struct Announce: Command {
  static let configuration = CommandConfiguration(
    abstract: "Announce a key under a topic.",
    discussion: """
      Nodes forget the announcement after about 20 minutes. With --watch it is kept fresh, and withdrawn at Ctrl-C; \
      join does that and answers callers, too.
      """)

  @OptionGroup var common: CommonOptions
  @OptionGroup var identity: IdentityOptions
  @Flag(help: "Withdraw the announcement instead.")
  var remove = false
  @OptionGroup var watch: WatchOptions
  @Argument(help: "Any text, or 64 hexadecimal digits.")
  var topic: TopicArgument

  func validate() throws {
    if remove, watch.watch { throw ValidationError("--remove and --watch exclude each other") }
    if remove, identity.givenSeed == nil {
      throw ValidationError("--remove needs the key: --seed-file, --identity or \(IdentityOptions.variable)")
    }
  }

  func execute() async throws {
    let keyPair = identity.keyPair
    let dht = try await enterNetwork(common, keyPair: keyPair)
    let (topic, remove, watch) = (topic.topic, remove, watch)
    guard watch.watch else {
      return try await watch.run(dht) {
        if remove {
          try await Announce.withdraw(keyPair, topic, dht)
        } else {
          try await Announce.announce(keyPair, topic, dht)
        }
      }
    }
    let interrupt = Interrupt()
    try await using(dht) {
      let work = Task {
        try await watch.repeating(every: .seconds(600)) { try await Announce.announce(keyPair, topic, dht) }
      }
      let watching = Task {
        await interrupt.wait()
        work.cancel()
      }
      let failure = await work.result
      watching.cancel()
      try await Announce.withdraw(keyPair, topic, dht)
      if case .failure(let error) = failure, !(error is CancellationError) { throw error }
    }
  }

  private static func announce(_ keyPair: KeyPair, _ topic: Bytes32, _ dht: HyperDHT) async throws {
    let nodes = try await dht.announce(topic, keyPair: keyPair).map(\.description)
    Console.event(
      "announced",
      "\(keyPair.publicKey.hex) is announced under \(topic.hex) at \(nodes.joined(separator: " "))",
      fields(keyPair, topic) + [("nodes", .array(nodes.map { .string($0) }))])
  }

  private static func withdraw(_ keyPair: KeyPair, _ topic: Bytes32, _ dht: HyperDHT) async throws {
    try await dht.unannounce(topic, keyPair: keyPair)
    Console.event(
      "unannounced", "\(keyPair.publicKey.hex) is no longer announced under \(topic.hex)", fields(keyPair, topic))
  }

  private static func fields(_ keyPair: KeyPair, _ topic: Bytes32) -> [(String, JSON)] {
    [("publicKey", .string(keyPair.publicKey.hex)), ("topic", .string(topic.hex))]
  }
}
