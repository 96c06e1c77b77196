import ArgumentParser
import HyperEncoding
import Hyperswarm

struct Lookup: Command {
  static let configuration = CommandConfiguration(abstract: "Print who is announced under a topic.")

  @OptionGroup var common: CommonOptions
  @Argument(help: "Any text, or 64 hexadecimal digits.")
  var topic: TopicArgument

  func execute() async throws {
    let dht = try await enterNetwork(common)
    var found: Set<Bytes32> = []
    try await using(dht) {
      for try await reply in dht.lookup(topic.topic) {
        for peer in reply.peers where found.insert(peer.publicKey).inserted {
          let relays = peer.relayAddresses.map(\.description)
          Console.event(
            "peer", ([peer.publicKey.hex] + relays).joined(separator: " "),
            [("publicKey", .string(peer.publicKey.hex)), ("relayAddresses", .array(relays.map { .string($0) }))])
        }
      }
    }
    Console.note("done", "\(found.count) peers under \(topic.topic.hex)", [("peers", .integer(found.count))])
  }
}

struct Announce: Command {
  static let configuration = CommandConfiguration(
    abstract: "Announce a key under a topic once.",
    discussion: "Nodes forget the announcement after about 20 minutes; join keeps one fresh and answers who calls.")

  @OptionGroup var common: CommonOptions
  @OptionGroup var identity: IdentityOptions
  @Flag(help: "Withdraw the announcement instead.")
  var remove = false
  @Argument(help: "Any text, or 64 hexadecimal digits.")
  var topic: TopicArgument

  func execute() async throws {
    let keyPair = identity.keyPair
    let dht = try await enterNetwork(common, keyPair: keyPair)
    try await using(dht) {
      let fields: [(String, JSON)] = [
        ("publicKey", .string(keyPair.publicKey.hex)), ("topic", .string(topic.topic.hex)),
      ]
      if remove {
        try await dht.unannounce(topic.topic, keyPair: keyPair)
        Console.event("unannounced", "\(keyPair.publicKey.hex) is no longer announced under \(topic.topic.hex)", fields)
      } else {
        let nodes = try await dht.announce(topic.topic, keyPair: keyPair).map(\.description)
        Console.event(
          "announced",
          "\(keyPair.publicKey.hex) is announced under \(topic.topic.hex) at \(nodes.joined(separator: " "))",
          fields + [("nodes", .array(nodes.map { .string($0) }))])
      }
    }
  }
}
