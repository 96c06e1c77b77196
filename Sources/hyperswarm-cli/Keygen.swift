import ArgumentParser
import HyperCrypto
import HyperDHT
import HyperEncoding
import Hyperswarm

struct Keygen: Command {
  static let configuration = CommandConfiguration(
    abstract: "Make an Ed25519 key pair.",
    discussion: """
      The seed is all that has to be kept. --out and --name keep it in a file for you alone (mode 600), and print the \
      public key only; other commands take the file with --seed-file, the name with --identity.
      """)

  @OptionGroup var identity: IdentityOptions
  @Option(help: ArgumentHelp("Write the seed to this new file.", valueName: "path"))
  var out: String?
  @Option(help: ArgumentHelp("Keep the seed in the key store under this name.", valueName: "name"))
  var name: String?
  @Flag(help: "Print one JSON object.")
  var json = false

  func validate() throws {
    if out != nil, name != nil { throw ValidationError("--out and --name exclude each other") }
    if let name { _ = try KeyStore.path(of: name) }
  }

  func execute() async throws {
    guard
      let seed = identity.givenSeed ?? KeyPair.random().withSecretKey({ Bytes32($0.prefix(Bytes32.count)) })
    else { preconditionFailure("a secret key begins with its seed") }
    let pair = HyperDHT.keyPair(seed: seed)
    if name != nil { try KeyStore.makeFolder() }
    if let path = try name.map(KeyStore.path) ?? out {
      try SecretFile.create(path, ["# seed of \(pair.publicKey.hex)", seed.hex])
      Console.event(
        "keypair", pair.publicKey.hex,
        [
          ("publicKey", .string(pair.publicKey.hex)), ("publicKeyZ32", .string(KeyText.zBase32(pair.publicKey))),
          ("path", .string(path)),
        ])
      return
    }
    let secret = pair.withSecretKey { Hex.encode($0) }
    Console.event(
      "keypair", "seed        \(seed.hex)\npublic key  \(pair.publicKey.hex)\nsecret key  \(secret)",
      [
        ("seed", .string(seed.hex)), ("publicKey", .string(pair.publicKey.hex)), ("secretKey", .string(secret)),
        ("publicKeyZ32", .string(KeyText.zBase32(pair.publicKey))),
      ])
  }
}
