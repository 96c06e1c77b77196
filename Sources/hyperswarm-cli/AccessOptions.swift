import ArgumentParser
import HyperDHT
import HyperEncoding

/// Which callers get in.
struct AccessOptions: ParsableArguments {
  @Option(help: ArgumentHelp("Only callers with this key; may be given several times.", valueName: "key"))
  var allow: [KeyArgument] = []
  @Option(
    help: ArgumentHelp("Only callers with a key in this file: one a line, # begins a comment.", valueName: "path"))
  var allowFile: String?

  /// Bytes of a list of keys: ten thousand of them with a comment each.
  private static let sizeLimit = 1 << 20

  /// `nil`: every caller.
  func keys() throws -> Set<Bytes32>? {
    var keys = Set(allow.map(\.key))
    guard let allowFile else { return keys.isEmpty ? nil : keys }
    let file = try File(path: allowFile, flags: 0)
    var bytes: [UInt8] = []
    while case let chunk = try file.read(AccessOptions.sizeLimit), !chunk.isEmpty {
      bytes += chunk
      guard bytes.count <= AccessOptions.sizeLimit else { throw Failure("'\(allowFile)' is too large", code: "FILE") }
    }
    let lines = String(decoding: bytes, as: UTF8.self).split(
      omittingEmptySubsequences: false, whereSeparator: \.isNewline)
    for (number, line) in lines.enumerated() {
      guard let word = line.prefix(while: { $0 != "#" }).split(whereSeparator: \.isWhitespace).first else { continue }
      guard let key = try? KeyText.parse(String(word)) else {
        throw Failure("\(allowFile):\(number + 1): '\(word)' is no public key", code: "FILE")
      }
      keys.insert(key)
    }
    if keys.isEmpty { throw Failure("'\(allowFile)' holds no key", code: "FILE") }
    return keys
  }

  static func firewall(_ keys: Set<Bytes32>) -> @Sendable (HyperDHT.IncomingPeer) async -> Bool {
    { peer in
      let isWelcome = keys.contains(peer.publicKey)
      if !isWelcome {
        let key = peer.publicKey.hex
        if Console.verbosity >= 1 {
          let fields = [("remotePublicKey", JSON.string(key))]
          Console.note("refused", ofOne: .refused, "refused \(key), which is not allowed", fields)
        }
      }
      return isWelcome
    }
  }
}
