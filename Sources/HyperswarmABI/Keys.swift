// The names are those of hyperswarm.h.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

import CHyperswarm
import HyperCrypto
import HyperDHTEngine
import HyperEncoding
import Hyperswarm

@c @implementation
public func hyperswarm_version() -> UnsafePointer<CChar>? { versionText.cString }

@c @implementation
public func hyperswarm_handle_count() -> Int { Handles.count }

@c @implementation
public func hyperswarm_key_pair_generate(
  _ publicKey: UnsafeMutablePointer<UInt8>?, _ secretKey: UnsafeMutablePointer<UInt8>?
) -> Int32 {
  checked { () throws(Failure) in KeyPair.random().copy(to: try require(publicKey), try require(secretKey)) }
}

@c @implementation
public func hyperswarm_key_pair_from_seed(
  _ publicKey: UnsafeMutablePointer<UInt8>?, _ secretKey: UnsafeMutablePointer<UInt8>?, _ seed: UnsafePointer<UInt8>?
) -> Int32 {
  checked { () throws(Failure) in
    KeyPair(seed: try key(seed)).copy(to: try require(publicKey), try require(secretKey))
  }
}

@c @implementation
public func hyperswarm_hash(
  _ data: UnsafeRawPointer?, _ length: Int, _ hash: UnsafeMutablePointer<UInt8>?
) -> Int32 {
  checked { () throws(Failure) in
    Blake2b.hash32(Array(try bytes(data, length))).copy(to: try require(hash))
  }
}

@c @implementation
public func hyperswarm_key_to_hex(_ key: UnsafePointer<UInt8>?, _ text: UnsafeMutablePointer<CChar>?) -> Int32 {
  checked { () throws(Failure) in copy(try HyperswarmABI.key(key).hex, to: try require(text)) }
}

@c @implementation
public func hyperswarm_key_to_zbase32(_ key: UnsafePointer<UInt8>?, _ text: UnsafeMutablePointer<CChar>?) -> Int32 {
  checked { () throws(Failure) in copy(KeyText.zBase32(try HyperswarmABI.key(key)), to: try require(text)) }
}

private func copy(_ text: String, to target: UnsafeMutablePointer<CChar>) {
  for (index, byte) in text.utf8.enumerated() { target[index] = CChar(bitPattern: byte) }
  target[text.utf8.count] = 0
}

@c @implementation
public func hyperswarm_key_parse(_ text: UnsafePointer<CChar>?, _ key: UnsafeMutablePointer<UInt8>?) -> Int32 {
  checked { () throws(Failure) in
    let key = try require(key)
    let text = try require(try HyperswarmABI.text(text))
    guard let parsed = try? KeyText.parse(text) else { throw Failure(HYPERSWARM_ERR_INVALID_ARGUMENT) }
    parsed.copy(to: key)
  }
}

extension KeyPair {
  fileprivate func copy(to publicKey: UnsafeMutablePointer<UInt8>, _ secretKey: UnsafeMutablePointer<UInt8>) {
    self.publicKey.copy(to: publicKey)
    withSecretKey { UnsafeMutableRawPointer(secretKey).copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
  }
}
