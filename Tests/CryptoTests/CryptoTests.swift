import HyperEncoding
import HyperTestVectors
import XCTest

@testable import HyperCrypto

final class CryptoTests: XCTestCase {
  /// Key pair and id vectors of hyperdht.md D.1 and dht-rpc.md 4.
  func testKnownKeysAndHashes() throws {
    let client = KeyPair(seed: Bytes32(repeating: 1))
    XCTAssertEqual(client.publicKey.hex, "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c")
    let server = KeyPair(seed: Bytes32(repeating: 2))
    XCTAssertEqual(
      Blake2b.hash32(server.publicKey.bytes).hex, "c11ae4092c56101421f745612bdc6b51c1e646c61ac3f5eccfed2f59c200f581")
    XCTAssertEqual(
      Blake2b.hash32(Vectors.bytes("7f00000149c2")).hex,
      "d1dcf835b0d62b9230c41393cb96a34f5f8b9f814f421ca3382dfc1678022e0e")
    XCTAssertEqual(
      Blake2b.hash32(Array("203.0.113.50".utf8), key: [UInt8](repeating: 0xbb, count: 32)).hex,
      "57889a6988c9b62480c52db858708032ef26e24e3e87a0e80ae000994a5d0d1e")
  }

  func testSecretKeyLayoutAndMismatch() {
    let pair = KeyPair(seed: Bytes32(repeating: 9))
    let secret = pair.withSecretKey { Array($0) }
    XCTAssertEqual(Array(secret[32...]), pair.publicKey.bytes)
    XCTAssertEqual(KeyPair(secretKey: secret)?.publicKey, pair.publicKey)
    var wrong = secret
    wrong[40] ^= 1
    XCTAssertNil(KeyPair(secretKey: wrong))
    XCTAssertNil(KeyPair(secretKey: Array(secret[1...])))
  }

  func testSignVerifyAndTamper() {
    let pair = KeyPair.random()
    let message = Array("message".utf8)
    let signature = pair.sign(message)
    XCTAssertTrue(Ed25519.verify(signature, message, publicKey: pair.publicKey))
    XCTAssertFalse(Ed25519.verify(signature, message + [0], publicKey: pair.publicKey))
    XCTAssertFalse(Ed25519.verify(signature, message, publicKey: KeyPair.random().publicKey))
  }

  /// The sealed hole-punch payload of hyperdht.md D.3.
  func testSecretBoxVector() throws {
    let key = try XCTUnwrap(Bytes32(hex: "443143563006b6ccd323aacbe1047d6462d8cbced555ce04208f0dd402a23874"))
    let plain = Vectors.bytes(
      "360002010101020304a00f" + String(repeating: "aa", count: 32) + String(repeating: "bb", count: 32))
    let nonce = [UInt8](0...0x17)
    let box = try XCTUnwrap(SecretBox.seal(plain, nonce: nonce, key: key))
    XCTAssertEqual(
      Vectors.hex(nonce + box),
      "000102030405060708090a0b0c0d0e0f10111213141516179b7f1d54704e6f03"
        + "1ff78be17a890ac9e783d6f46798481e67fc0db3759a87290362ff09fc8a90a1"
        + "4f37db2815b40b6be6f137112f99e88d4b0049bd74430d62b80a71e91e6243fd"
        + "8fa93830aef224e21217b9fb428785eabf6fae"
    )
    XCTAssertEqual(SecretBox.open(box, nonce: nonce, key: key), plain)
    var damaged = box
    damaged[20] ^= 1
    XCTAssertNil(SecretBox.open(damaged, nonce: nonce, key: key))
    XCTAssertNil(SecretBox.open([1, 2, 3], nonce: nonce, key: key))
  }
}
