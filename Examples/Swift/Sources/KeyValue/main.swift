// A small store in the network: values under names, changed by the holder of a seed, read by all that have the key.
//
//   swift run KeyValue put SEED NAME VALUE     prints the key
//   swift run KeyValue get KEY NAME
//
// Each name has a key pair of its own, made from the seed and the name, so that names do not overwrite each other; an
// index under the owner's key says which key a name has.
import Foundation
import Hyperswarm

struct Store {
  let dht: HyperDHT

  /// The record of the name: signed by a key that only the holder of the seed can make.
  static func keyPair(seed: String, name: String) -> KeyPair {
    HyperDHT.keyPair(seed: HyperDHT.hash(Array("\(seed)/\(name)".utf8)))
  }

  func put(seed: String, name: String, value: String) async throws -> Bytes32 {
    let owner = Self.keyPair(seed: seed, name: "")
    let record = Self.keyPair(seed: seed, name: name)
    try await update(record) { _ in value }
    try await update(owner) { index in
      var lines = Set(index.split(separator: "\n").map(String.init))
      lines.insert("\(name)=\(record.publicKey)")
      return lines.sorted().joined(separator: "\n")
    }
    return owner.publicKey
  }

  func get(owner: Bytes32, name: String) async throws -> String? {
    guard let index = try await text(owner) else { return nil }
    for line in index.split(separator: "\n") {
      let parts = line.split(separator: "=", maxSplits: 1)
      if parts.count == 2, parts[0] == name { return try await text(KeyText.parse(String(parts[1]))) }
    }
    return nil
  }

  private func text(_ key: Bytes32) async throws -> String? {
    try await dht.mutableGet(key).map { String(decoding: $0.value, as: UTF8.self) }
  }

  /// Nodes take a value only with a higher sequence number than the one they hold.
  private func update(_ keyPair: KeyPair, _ change: (String) -> String) async throws {
    let old = try await dht.mutableGet(keyPair.publicKey)
    let text = change(old.map { String(decoding: $0.value, as: UTF8.self) } ?? "")
    _ = try await dht.mutablePut(Array(text.utf8), keyPair: keyPair, sequence: (old?.sequence ?? 0) + 1)
  }
}

func fail(_ text: String) -> Never {
  FileHandle.standardError.write(Data((text + "\n").utf8))
  exit(1)
}

let arguments = Array(CommandLine.arguments.dropFirst())
let bootstrap = ProcessInfo.processInfo.environment["HYPERSWARM_BOOTSTRAP"].map { [$0] }
let dht = try await HyperDHT(HyperDHT.Options(bootstrap: bootstrap, port: 0))
let store = Store(dht: dht)
do {
  switch (arguments.first, arguments.count) {
  case ("put", 4): print(try await store.put(seed: arguments[1], name: arguments[2], value: arguments[3]))
  case ("get", 3):
    guard let value = try await store.get(owner: KeyText.parse(arguments[1]), name: arguments[2]) else {
      fail("no value under that name")
    }
    print(value)
  default: fail("usage: KeyValue put SEED NAME VALUE | get KEY NAME")
  }
} catch {
  fail("\(error)")
}
await dht.destroy()
