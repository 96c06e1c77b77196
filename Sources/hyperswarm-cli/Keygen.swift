import ArgumentParser
import HyperCrypto
import HyperDHT
import HyperEncoding
import Hyperswarm

struct Keygen: Command {
  static let configuration = CommandConfiguration(
    abstract: "Make an Ed25519 key pair.",
    discussion: "The seed is all that has to be kept: listen, join and announce take it with --seed.")

  @Option(help: ArgumentHelp("Derive the pair from this seed instead of a random one.", valueName: "64 hex digits"))
  var seed: SeedArgument?
  @Flag(help: "Print one JSON object.")
  var json = false

  func execute() async throws {
    Console.isJSON = json
    guard let seed = seed?.seed ?? KeyPair.random().withSecretKey({ Bytes32($0.prefix(Bytes32.count)) }) else {
      preconditionFailure("a secret key begins with its seed")
    }
    let pair = HyperDHT.keyPair(seed: seed)
    let secret = pair.withSecretKey { Hex.encode($0) }
    Console.event(
      "keypair", "seed        \(seed.hex)\npublic key  \(pair.publicKey.hex)\nsecret key  \(secret)",
      [
        ("seed", .string(seed.hex)), ("publicKey", .string(pair.publicKey.hex)), ("secretKey", .string(secret)),
        ("publicKeyZ32", .string(KeyText.zBase32(pair.publicKey))),
      ])
  }
}
