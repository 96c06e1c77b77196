import HyperDHT
import HyperEncoding
import HyperRuntime
import XCTest

/// Handshakes that a program brings in the place of the network's own.
final class HandshakeTests: XCTestCase {
  private typealias Make = @Sendable (HyperDHT.HandshakeParties) throws -> (any HyperDHT.Handshake)?

  private struct Nodes {
    let testnet: HyperDHT.Testnet
    let server: HyperDHT
    let client: HyperDHT
    let listening: HyperDHT.Server

    func destroy() async {
      for node in [server, client] { await node.destroy() }
      await testnet.destroy()
    }
  }

  private func nodes(_ make: Make?) async throws -> Nodes {
    let testnet = try await HyperDHT.Testnet(size: 3)
    let options = HyperDHT.Options(bootstrap: testnet.bootstrap, port: 0, host: .loopback)
    let (server, client) = (try await HyperDHT(options), try await HyperDHT(options))
    var serving = HyperDHT.ServerOptions()
    serving.handshake = make
    return Nodes(
      testnet: testnet, server: server, client: client, listening: try await server.listen(options: serving))
  }

  private func code(_ nodes: Nodes, _ make: Make?) async -> String? {
    var options = HyperDHT.ConnectOptions()
    options.handshake = make
    do throws(DHTError) {
      _ = try await nodes.client.connect(to: nodes.listening.publicKey, options: options)
      return nil
    } catch {
      return error.code
    }
  }

  /// A group with a secret. That others get no answer takes time: `ForeignHandshakeTests`, in virtual time.
  func testAGroupWithASecret() async throws {
    let secret = Array("a secret of the group".utf8)
    let asked = Locked<[Bool]>([])
    let make: Make = { parties in
      asked.withLock { $0.append(parties.isInitiator) }
      XCTAssertEqual(parties.remotePublicKey == nil, !parties.isInitiator)
      return try HyperDHT.NoiseHandshake(parties, prologue: secret)
    }
    let nodes = try await nodes(make)
    var options = HyperDHT.ConnectOptions()
    options.handshake = make
    let connection = try await nodes.client.connect(to: nodes.listening.publicKey, options: options)
    let accepted = try await nodes.listening.accept()
    let incoming = try XCTUnwrap(accepted)
    try await connection.write("hello")
    let there = try await incoming.read()
    XCTAssertEqual(there, Array("hello".utf8))
    XCTAssertEqual(connection.handshakeHash, incoming.handshakeHash)
    XCTAssertEqual(incoming.remotePublicKey, nodes.client.defaultKeyPair.publicKey)
    XCTAssertEqual(Set(asked.withLock { $0 }), [true, false])
    await nodes.destroy()
  }

  /// Without a prologue, and without a handshake, it is the network's own.
  func testTheNetworksOwn() async throws {
    let nodes = try await nodes { _ in nil }
    for make in [nil, { _ in nil }, { try HyperDHT.NoiseHandshake($0) }] as [Make?] {
      let result = await code(nodes, make)
      XCTAssertNil(result)
    }
    await nodes.destroy()
  }

  /// What is not as it should be ends the dial, and says so where the reason is on this side.
  func testHandshakesThatAreWrong() async throws {
    let nodes = try await nodes { Wrong(noise: try HyperDHT.NoiseHandshake($0)) }
    let right = await code(nodes) { Wrong(noise: try HyperDHT.NoiseHandshake($0)) }
    XCTAssertNil(right, "nothing is wrong so far")
    let reference = await code(nodes) { ByReference(noise: try HyperDHT.NoiseHandshake($0)) }
    XCTAssertEqual(reference, "ERROR", "a class")
    let throwing = await code(nodes) { _ in throw DHTError.keyPairAlreadyUsed }
    XCTAssertEqual(throwing, "KEYPAIR_ALREADY_USED")
    let other = await code(nodes) { _ in throw CancellationError() }
    XCTAssertEqual(other, "HANDSHAKE_INVALID")
    let long = await code(nodes) { Wrong(noise: try HyperDHT.NoiseHandshake($0), padding: 1200) }
    XCTAssertEqual(long, "ERROR", "above the size of a message")
    await nodes.destroy()
  }
}

/// The network's own, with what is wrong about it.
private struct Wrong: HyperDHT.Handshake {
  var noise: HyperDHT.NoiseHandshake
  var padding = 0

  mutating func send(_ payload: [UInt8]) throws -> [UInt8] {
    try noise.send(payload) + [UInt8](repeating: 0, count: padding)
  }

  mutating func receive(_ message: [UInt8]) throws -> [UInt8] { try noise.receive(message) }
  var remotePublicKey: Bytes32? { noise.remotePublicKey }
  var secrets: HyperDHT.HandshakeSecrets? { noise.secrets }
}

private final class ByReference: HyperDHT.Handshake {
  var noise: HyperDHT.NoiseHandshake

  init(noise: HyperDHT.NoiseHandshake) { self.noise = noise }

  func send(_ payload: [UInt8]) throws -> [UInt8] { try noise.send(payload) }
  func receive(_ message: [UInt8]) throws -> [UInt8] { try noise.receive(message) }
  var remotePublicKey: Bytes32? { noise.remotePublicKey }
  var secrets: HyperDHT.HandshakeSecrets? { noise.secrets }
}
