import ArgumentParser
import Foundation
import HyperCrypto
import HyperDHT
import HyperEncoding
import Hyperswarm

/// The DHT takes values of at most so many bytes.
private let sizeLimit = 1024

struct Put: Command {
  static let configuration = CommandConfiguration(
    abstract: "Store a value of up to 1024 bytes in the DHT.",
    discussion: """
      The value is the argument, or what standard input holds if that is - or missing. It is stored under its hash; \
      with --mutable under the public key of the seed, signed, where a later value replaces it. The hash or key is \
      printed: get takes it. Nodes forget values after about two days; --watch stores it again every hour.
      """)

  @OptionGroup var common: CommonOptions
  @OptionGroup var identity: IdentityOptions
  @Flag(help: "Store under the public key of the seed instead of the hash.")
  var mutable = false
  @Option(help: "Sequence number; by default one more than that of the value that is there.")
  var seq: UInt64?
  @OptionGroup var watch: WatchOptions
  @Argument(help: "The value; without it, or with -, standard input.")
  var value: String?

  func validate() throws {
    if seq != nil, !mutable { throw ValidationError("--seq is for --mutable") }
    if mutable, identity.givenSeed == nil {
      throw ValidationError("--mutable needs a key: --seed-file, --identity or \(IdentityOptions.variable)")
    }
    if value?.isEmpty == true { throw ValidationError("an empty value cannot be stored") }
    if let value, value.utf8.count > sizeLimit {
      throw ValidationError("the value has \(value.utf8.count) bytes, at most \(sizeLimit) can be stored")
    }
  }

  func execute() async throws {
    let bytes = if let value, value != "-" { Array(value.utf8) } else { try await Put.standardInput() }
    let keyPair = identity.keyPair
    let dht = try await enterNetwork(common, keyPair: keyPair)
    let (mutable, given, watch) = (mutable, seq, watch)
    try await watch.run(dht) {
      var sequence = given
      if mutable, sequence == nil {
        let found = try await dht.mutableGet(keyPair.publicKey)
        guard found?.sequence != .max else {
          throw Failure("the value that is there has the highest sequence number", code: "SEQ_TOO_LOW")
        }
        sequence = found.map { $0.sequence + 1 } ?? 0
      }
      try await watch.repeating(every: .seconds(3600)) {
        let result =
          if mutable {
            try await dht.mutablePut(bytes, keyPair: keyPair, sequence: sequence ?? 0)
          } else {
            try await dht.immutablePut(bytes)
          }
        Console.event(
          "stored", result.key.hex,
          [
            ("key", .string(result.key.hex)), ("mutable", .bool(mutable)),
            ("seq", mutable ? .unsigned(result.sequence) : .null), ("bytes", .integer(bytes.count)),
            ("nodes", .integer(result.stored)),
          ])
        if !Console.isJSON { Console.detail(1, "nodes", "stored at \(result.stored) nodes, seq \(result.sequence)") }
      }
    }
  }

  private static func standardInput() async throws -> [UInt8] {
    let input = StandardInput()
    var bytes: [UInt8] = []
    while true {
      switch await input.read() {
      case .data(let chunk): bytes += chunk
      case .failed(let number):
        throw Failure("cannot read standard input: \(String(cString: strerror(number)))", code: "INPUT_FAILED")
      case .end, .silence:
        if bytes.isEmpty {
          throw Failure("standard input is empty, and an empty value cannot be stored", code: "NO_VALUE")
        }
        return bytes
      }
      guard bytes.count <= sizeLimit else {
        throw Failure("standard input has more than \(sizeLimit) bytes", code: "VALUE_TOO_LARGE")
      }
    }
  }
}

struct Get: Command {
  static let configuration = CommandConfiguration(
    abstract: "Print a value that is stored in the DHT.",
    discussion: """
      The bytes go to standard output as they are; with --json they are one object in hexadecimal digits and, if they \
      are UTF-8, as text. Exit code 1 when no node has a value. With --watch every new value of a key is printed, each \
      with a line end.
      """)

  @OptionGroup var common: CommonOptions
  @Flag(help: "The value of a public key instead of a hash.")
  var mutable = false
  @Option(help: "Only a value with this sequence number or a higher one.")
  var seq: UInt64?
  @OptionGroup var watch: WatchOptions
  @Argument(help: "What put has printed.")
  var key: KeyArgument

  func validate() throws {
    if seq != nil, !mutable { throw ValidationError("--seq is for --mutable") }
    if watch.watch, !mutable { throw ValidationError("--watch is for --mutable: what has a hash never changes") }
  }

  func execute() async throws {
    let dht = try await enterNetwork(common)
    let (key, mutable, least, watch) = (key.key, mutable, seq ?? 0, watch)
    Console.outputIsData = !Console.isJSON
    try await watch.run(dht) {
      var next = least
      var isLast = false
      try await watch.repeating(every: .seconds(30)) {
        // No value can follow one with the highest number.
        if isLast { return }
        let found =
          if mutable { try await dht.mutableGet(key, sequence: next) } else { try await dht.immutableGet(key) }
        guard let found else {
          if watch.watch { return }
          throw Failure("no node has a value of \(key.hex)", code: "NOT_FOUND")
        }
        guard !watch.watch || found.sequence >= next else { return }
        (next, isLast) = found.sequence.addingReportingOverflow(1)
        try await Get.show(found, of: key, isMutable: mutable, isLine: watch.watch)
      }
    }
  }

  private static func show(
    _ found: HyperDHT.StoredValue, of key: Bytes32, isMutable: Bool, isLine: Bool
  ) async throws {
    guard !Console.isJSON else {
      return Console.event(
        "value", "",
        [
          ("key", .string(key.hex)), ("mutable", .bool(isMutable)),
          ("seq", isMutable ? .unsigned(found.sequence) : .null),
          ("bytes", .integer(found.value.count)), ("hex", .string(Hex.encode(found.value))),
          ("text", String(validating: found.value, as: UTF8.self).map { .string($0) } ?? .null),
          ("from", .string(found.from.endpoint.description)),
        ])
    }
    if isMutable { Console.detail(1, "seq", "seq \(found.sequence) from \(found.from.endpoint)") }
    // A prompt behind the value would hide its end.
    let isUnended = found.value.last != 0x0a && isatty(1) == 1
    let error = await StandardStreams.write(found.value + (isLine || isUnended ? [0x0a] : []))
    if error != 0 { throw OutputFailure(error) }
  }
}
