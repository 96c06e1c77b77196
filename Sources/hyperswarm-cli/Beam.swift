import ArgumentParser
import Foundation
import HyperCrypto
import HyperDHT
import HyperEncoding
import Hyperswarm

struct Beam: Command {
  static let variable = "HYPERSWARM_PASSPHRASE"

  static let configuration = CommandConfiguration(
    abstract: "Join standard input and output with the peer that has the same passphrase.",
    discussion: """
      Without a passphrase a new one is made and printed on standard error: give it to the other side. Meets \
      hyperbeam 3. The passphrase is the seed of the key pair that both sides use, and no other key is let in; it \
      comes from --passphrase-file, --ask, '-', \(variable) or, visible to other users of the machine, as an argument.

      \(PipeOptions.rules)
      """)

  static let outputIsData = true

  @OptionGroup var common: CommonOptions
  @OptionGroup var relay: RelayOptions
  @OptionGroup var pipe: PipeOptions
  @Option(help: ArgumentHelp("File with the passphrase in a line.", valueName: "path"))
  var passphraseFile: String?
  @Flag(help: "Ask for the passphrase on the terminal.")
  var ask = false
  @Flag(name: [.customShort("r"), .long], help: "Be the side that waits, with the passphrase of the other side.")
  var listen = false
  @Argument(help: "52 characters of base32; with '-' the first line of standard input.")
  var passphrase: String?

  func validate() throws {
    guard [passphrase != nil, passphraseFile != nil, ask].filter({ $0 }).count < 2 else {
      throw ValidationError("an argument, --passphrase-file and --ask exclude each other")
    }
    if let passphrase, passphrase != "-" { _ = try Passphrase(checking: passphrase) }
    if isFromEnvironment, let text = environment(Beam.variable) {
      do { _ = try Passphrase(text) } catch { throw ValidationError("\(Beam.variable): \(error)") }
    }
  }

  private var isFromEnvironment: Bool { passphrase == nil && passphraseFile == nil && !ask }

  private func given() throws -> Passphrase? {
    if passphrase == "-" {
      guard let line = Secret.inputLine(), !line.isEmpty else {
        throw Failure("standard input has no passphrase", code: "INPUT_FAILED")
      }
      return try Passphrase(checking: line)
    }
    if let passphrase {
      Secret.warnOfArgument("a passphrase", "--ask, '-' and --passphrase-file keep it to you")
      return try Passphrase(passphrase)
    }
    if let passphraseFile { return try SecretFile.read(passphraseFile) { try Passphrase($0) } }
    if ask { return try Passphrase(checking: Secret.prompt(for: "passphrase")) }
    return try environment(Beam.variable).map { try Passphrase(checking: $0) }
  }

  func execute() async throws {
    let given = try given()
    let passphrase = given ?? Passphrase()
    let keyPair = HyperDHT.keyPair(seed: passphrase.seed)
    let isListening = listen || given == nil
    let dht = try await enterNetwork(common, keyPair: keyPair, entirely: isListening)
    let (pipe, connecting) = (pipe, relay.connecting)
    var options = relay.listening
    options.firewall = AccessOptions.firewall([keyPair.publicKey])
    let listener = Listener(keyPair: keyPair, options: options)
    try await using(dht, until: Interrupt()) {
      guard isListening else {
        let connection = try await dialling(keyPair.publicKey, on: dht, connecting)
        return try await introducing(connection) { try await Pipe(connection, pipe).run() }
      }
      try await listener.run(on: dht) { _ in
        if given == nil {
          Console.note(
            "listening", "on the other side: \(Secret.instruction("beam --ask", "passphrase", passphrase.text))",
            [("passphrase", .string(passphrase.text))])
        } else {
          Console.note("listening", "waiting for the other side")
        }
      } _: { connection in
        try await introducing(connection) { try await Pipe(connection, pipe).run() }
      }
    }
  }
}

/// 32 bytes, written as hyperbeam does: base32 of RFC 4648 in lower case without padding.
struct Passphrase: Sendable {
  static let alphabet = Array("abcdefghijklmnopqrstuvwxyz234567".utf8)
  private static let length = 52

  let seed: Bytes32

  init() { seed = Bytes32(KeyPair.random().withSecretKey { Array($0.prefix(Bytes32.count)) }) ?? Bytes32() }

  /// The text is a secret: the error does not repeat it. The last character's bits below the 256th do not count.
  init(_ text: String) throws {
    let digits = text.lowercased().utf8.filter { $0 != 0x3d }.map { Passphrase.alphabet.firstIndex(of: $0) }
    guard digits.count == Passphrase.length, !digits.contains(nil) else {
      throw InvalidValue("a passphrase is 52 characters of a to z and 2 to 7")
    }
    var bytes: [UInt8] = []
    var buffer = 0
    var bits = 0
    for digit in digits.compactMap({ $0 }) {
      buffer = (buffer << 5 | digit) & 0xfff
      bits += 5
      guard bits >= 8 else { continue }
      bits -= 8
      bytes.append(UInt8(truncatingIfNeeded: buffer >> bits))
    }
    guard let seed = Bytes32(bytes) else { throw InvalidValue("a passphrase is 32 bytes") }
    self.seed = seed
  }

  /// For usage errors.
  init(checking text: String) throws {
    do {
      self = try Passphrase(text)
    } catch {
      throw ValidationError("\(error)")
    }
  }

  var text: String {
    var text: [UInt8] = []
    var buffer = 0
    var bits = 0
    for byte in seed.bytes {
      buffer = (buffer << 8 | Int(byte)) & 0xfff
      bits += 8
      while bits >= 5 {
        bits -= 5
        text.append(Passphrase.alphabet[buffer >> bits & 31])
      }
    }
    if bits > 0 { text.append(Passphrase.alphabet[buffer << (5 - bits) & 31]) }
    return String(decoding: text, as: UTF8.self)
  }
}
