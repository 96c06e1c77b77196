// The names are those of hyperswarm.h.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

import CHyperswarm
import HyperCrypto
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

extension KeyPair {
  fileprivate func copy(to publicKey: UnsafeMutablePointer<UInt8>, _ secretKey: UnsafeMutablePointer<UInt8>) {
    self.publicKey.copy(to: publicKey)
    withSecretKey { UnsafeMutableRawPointer(secretKey).copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
  }
}
