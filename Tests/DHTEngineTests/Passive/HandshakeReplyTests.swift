import HyperCrypto
import HyperEncoding
import HyperEnvironment
import HyperSecretStream
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine

/// A-5, 54: which replies a client takes.
final class HandshakeReplyTests: XCTestCase {
  private enum Behaviour: CaseIterable {
    case honest
    case wrongMode
    case otherAddress
    case otherTransaction
    case otherPort
  }

  /// The only way to the server leads through a relay of ours, which passes on the genuine reply, but as told.
  private func connects(_ behaviour: Behaviour) throws -> (isOpen: Bool, replies: Int, error: EncryptedStreamError?) {
    let net = Net(1)
    // In a network of its own, so that no node announces it where the client looks.
    var options = DHTOptions(bootstrap: [], port: 0)
    options.ephemeral = true
    let node = DHTNode(environment: net.network.makeHost(), options: options)
    let (server, _) = net.listen(on: node, keyPair: KeyPair(seed: Bytes32(repeating: 5)))
    let serverAddress = try XCTUnwrap(node.rpc.localAddress)

    let relay = net.network.makeHost()
    let socket = relay.makeSocket()
    try socket.bind(host: .any, port: 99)
    let stranger = net.network.makeHost().makeSocket()
    try stranger.bind(host: .any, port: 99)
    let secondSocket = relay.makeSocket()
    try secondSocket.bind(host: .any, port: 98)
    var client: Endpoint?
    var replies = 0
    socket.onMessage = { bytes, source in
      guard let request = Datagrams.request(Array(bytes)), let message = Datagrams.handshake(Array(bytes)) else {
        return
      }
      if message.mode == .fromClient {
        client = source
        let onward = HandshakeMessage(mode: .fromRelay, noise: message.noise, peerAddress: source)
        socket.send(
          Datagrams.encodeRequest(
            tid: request.tid, to: serverAddress, command: Command.peerHandshake.rawValue, target: request.target,
            value: onward.encoded), to: serverAddress)
      } else if message.mode == .fromServer, let client {
        replies += 1
        let mode: RoutingMode = behaviour == .wrongMode ? .fromServer : .reply
        let reply = HandshakeMessage(mode: mode, noise: message.noise, peerAddress: source)
        let tid = behaviour == .otherTransaction ? request.tid &+ 1 : request.tid
        let bytes = Datagrams.encodeResponse(tid: tid, to: client, value: reply.encoded)
        switch behaviour {
        case .otherAddress: stranger.send(bytes, to: client)
        case .otherPort: secondSocket.send(bytes, to: client)
        default: socket.send(bytes, to: client)
        }
      }
    }
    var connectOptions = ConnectOptions()
    connectOptions.relayAddresses = [Endpoint(host: relay.address, port: 99)]
    let peer = net.connect(net.makeNode(), to: server, options: connectOptions)
    net.wait(60_000, "an outcome") { peer.opened > 0 || peer.isClosed }
    let outcome = (peer.opened > 0, replies, peer.closeError)
    node.destroy(force: true)
    net.destroy()
    return outcome
  }

  func testDHT_54_repliesThatAreRejected() throws {
    for behaviour in Behaviour.allCases {
      let outcome = try connects(behaviour)
      XCTAssertGreaterThan(outcome.replies, 0, "\(behaviour)")
      XCTAssertEqual(outcome.isOpen, behaviour == .honest, "\(behaviour)")
      if behaviour != .honest { XCTAssertNotNil(outcome.error, "\(behaviour)") }
    }
  }
}
