import ArgumentParser
import Foundation
import HyperCrypto
import HyperDHT
import HyperEncoding
import Hyperswarm

/// What every command takes.
struct CommonOptions: ParsableArguments {
  @Option(help: ArgumentHelp("Nodes to enter the network by, instead of the public ones.", valueName: "host:port,..."))
  var bootstrap: BootstrapList?

  @Flag(help: "Print one JSON object per line.")
  var json = false

  mutating func validate() throws { Console.isJSON = json }
}

/// `host:port,...`; also `name:port` and `address@name:port`.
struct BootstrapList: ExpressibleByArgument {
  let nodes: [String]

  init?(argument: String) {
    nodes = argument.split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) }
    guard !nodes.isEmpty, nodes.allSatisfy(BootstrapList.isNode) else { return nil }
  }

  private static func isNode(_ text: String) -> Bool {
    guard let colon = text.lastIndex(of: ":"), colon != text.startIndex,
      let port = UInt16(text[text.index(after: colon)...]), port != 0
    else { return false }
    return true
  }
}

/// A public key in any accepted form.
struct KeyArgument: ExpressibleByArgument {
  let key: Bytes32

  init?(argument: String) {
    guard let key = try? KeyText.parse(argument) else { return nil }
    self.key = key
  }
}

/// 64 hexadecimal digits as they stand, any other text hashed with BLAKE2b-256.
struct TopicArgument: ExpressibleByArgument {
  let topic: Bytes32

  init?(argument: String) {
    guard !argument.isEmpty else { return nil }
    topic = Bytes32(hex: argument) ?? HyperDHT.hash(Array(argument.utf8))
  }
}

/// 32 bytes as 64 hexadecimal digits.
struct SeedArgument: ExpressibleByArgument {
  let seed: Bytes32

  init?(argument: String) {
    guard let seed = Bytes32(hex: argument) else { return nil }
    self.seed = seed
  }
}

struct HostArgument: ExpressibleByArgument {
  let host: IPv4Address

  init?(argument: String) {
    guard let host = IPv4Address(argument) else { return nil }
    self.host = host
  }

  var defaultValueDescription: String { host.description }
  init(_ host: IPv4Address) { self.host = host }
}

struct EndpointArgument: ExpressibleByArgument {
  let endpoint: Endpoint

  init?(argument: String) {
    guard let endpoint = Endpoint(argument), endpoint.port != 0 else { return nil }
    self.endpoint = endpoint
  }
}

struct IdentityOptions: ParsableArguments {
  @Option(help: ArgumentHelp("Seed of the key pair; random by default.", valueName: "64 hex digits"))
  var seed: SeedArgument?

  var keyPair: KeyPair { HyperDHT.keyPair(seed: seed?.seed) }
}
