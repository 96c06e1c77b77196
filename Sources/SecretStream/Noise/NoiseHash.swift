import CHyperSodium
import HyperCrypto

/// BLAKE2b-512, HMAC and HKDF over it (secret-stream.md 3.1, 3.2 and 4.2; RFC 2104).
enum NoiseHash {
  static let count = 64
  private static let blockCount = 128

  /// `out = BLAKE2b-512(first ‖ second)`. `out` may overlap the inputs: it is written last.
  static func hash(
    _ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer, into out: UnsafeMutablePointer<UInt8>
  ) {
    withState { state in
      start(state)
      update(state, first)
      update(state, second)
      finish(state, into: out)
    }
  }

  /// `out = HMAC(key, first ‖ second)`. Keys longer than a block are hashed first.
  static func hmac(
    key: UnsafeRawBufferPointer, _ first: UnsafeRawBufferPointer,
    _ second: UnsafeRawBufferPointer = UnsafeRawBufferPointer(start: nil, count: 0),
    into out: UnsafeMutablePointer<UInt8>
  ) {
    withSecretScratch(blockCount + count) { scratch in
      let inner = scratch + blockCount
      if key.count > blockCount {
        hash(key, UnsafeRawBufferPointer(start: nil, count: 0), into: scratch)
      } else if let source = key.baseAddress {
        UnsafeMutableRawPointer(scratch).copyMemory(from: source, byteCount: key.count)
      }
      for index in 0..<blockCount { scratch[index] ^= 0x36 }
      withState { state in
        start(state)
        update(state, UnsafeRawBufferPointer(start: scratch, count: blockCount))
        update(state, first)
        update(state, second)
        finish(state, into: inner)
      }
      for index in 0..<blockCount { scratch[index] ^= 0x36 ^ 0x5c }
      withState { state in
        start(state)
        update(state, UnsafeRawBufferPointer(start: scratch, count: blockCount))
        update(state, UnsafeRawBufferPointer(start: inner, count: count))
        finish(state, into: out)
      }
    }
  }

  /// The Noise HKDF: `outputs` (2 or 3) values of 64 bytes, one after another, into `out`. `out` must not overlap the
  /// inputs.
  static func hkdf(
    chainingKey: UnsafeRawBufferPointer, input: UnsafeRawBufferPointer, outputs: Int,
    into out: UnsafeMutablePointer<UInt8>
  ) {
    withSecretScratch(count) { pseudoRandomKey in
      hmac(key: chainingKey, input, into: pseudoRandomKey)
      let key = UnsafeRawBufferPointer(start: pseudoRandomKey, count: count)
      var previous = UnsafeRawBufferPointer(start: nil, count: 0)
      for index in 0..<outputs {
        let target = out + index * count
        let label = UInt8(index + 1)
        withUnsafeBytes(of: label) { hmac(key: key, previous, $0, into: target) }
        previous = UnsafeRawBufferPointer(start: target, count: count)
      }
    }
  }

  private static func start(_ state: OpaquePointer) {
    Sodium.require(crypto_generichash_init(state, nil, 0, count), "BLAKE2b")
  }

  private static func finish(_ state: OpaquePointer, into out: UnsafeMutablePointer<UInt8>) {
    Sodium.require(crypto_generichash_final(state, out, count), "BLAKE2b")
  }

  private static func update(_ state: OpaquePointer, _ bytes: UnsafeRawBufferPointer) {
    guard !bytes.isEmpty else { return }
    let source = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self)
    Sodium.require(crypto_generichash_update(state, source, UInt64(bytes.count)), "BLAKE2b")
  }

  private static func withState(_ body: (OpaquePointer) -> Void) {
    withUnsafeTemporaryAllocation(byteCount: crypto_generichash_statebytes(), alignment: 64) { memory in
      guard let base = memory.baseAddress else { preconditionFailure("a state of BLAKE2b has an address") }
      defer { sodium_memzero(base, memory.count) }
      body(OpaquePointer(base))
    }
  }
}
