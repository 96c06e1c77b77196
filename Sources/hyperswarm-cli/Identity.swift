import ArgumentParser
import Foundation
import HyperCrypto
import HyperDHT
import HyperEncoding
import Synchronization

/// 32 bytes as 64 hexadecimal digits.
struct SeedArgument {
  let seed: Bytes32

  /// The text is a secret: the error does not repeat it.
  init(parsing text: String) throws {
    guard let seed = Bytes32(hex: text) else { throw InvalidValue("a seed is 64 hexadecimal digits") }
    self.seed = seed
  }
}

/// The key pair of the command: random unless its seed comes from a file, the key store or the environment.
struct IdentityOptions: ParsableArguments {
  static let variable = "HYPERSWARM_SEED"

  @Option(help: ArgumentHelp("File with the seed of the key pair, as keygen --out makes it.", valueName: "path"))
  var seedFile: String?
  @Option(help: ArgumentHelp("Key pair of the key store, as keygen --name makes it.", valueName: "name"))
  var identity: String?
  @Option(
    help: ArgumentHelp(
      "The seed itself. Other users of the machine see arguments: prefer --seed-file, --identity or \(variable).",
      valueName: "64 hex digits"))
  var seed: String?

  /// Read once, so that what is wrong with it is known before anything starts.
  mutating func validate() throws { _ = try IdentityOptions.seeds.read(self) }

  /// `nil`: none is given.
  var givenSeed: Bytes32? { try? IdentityOptions.seeds.read(self) }
  var keyPair: KeyPair { HyperDHT.keyPair(seed: givenSeed) }

  fileprivate static let seeds = SeedSource()
}

/// Where the seed comes from. A file is read once: it may be a pipe.
private final class SeedSource: Sendable {
  private let files = Mutex<[String: Bytes32]>([:])

  func read(_ options: IdentityOptions) throws -> Bytes32? {
    let given = [options.seed, options.seedFile, options.identity].compactMap { $0 }
    if given.count > 1 { throw ValidationError("--seed, --seed-file and --identity exclude each other") }
    if let text = options.seed {
      let seed = try parse(text, of: "--seed")
      Secret.warnOfArgument("a seed", "--seed-file keeps it to you")
      return seed
    }
    if let path = options.seedFile { return try file(path) }
    if let name = options.identity { return try file(KeyStore.path(of: name)) }
    return try environment(IdentityOptions.variable).map { try parse($0, of: IdentityOptions.variable) }
  }

  private func parse(_ text: String, of source: String) throws -> Bytes32 {
    do {
      return try SeedArgument(parsing: text).seed
    } catch {
      throw ValidationError("The value of \(source) is invalid: \(error)")
    }
  }

  private func file(_ path: String) throws -> Bytes32 {
    try files.withLock { files in
      if let seed = files[path] { return seed }
      let seed = try SecretFile.read(path) { try SeedArgument(parsing: $0).seed }
      files[path] = seed
      return seed
    }
  }
}

/// Files with one secret in a line, for their owner only.
enum SecretFile {
  /// Bytes; a seed, a passphrase and a few comments fit.
  private static let sizeLimit = 4096

  /// The first line that is neither empty nor a comment.
  static func read<T>(_ path: String, _ parse: (String) throws -> T) throws -> T {
    let bytes = try File(path: path, flags: O_RDONLY).read(sizeLimit)
    var status = stat()
    if stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG, status.st_mode & 0o077 != 0 {
      Console.warn("other users of this machine may read '\(path)'; chmod 600 keeps it to you")
    }
    let lines = String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isNewline)
      .map { $0.trimmingCharacters(in: .whitespaces) }
    guard let line = lines.first(where: { !$0.isEmpty && !$0.hasPrefix("#") }) else {
      throw Failure("'\(path)' holds nothing", code: "FILE")
    }
    do {
      return try parse(line)
    } catch {
      throw Failure("'\(path)': \(error)", code: "FILE")
    }
  }

  /// A new file; one that is there stays as it is.
  static func create(_ path: String, _ lines: [String]) throws {
    let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else {
      throw Failure("cannot make '\(path)': \(String(cString: strerror(errno)))", code: "FILE")
    }
    defer { close(descriptor) }
    let error = writeAll(Array((lines.joined(separator: "\n") + "\n").utf8), to: descriptor)
    guard error == 0, fsync(descriptor) == 0 else {
      let reason = String(cString: strerror(error == 0 ? errno : error))
      unlink(path)
      throw Failure("cannot write '\(path)': \(reason)", code: "FILE")
    }
  }
}

/// Seeds by name, in the user's data folder.
enum KeyStore {
  static var folder: String {
    userFolder("XDG_DATA_HOME", ".local/share") + "/hyperswarm/keys"
  }

  static func path(of name: String) throws -> String {
    let isSafe = name.utf8.allSatisfy { byte in
      byte == 0x2d || byte == 0x2e || byte == 0x5f || (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte)
        || (0x61...0x7a).contains(byte)
    }
    guard isSafe, !name.isEmpty, name.first != "." else {
      throw ValidationError("'\(name)' is no name of a key: letters, digits, '-', '_' and '.' make one")
    }
    return folder + "/" + name
  }

  static func makeFolder() throws {
    var path = folder.hasPrefix("/") ? "" : "."
    for name in folder.split(separator: "/") {
      path += "/" + name
      guard mkdir(path, 0o700) == 0 || errno == EEXIST else {
        throw Failure("cannot make the folder '\(path)': \(String(cString: strerror(errno)))", code: "FILE")
      }
    }
  }
}
