import HyperCrypto
import HyperEncoding
import HyperEnvironment
import HyperSecretStream
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine

/// A client made of one socket, which says what it likes.
final class RawClient {
  let host: VirtualHost
  let socket: any DatagramSocket
  var replies: [(datagram: Datagrams.Response, source: Endpoint)] = []
  private var tid: UInt16 = 100

  init(_ net: Net) {
    host = net.network.makeHost()
    socket = host.makeSocket()
    XCTAssertNoThrow(try socket.bind(host: .any, port: 5000))
    socket.onMessage = { [unowned self] bytes, source in
      if let response = Datagrams.response(Array(bytes)) { replies.append((response, source)) }
    }
  }

  @discardableResult
  func send(_ message: HandshakeMessage, to: Endpoint, target: Bytes32) -> UInt16 {
    tid &+= 1
    socket.send(
      Datagrams.encodeRequest(
        tid: tid, to: to, command: Command.peerHandshake.rawValue, target: target, value: message.encoded),
      to: to)
    return tid
  }

  func noise(
    _ server: DHTServer, payload: NoisePayload? = nil, raw: [UInt8]? = nil, seed: UInt8 = 1, ephemeral: UInt8? = nil
  ) -> (NoiseHandshake, [UInt8]) {
    var keySeed = [UInt8](repeating: seed, count: 32)
    let address = host.address.value
    keySeed[0] = UInt8(truncatingIfNeeded: address ^ address >> 8)
    let key = KeyPair(seed: Bytes32(keySeed)!)
    var handshake = try! NoiseHandshake(
      pattern: .ik, isInitiator: true, keyPair: key, remotePublicKey: server.publicKey,
      prologue: Namespaces.peerHandshake.bytes, ephemeral: KeyPair(seed: Bytes32(repeating: ephemeral ?? seed &+ 100)))
    let payload =
      raw
      ?? (payload
      ?? NoisePayload(
        addresses4: [], udx: .init(id: 4711), secretStream: .init())).encoded
    let message = try! handshake.send(payload: payload)
    return (handshake, message)
  }
}
