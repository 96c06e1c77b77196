import HyperCrypto
import HyperEncoding
import HyperTestVectors
import HyperswarmTesting
import XCTest

@testable import HyperSecretStream

/// The golden vectors of secret-stream.md 17, with their intermediate values (conformance item 26).
final class SpecVectorTests: XCTestCase {
  private let initiator = keyPair(1)
  private let responder = keyPair(2)
  private let initiatorEphemeral = keyPair(3)
  private let responderEphemeral = keyPair(4)

  private func handshakes(
    _ pattern: NoisePattern, prologue: [UInt8] = []
  ) throws -> (NoiseHandshake, NoiseHandshake) {
    (
      try NoiseHandshake(
        pattern: pattern, isInitiator: true, keyPair: initiator, remotePublicKey: responder.publicKey,
        prologue: prologue, ephemeral: initiatorEphemeral),
      try NoiseHandshake(
        pattern: pattern, isInitiator: false, keyPair: responder, prologue: prologue, ephemeral: responderEphemeral)
    )
  }

  func testSS_26_namespaces() {
    XCTAssertEqual(
      StreamNamespace.initiator.hex, "a931a0155b5c09e6d28628236af83c4b8a6af9af60986edeede9dc5d63192bf7")
    XCTAssertEqual(
      StreamNamespace.responder.hex, "742c9d833d430af4c48a8705e91631eecf295442bbca18996e597097723b1061")
    XCTAssertEqual(StreamNamespace.send.hex, "aab97d097471f56651b0460ffc8aaa7d3342f7377597d60b925a1dac689adcbf")
    XCTAssertEqual(
      StreamNamespace.make("hyperswarm/dht", 0).hex, "14d6d4b49214ab1033ed204976caa258bae9e1e8543b9ad1fd996a910b0c4e3a")
    XCTAssertEqual(
      StreamNamespace.make("hyperswarm/dht", 1).hex, "f1191cd5e67b10b54a507033280ed1ff0e12278268d5679c8f93d417210d168b")
  }

  func testSS_26_keysAndScalars() {
    let expected: [(KeyPair, String, String)] = [
      (
        initiator, "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c",
        "58e86efb75fa4e2c410f46e16de9f6acae1a1703528651b69bc176c088bef36e"
      ),
      (
        responder, "8139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b394",
        "a83c626bc9c38c8c201878ebb1d5b0b50ac40e8986c78793db1d4ef369fca14e"
      ),
      (
        initiatorEphemeral, "ed4928c628d1c2c6eae90338905995612959273a5c63f93636c14614ac8737d1",
        "98aebbb178a551876bfaf8e1e530dac6aaf6c2ea1c8f8406a3ab37dfb40fbc65"
      ),
      (
        responderEphemeral, "ca93ac1705187071d67b83c7ff0efe8108e8ec4530575d7726879333dbdabe7c",
        "483e3c145d7e680a16676925fc045183d2f510cb2f660a1fc517c73762185d43"
      ),
    ]
    for (pair, publicKey, scalar) in expected {
      let key = NoiseKey(pair)
      XCTAssertEqual(key.publicKey.hex, publicKey)
      XCTAssertEqual(Hex.encode(UnsafeBufferPointer(start: key.scalar.base, count: 32)), scalar)
    }
  }

  func testSS_26_diffieHellman() {
    let expected: [(KeyPair, KeyPair, String)] = [
      (initiator, responder, "5612509e82825296cbaaae306ffe1088cbbe200de8ba23dad06f67e607f861df"),
      (initiatorEphemeral, responder, "c6486a6fe639256725cf5aa11bb86028de15e038afedf17c2945bf5c6327f581"),
      (initiatorEphemeral, responderEphemeral, "1a8dc829b11bd3cfe852d10c138b4a786f89032c4613270b9d336dcc29b8e28f"),
      (initiator, responderEphemeral, "4f52c01535abfc358239749eeda45ffd7396104eda46a3f7809589b1b58c81e2"),
    ]
    for (a, b, shared) in expected {
      XCTAssertEqual(multiply(NoiseKey(a), b.publicKey).map { Hex.encode($0) }, shared)
      XCTAssertEqual(multiply(NoiseKey(b), a.publicKey).map { Hex.encode($0) }, shared)
    }
  }

  func testSS_26_hmacAndHKDF() {
    XCTAssertEqual(
      Hex.encode(hmac(Array("key".utf8), Array("abc".utf8))),
      "05cc4815438d5cfe68fff446b8df57828cc96189de4b4e928e3f06d815d64e5b"
        + "c15124a02ffd39859b3e2476da03bc0235ca86df623af2a5631779809e9fd04a")
    let out = hkdf([UInt8](repeating: 0xaa, count: 64), [UInt8](repeating: 0xbb, count: 32), 3)
    XCTAssertEqual(
      Hex.encode(out[0]),
      "a87e0dc3bccb5d299637971dd35d49c449838428f55aa6f139f7db2ccf3f1a90"
        + "70997c3b126c7e5a769ff72710a1219f6c8aa1259e6bcd6f7e838a931f658496")
    XCTAssertEqual(
      Hex.encode(out[1]),
      "1fabde0ff876839374477b7ce4bf24623fb6b08606cf142957d38be72b2c0872"
        + "f43353bf10c70844e13b8ee0537fcc1dc99f03455d580ae2087c9ca7a4877519")
    XCTAssertEqual(
      Hex.encode(out[2]),
      "0044e25c0ca3a2f7a0b47ab8694923ce34799a5f506ccc9d35f5b6a740b2b757"
        + "be14e9a97bf1cb46e8b9b8584b506130cc2bc13f5459b17d6b54faf112c00526")
  }

  /// Runs a handshake and names every intermediate value as the tables do: "M1 es: ck".
  private func trace(
    _ a: inout NoiseHandshake, _ b: inout NoiseHandshake, payloads: [String] = ["", "", ""]
  ) throws -> (values: [String: String], messages: [String]) {
    let values = Box()
    var messages: [String] = []
    for index in 0..<a.pattern.messages.count {
      a.trace = { token, state in
        let snapshot = state.snapshot
        let step = "M\(index + 1) \(token.map { "\($0)" } ?? "payload")"
        values.set("\(step): h", Hex.encode(snapshot.hash))
        values.set("\(step): ck", Hex.encode(snapshot.chainingKey))
        if let key = snapshot.key { values.set("\(step): k", Hex.encode(key)) }
      }
      // The other side must pass through the same values.
      b.trace = a.trace
      let message: [UInt8]
      if index % 2 == 0 {
        message = try a.send(payload: Array(payloads[index].utf8))
        XCTAssertEqual(try b.receive(message), Array(payloads[index].utf8))
      } else {
        message = try b.send(payload: Array(payloads[index].utf8))
        XCTAssertEqual(try a.receive(message), Array(payloads[index].utf8))
      }
      messages.append(Hex.encode(message))
    }
    XCTAssertEqual(values.conflicts, [])
    return (values.all, messages)
  }

  private final class Box {
    var all: [String: String] = [:]
    var conflicts: [String] = []
    func set(_ name: String, _ value: String) {
      if let old = all[name], old != value { conflicts.append(name) }
      all[name] = value
    }
  }

  private func check(_ values: [String: String], _ expected: [(String, String)]) {
    for (name, value) in expected { XCTAssertEqual(values[name], value, name) }
  }

  private func check(_ a: NoiseHandshake, _ b: NoiseHandshake, k1: String, k2: String, hash: String) {
    XCTAssertEqual(a.sessionKeys()?.sendKey.hex, k1)
    XCTAssertEqual(a.sessionKeys()?.receiveKey.hex, k2)
    XCTAssertEqual(b.sessionKeys()?.sendKey.hex, k2)
    XCTAssertEqual(b.sessionKeys()?.receiveKey.hex, k1)
    XCTAssertEqual(a.sessionKeys()?.handshakeHash.hex, hash)
    XCTAssertEqual(b.sessionKeys()?.handshakeHash.hex, hash)
  }

  /// Hashes, chaining keys and cipher keys after each token (secret-stream.md 17).
  private static let ikTrace: [(String, String)] = [
    (
      "M1 e: h",
      "b2f97baa84a73b3bbab53c60dfa64d01386a1c83e422e6009dd3b326352b0d0f"
        + "f9272f922907a83e40d0d7434a8c7da09ef9c722cb5e4849402b528334024b36"
    ),
    (
      "M1 es: ck",
      "adb02260848380e4f2427c8e6f4c19187a088a112522d15d15eadbf69749b015"
        + "a83192ae09dc0bdb5ed7a3532b1be7a52ff6f184f51dd5b82a0e151f46da4760"
    ),
    ("M1 es: k", "727368d69f8f149c4725b37d1bc9fe0b9ad5de7e0fc33f0b922d41598e6901fe"),
    (
      "M1 s: h",
      "f10c389f20b282bc583fc935acc4ea4000db54fd532a26bb41c12a4288d16b68"
        + "4379263c3df5dd862d3719647814499ac28bff22982937b134ef5231d6ead884"
    ),
    (
      "M1 ss: ck",
      "bb60501787e6c8d3cda509ac5de40e8664059a1a773f6480b2429bdd078a0035"
        + "78fb882e0d4b92cefb5eba2b6e075428678f7f38cc4021b34ec08fa9105b7a7b"
    ),
    ("M1 ss: k", "58896dcc49171851b70019b3e7f77507547df677d200d207a612a23ce3aa6153"),
    (
      "M1 payload: h",
      "021a59df0d8ad1dd248db2369edb225a907eda38462bdec8d0f7b5c19f115852"
        + "266c92d633bcb87f348d148e18c14afe015ceb0cbe16a5edbdda7d03d588124a"
    ),
    (
      "M2 e: h",
      "418563bda7a9c6c1fe0be8e13767feed0428bcaae91a9f8f20682e178cb44748"
        + "5fdc6e733a963b232b4c534ae475747fab954971422553500047096b2eaf947e"
    ),
    (
      "M2 ee: ck",
      "b83d53c10f75217928f3db015e504108d822843dcc56f859b25ae36f3e15de2b"
        + "2e0227b1fe5fdce97ff1cdad2be75f7e0e253391b42bc8fa86bbdc7df342e248"
    ),
    ("M2 ee: k", "998ec512fd46a39c860087f459da125a83ad7429cbe256b52af135b5f6666729"),
    (
      "M2 se: ck",
      "b3c504a7788640fad5f1bdd677bda9cbcdfcc322a908f49490623834ea648709"
        + "0ab1519d128ea0f91f026442a527fb840be29814deba89871456a490c6b2d935"
    ),
    ("M2 se: k", "8002bb66a123aec8f4886c8a777217940f1a1a42762ddd52f5531ae394da5475"),
  ]

  private static let xxTrace: [(String, String)] = [
    (
      "M1 e: h",
      "d976e3d4b892bf40830bdf6553d6a24bee82d944a136c4d6bae778b1878ef5ad"
        + "9f6739075e4e97a0e0a3147a70801347a8fe7e02be0861be800c63a598e745b8"
    ),
    (
      "M1 payload: h",
      "8d5639d10da79ed77cb85243e810cf27da9e8ad84c42a435ba5dbd80cb23c8f7"
        + "ddfd6d505d86035d2501953bc4e906eadbe5c2a19db44eb239c10f08cd207ac8"
    ),
    (
      "M2 e: h",
      "84b0bb9b961534fad7312ca29d37601b58f28e3f1b3e305b964829b3daac8bc5"
        + "11f7a9a1c85da4335817a7ba543b3664238c98ea64856f2ad42a169221c13878"
    ),
    (
      "M2 ee: ck",
      "75803c4abfd95a03e9bdf121f35708facb2f85ae4d842ab704b7495719f8c02a"
        + "be53a91f9bb14ff87e863ffcf5e3b12aa07b1f8d6a85474b22304e9a06870ec0"
    ),
    ("M2 ee: k", "d35a963239153d93ff9d269509fa895b379da65d04c949189b939003c3b1f7ef"),
    (
      "M2 s: h",
      "e6c3597af76c2d0fbef94c51df54de0028db1bb636b91c65a59493a4244927a4"
        + "9ee1e387e16d0e9835a1cded62a689ae8f403250fb629724a5861510d7633674"
    ),
    (
      "M2 es: ck",
      "cb86cfc69c93f9b2e0e5d8545704d5b768cffa88141e9701096da982591db230"
        + "3dab0cc898c9026440a0fdf469e5db3194997609009b2c64de150e977c12ae76"
    ),
    ("M2 es: k", "9de914fa9dfa431f120716a8f848e3fb0989c71d2ccadbd0ddc58b06d60f90c6"),
    (
      "M2 payload: h",
      "831ff17dffb93cf80756527e70a2fc0d8f08f0570bb2390ec1ae66b0e616a0a2"
        + "7fd6b0e6333ad00e714275293e64ee3d8941ed2a583464ca50ed9619a03b78f4"
    ),
    (
      "M3 s: h",
      "e70514e660bca19b4993b4070289e9fc4761451c8069cda19d7313079cfec68c"
        + "a6ebc9b391f6c2e2374d03b57580e706e6761b18980a9309b2eeaf18d302a53b"
    ),
    (
      "M3 se: ck",
      "76b7d6be3ea89a76151f588c2d4ede8c02e556a5ec6ddce13dbdbf101961bf67"
        + "3c59138a6c92fd6e9763df766265f17c649cb21696dab2b4eefd54dad90497e7"
    ),
    ("M3 se: k", "dd23e0243b5fafbce07d7ba70676da256723c1dea1538bc4602e005fc4e69fcd"),
  ]

  func testSS_26_ikWithEmptyPrologue() throws {
    let state = SymmetricState(protocolName: "Noise_IK_Ed25519_ChaChaPoly_BLAKE2b")
    let first =
      "4e6f6973655f494b5f456432353531395f436861436861506f6c795f424c414b453262" + String(repeating: "00", count: 29)
    XCTAssertEqual(Hex.encode(state.snapshot.hash), first)
    XCTAssertEqual(Hex.encode(state.snapshot.chainingKey), first)
    state.mixHash(UnsafeRawBufferPointer(start: nil, count: 0))
    XCTAssertEqual(
      Hex.encode(state.snapshot.hash),
      "78da5f19fa7ed566dd5e2ecb78174845a363476079f83a23d8166b93faf7b310"
        + "9de4752727b0a251c23d269df41088a911b6b68dd7a584e42611468f221a6b6c")
    var (a, b) = try handshakes(.ik)
    XCTAssertEqual(
      Hex.encode(a.symmetricState.snapshot.hash),
      "7d66fb0bdee46fea15d879c80c182d8573dce539468aa2fcea7c2ece4c53a518"
        + "5bf2901f31c4d778ccef7a6fe05560c8a3f71e61a5777e6e2d6c3b4730931a2d")
    let (values, messages) = try trace(&a, &b)
    check(
      values,
      Self.ikTrace)
    XCTAssertEqual(
      messages,
      [
        "ed4928c628d1c2c6eae90338905995612959273a5c63f93636c14614ac8737d1"
          + "605c88a9067c5f85bd7499907d5c869548dd90bed5350bb2"
          + "e7cb47efe61f60bce3d91d6f7ee21d53ffd7248510830899923986ef00f3d2f9557a4694d4664081",
        "ca93ac1705187071d67b83c7ff0efe8108e8ec4530575d7726879333dbdabe7ccf420e7a7ff614ce18de6d2ea8d8d758",
      ])
    check(
      a, b, k1: "cc00d99bd3a15a6779df38fd42fd25a84d73264023e7c1da95cf3bcbdce9c210",
      k2: "78dd48ecef5d11fd953197694a8ee2d9f8d86d49d56d856e3dd7c8e78047826b",
      hash: "d7b3563df9304bfca9bb06eeb664ea6e500656528cab55aacf6d7e7c60975f5c"
        + "24f8283b7768ee1dc06d27e7e28a21e75f40950e806732c159e40820cb0b7ddc")
  }

  func testSS_26_ikAsHyperDHTRunsIt() throws {
    var (a, b) = try handshakes(.ik, prologue: StreamNamespace.make("hyperswarm/dht", 0).bytes)
    XCTAssertEqual(
      Hex.encode(a.symmetricState.snapshot.hash),
      "c790644db568c8ae7f0132299e4720b8181e1ad03317d9b245ebecdc01d27c37"
        + "8963e8709830f7f50cdffbd297cef921bf5d7a290d282cc055252457b616e708")
    let (values, messages) = try trace(&a, &b, payloads: ["hello from initiator", "hello from responder"])
    XCTAssertEqual(
      values["M1 payload: h"],
      "09a5149b25f2b7de9401c412423b79aa25809039721ddd639941c9ab3d5c246c"
        + "b61b903212e55902437ed081d8d3f1982631a7df439f55135165fc61802d8f6c")
    XCTAssertEqual(
      messages,
      [
        "ed4928c628d1c2c6eae90338905995612959273a5c63f93636c14614ac8737d1"
          + "605c88a9067c5f85bd7499907d5c869548dd90bed5350bb2"
          + "e7cb47efe61f60bc315838e49205f95b5a618d7c8c212eeb99823185749d7504"
          + "8d312db532d2d39df1acef3d401b77c5d4577e2bcee2bd70"
          + "6d0ab45f",
        "ca93ac1705187071d67b83c7ff0efe8108e8ec4530575d7726879333dbdabe7c"
          + "9fbdee751eea790f62c5d7752b0116abc7cf0327ca21dbc0"
          + "e600a74a707b4963ad99bd00",
      ])
    check(
      a, b, k1: "cc00d99bd3a15a6779df38fd42fd25a84d73264023e7c1da95cf3bcbdce9c210",
      k2: "78dd48ecef5d11fd953197694a8ee2d9f8d86d49d56d856e3dd7c8e78047826b",
      hash: "ecde6b23d634617ea8aa5158be3ccf929858cd61dcec872cd15feb102e4bbb1d"
        + "1e09caab34b12c584a73778ddf7e9f831f83eeac89586bc305858e139e220810")
    let keys = try XCTUnwrap(a.sessionKeys())
    XCTAssertEqual(
      keys.streamID(ofInitiator: true).hex, "62c7476ab325026579872753e69dd57494f3089e657bd913e3c59af299aa0644")
    XCTAssertEqual(
      keys.streamID(ofInitiator: false).hex, "6518baaa71352a39e275a0ce8250409b8267bd0f53d3e80beb0a10aa0f389bd1")
    XCTAssertEqual(keys.datagramSendKey.hex, "0051b94fa1508a9cf7f4619f9042c415eb20bc494b1f318d2c9876f5736547be")
    XCTAssertEqual(keys.datagramReceiveKey.hex, "0c361f070e51ca9d2db40c57958db76e7fb4314efa9890a29b4ae3d47c6e3d5a")
    XCTAssertEqual(
      keys.derive(StreamNamespace.make("hyperswarm/dht", 1)).hex,
      "c232680a979cd0f587880ff21148002cb161ccca55e94860ee889100b0e4a282")
  }

  func testSS_26_xx() throws {
    let state = SymmetricState(protocolName: "Noise_XX_Ed25519_ChaChaPoly_BLAKE2b")
    XCTAssertEqual(
      Hex.encode(state.snapshot.hash),
      "4e6f6973655f58585f456432353531395f436861436861506f6c795f424c414b453262" + String(repeating: "00", count: 29))
    var (a, b) = try handshakes(.xx)
    XCTAssertEqual(
      Hex.encode(a.symmetricState.snapshot.hash),
      "ccb02d59b57b48c5bc64fafb7fc70680eb907d6830a9b039c39136733f44bbd6"
        + "ebcddac9b202ff6bf777f1b1c8cb8cb964038751f8f11d8adb8ec976fea28f18")
    let (values, messages) = try trace(&a, &b)
    check(
      values,
      Self.xxTrace)
    XCTAssertEqual(
      messages,
      [
        "ed4928c628d1c2c6eae90338905995612959273a5c63f93636c14614ac8737d1",
        "ca93ac1705187071d67b83c7ff0efe8108e8ec4530575d7726879333dbdabe7c"
          + "8924380c5066a7dcffff1174cebcbfefc17dafd675f6dc2e"
          + "688de867ff96c431a1fcb7f80997fba29d5bbc64a50e8d74e82bc092a89c62eacaf68db17bb5d0b5",
        "585b6e8320c9dfc6764d48e242b912333244a85ae8769c90ee632f1d3bf6945d"
          + "6d4729ee9c716f0f82946ce191158c480d53f508585c93bb"
          + "66354bbee6b8bdad",
      ])
    check(
      a, b, k1: "36e72ba85cd0a2b5e7c9f44704a1757d7230c30dd39736e46f2190fcd1300c13",
      k2: "29c4a931005b47aaf766f5ec7a119810eb15399b8612e79071f77447826dee17",
      hash: "aa42bcea44d843e3803e549191ae7eac847a85dccf21ef3918a7cf228d87b788"
        + "9b194cdb190b8b2cf82daf543e71e86871532b84ba1d7982489eb3040dcfc412")
    let keys = try XCTUnwrap(a.sessionKeys())
    XCTAssertEqual(keys.datagramSendKey.hex, "ce10a1e3cc0ad57bdcb2e7b64917df0259b27032784b4dcf246f5a728d327d0f")
    XCTAssertEqual(keys.datagramReceiveKey.hex, "09e50ea37afaafacfc2bf3239cbfd18502269676975b793c08f7945b7d02e8ff")
  }

  func testSS_26_nn() throws {
    var (a, b) = try handshakes(.nn)
    let (_, messages) = try trace(&a, &b)
    XCTAssertEqual(
      messages,
      [
        initiatorEphemeral.publicKey.hex,
        "ca93ac1705187071d67b83c7ff0efe8108e8ec4530575d7726879333dbdabe7c4a498dd51cb2918205629a81282509ca",
      ])
    check(
      a, b, k1: "6f93bd414399c74d38bf283c2ac7cd1f0ed47c1dfdca18fd1becf30a75b2110b",
      k2: "1d0cf497c56a7526977e740bd44699ed0b1a5ed1701cedf4aed25224951e9d96",
      hash: "26972cdacaa84d8ac954b31f933c1a3ae6a45e77ae517bcb1dcf419c5d526475"
        + "cac0ac4c114d1df17a6d9394c8c616e26919d0688af2e6203897285df6513523")
  }

  /// 17.6: both ends of a whole in-band connection.
  func testSS_26_wholeInBandConnection() throws {
    let toResponder = hex(
      """
      200000 ed4928c628d1c2c6eae90338905995612959273a5c63f93636c14614ac8737d1
      400000 585b6e8320c9dfc6764d48e242b912333244a85ae8769c90ee632f1d3bf6945d
             6d4729ee9c716f0f82946ce191158c480d53f508585c93bb66354bbee6b8bdad
      380000 a1d1ba79814a026a75d3d0d86df2d767c48c1a62a59d9e5d47876ab9b0867673
             404142434445464748494a4b4c4d4e4f5051525354555657
      160000 82d15c35d2d9345e72da33a4744e29e7a138308cb477
      110000 65786285a816c409d1e31e3f59188b7f92
      160000 5c348faf8fd5a2e929f808617e70ca57d88ceb0f60e5
      """)
    let toInitiator = hex(
      """
      600000 ca93ac1705187071d67b83c7ff0efe8108e8ec4530575d7726879333dbdabe7c
             8924380c5066a7dcffff1174cebcbfefc17dafd675f6dc2e688de867ff96c431
             a1fcb7f80997fba29d5bbc64a50e8d74e82bc092a89c62eacaf68db17bb5d0b5
      380000 87964fe510a0eef9766102bc05eb51bd18d4baf59ec0fe2e51fa323b19101cf6
             606162636465666768696a6b6c6d6e6f7071727374757677
      160000 832ce4751295935f688af5b4570596f331215c1490f8
      """)
    let network = VirtualNetwork(seed: 1)
    let environment = network.makeHost()
    environment.scriptedRandom = [Array(0x40...0x57), Array(0x60...0x77)]
    let a = EncryptedStream(environment: environment, isInitiator: true)
    let b = EncryptedStream(environment: environment, isInitiator: false)
    let recordA = Recorder(a)
    let recordB = Recorder(b)
    let (pipeA, pipeB) = PipeTransport.pair(environment)
    for text in ["hello", "", "hello"] { a.write(Array(text.utf8)) }
    b.write(Array("world".utf8))
    try a.startInBand(transport: pipeA, keyPair: initiator, ephemeral: initiatorEphemeral)
    try b.startInBand(transport: pipeB, keyPair: responder, ephemeral: responderEphemeral)
    network.advance(by: 1)
    XCTAssertEqual(pipeA.sent, toResponder)
    XCTAssertEqual(pipeB.sent, toInitiator)
    XCTAssertEqual(recordB.texts, ["hello", "", "hello"])
    XCTAssertEqual(recordA.texts, ["world"])
    // 12.5: three writes of 5, 0, 5 bytes.
    XCTAssertEqual(a.rawBytesWritten, 70)
    XCTAssertEqual(b.rawBytesRead, 61)
  }

  /// 17.7: the keys of 17.4, bytes of both directions.
  func testSS_26_outOfBandConnection() throws {
    let network = VirtualNetwork(seed: 1)
    let environment = network.makeHost()
    let (keysA, keysB) = StreamPair.keys()
    environment.scriptedRandom = [Array(0x80...0x97), Array(0xa0...0xb7)]
    let a = EncryptedStream(environment: environment, isInitiator: true)
    let b = EncryptedStream(environment: environment, isInitiator: false)
    a.sendsConfirmation = false
    let (wireA, wireB) = (WireTransport(environment), WireTransport(environment))
    a.start(transport: wireA, keys: keysA)
    b.start(transport: wireB, keys: keysB)
    a.write(Array("test1".utf8))
    a.write(Array("test2".utf8))
    b.write([UInt8](repeating: 0x5a, count: 300))
    network.advance(by: 1)
    XCTAssertEqual(
      wireA.written,
      hex(
        """
        380000 62c7476ab325026579872753e69dd57494f3089e657bd913e3c59af299aa0644
               808182838485868788898a8b8c8d8e8f9091929394959697
        160000 03470641e0710d6d2d13ce747762be3d76379aff6ad1
        160000 0ac87f339a5f6363c597416d4c4e96f0507c9548eca7
        """))
    XCTAssertEqual(
      Hex.encode(wireB.written.prefix(62)),
      "380000" + "6518baaa71352a39e275a0ce8250409b8267bd0f53d3e80beb0a10aa0f389bd1"
        + "a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7" + "3d0100")
    XCTAssertEqual(
      Hex.encode(wireB.written.dropFirst(62)),
      "f90bd80c2c707b32550361aef16ed2a85cab21a1ced2a7cf82b82e703975772877c3eccd9ba91fa5a4038d2870cac885474fddbdd5b2ff78"
        + "928da978479221f40ed8f003d21cc5399b2eb500f5974d7b39c38424377297b9"
        + "08795d63e00ea8ac7bdbb8976cdda18baf4ef956ae307c4d"
        + "f46e1b0f6f5511a46356ae44d9aaf2f106f2d0a10835487e905aeac395766331"
        + "a13194b49accdb908c063fb69edc71561d9da9c77a54203e"
        + "5ab592e7b01228f5a9d282b8df06dc0dfeb1fbf6adf6adccac591169ed1b7dcf"
        + "0607d704bf87ba2d466c72a08f9fce9cd57ffacaf5ea942d"
        + "af9b2d7a5d7f23ee7c412cbf143072210b8019a29d4068d29dd6f6b59e0a4633"
        + "d8a60013117a7daf20c9312864b86b9ee4458897043f7b7f"
        + "b6965371d660706753ecc1df081f070e89e58493eb75b51270694eda2a0a5815759c1b2ae6")
  }

  /// 17.8.
  func testSS_26_datagrams() throws {
    let (ik, _) = StreamPair.keys()
    let xxHash = bytes64(
      "aa42bcea44d843e3803e549191ae7eac847a85dccf21ef3918a7cf228d87b788"
        + "9b194cdb190b8b2cf82daf543e71e86871532b84ba1d7982489eb3040dcfc412")
    func keys(_ hash: Bytes64, _ isInitiator: Bool) -> SessionKeys {
      SessionKeys(
        sendKey: Bytes32(), receiveKey: Bytes32(), handshakeHash: hash, isInitiator: isInitiator, publicKey: Bytes32(),
        remotePublicKey: Bytes32())
    }
    var a = DatagramCipher(keys: keys(xxHash, true), start: 0xffff)
    XCTAssertEqual(
      a.seal(Array("plaintext".utf8)), hex("0000010000000000071c07df573e58991d8e44ade22d2a4b92d5662edd38162c70"))
    XCTAssertEqual(a.seal([]), hex("0100010000000000ca09f256f676e3eff8da79ce7fda7508"))
    var b = DatagramCipher(keys: keys(xxHash, false), start: 0xffff_ffff_ffff_fffe)
    XCTAssertEqual(
      b.seal(Array("plaintext".utf8)), hex("ffffffffffffffffda0307e2ffb9d252543d841b5fc810e6dde16ab4d107ae7120"))
    XCTAssertEqual(b.seal(Array("x".utf8)), hex("0000000000000000096ef4505652f339fa8cec606b820e87a1"))
    var c = DatagramCipher(keys: keys(ik.handshakeHash, true), start: 0x1111_1111_1111_1111)
    XCTAssertEqual(
      c.seal(Array("plaintext".utf8)), hex("1211111111111111e8fccd1b2877faf7bb82e940dd1147d74a97da13c5b30c7f6f"))
    var d = DatagramCipher(keys: keys(ik.handshakeHash, false), start: 0x2222_2222_2222_2222)
    XCTAssertEqual(
      d.seal(Array("plaintext".utf8)), hex("23222222222222228b4eb09bd90f7825a6d998c7118f32f9d06fb6d6bd68ca4369"))
  }
}
