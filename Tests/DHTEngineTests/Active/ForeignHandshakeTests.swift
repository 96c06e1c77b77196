import HyperCrypto
import HyperEncoding
import HyperSecretStream
import XCTest

@testable import HyperDHTEngine

/// Handshakes of an application in the place of the network's own.
final class ForeignHandshakeTests: XCTestCase {
  private struct World {
    let net = Net()
    let server: DHTServer
    let accepted: Accepted

    init(_ hook: HandshakeHook?, firewall: ((Bytes32) -> Void)? = nil) {
      var options = ServerOptions()
      options.handshake = hook
      if let firewall {
        options.firewall = { key, _, _, decide in
          firewall(key)
          decide(.accept)
        }
      }
      (server, accepted) = net.listen(on: net.makeNode(), options: options)
    }

    /// Why there is no connection; `nil` when there is one, and its echo came.
    func dial(_ hook: HandshakeHook?) -> String? {
      var options = ConnectOptions()
      options.handshake = hook
      let client = net.makeNode()
      let peer = net.connect(client, to: server, options: options)
      net.wait(120_000) { peer.opened > 0 || peer.isClosed }
      if !peer.isClosed {
        net.assertEcho(peer)
        peer.stream.destroy()
        net.wait { peer.isClosed }
      }
      XCTAssertEqual(client.connectors.count, 0)
      XCTAssertEqual(client.rawStreamCount, 0)
      return peer.opened > 0 ? nil : peer.closeError?.code ?? "none"
    }
  }

  func testOnlyThoseWhoHaveTheSecret() {
    let secret = GroupHandshake.Secret()
    let world = World(secret.hook)
    XCTAssertNil(world.dial(secret.hook))
    XCTAssertEqual(world.accepted.peers.count, 1)
    XCTAssertEqual(world.dial(nil), "PEER_CONNECTION_FAILED")
    XCTAssertEqual(world.dial(GroupHandshake.Secret([7]).hook), "PEER_CONNECTION_FAILED")
    XCTAssertEqual(world.accepted.peers.count, 1)
    XCTAssertLessThanOrEqual(world.server.handshakeCount, 1, "what cannot be read leaves nothing")
    world.net.destroy()
  }

  /// Without an own one, and with one that says the same.
  func testTheNetworksOwn() {
    let world = World { _, _, _ in nil }
    for hook in [nil, { _, _, _ in nil }, GroupHandshake.Secret([]).hook] as [HandshakeHook?] {
      XCTAssertNil(world.dial(hook))
    }
    world.net.destroy()
  }

  /// What the engine does not take from a handshake, whichever side it is on.
  func testHandshakesThatAreWrong() {
    let faults: [(GroupHandshake.Fault, String)] = [
      (.fails, "HANDSHAKE_INVALID"), (.isLong, "ERROR"), (.hidesKeys, "PEER_CONNECTION_FAILED"),
      (.showsAnotherKey, "PEER_CONNECTION_FAILED"), (.showsNoKey, "PEER_CONNECTION_FAILED"),
    ]
    let right = GroupHandshake.Secret()
    let world = World(right.hook)
    for (fault, code) in faults {
      XCTAssertEqual(world.dial(GroupHandshake.Secret(fault: fault).hook), code, "client \(fault)")
    }
    XCTAssertEqual(world.accepted.peers.count, 0)
    XCTAssertNil(world.dial(right.hook))
    world.net.destroy()
    for (fault, _) in faults where fault != .showsAnotherKey {
      let world = World(GroupHandshake.Secret(fault: fault).hook)
      XCTAssertEqual(world.dial(right.hook), "PEER_CONNECTION_FAILED", "server \(fault)")
      XCTAssertEqual(world.accepted.peers.count, 0, "server \(fault)")
      world.net.destroy()
    }
  }

  /// The firewall has decided about one key; another one does not come in.
  func testAClientCannotChangeItsKey() {
    var asked: [Bytes32] = []
    let world = World(GroupHandshake.Secret(fault: .changesKey).hook) { asked.append($0) }
    XCTAssertEqual(world.dial(GroupHandshake.Secret().hook), "PEER_CONNECTION_FAILED")
    XCTAssertFalse(asked.isEmpty)
    XCTAssertEqual(world.accepted.peers.count, 0)
    XCTAssertEqual(world.server.handshakeCount, 0, "dropped")
    world.net.destroy()
  }
}

/// The network's own handshake with a secret of a group, and what can be wrong about it.
struct GroupHandshake: ForeignHandshake {
  enum Fault {
    case fails
    case isLong
    case hidesKeys
    case showsAnotherKey
    case showsNoKey
    /// After its first message was taken.
    case changesKey
  }

  private struct Failure: Error {}

  final class Secret {
    private let bytes: [UInt8]
    private let fault: Fault?
    /// Handshakes that have begun.
    private(set) var count = 0

    init(_ bytes: [UInt8] = [1, 2, 3], fault: Fault? = nil) {
      self.bytes = bytes
      self.fault = fault
    }

    var hook: HandshakeHook {
      { [self] isInitiator, keyPair, remotePublicKey in
        count += 1
        if fault == .fails { throw Failure() }
        let noise = try NoiseHandshake(
          pattern: .ik, isInitiator: isInitiator, keyPair: keyPair, remotePublicKey: remotePublicKey,
          prologue: Namespaces.peerHandshake.bytes + bytes, ephemeral: .random())
        return GroupHandshake(noise: noise, fault: fault)
      }
    }
  }

  private var noise: NoiseHandshake
  private let fault: Fault?
  private var hasSent = false

  private init(noise: NoiseHandshake, fault: Fault?) {
    self.noise = noise
    self.fault = fault
  }

  mutating func send(_ payload: [UInt8]) throws -> [UInt8] {
    hasSent = true
    let message = try noise.send(payload: payload)
    return fault == .isLong ? message + [UInt8](repeating: 0, count: 1200) : message
  }

  mutating func receive(_ message: [UInt8]) throws -> [UInt8] { try noise.receive(message) }

  var remotePublicKey: Bytes32? {
    switch fault {
    case .showsAnotherKey: Bytes32(repeating: 9)
    case .showsNoKey: nil
    case .changesKey where hasSent: Bytes32(repeating: 9)
    default: noise.remotePublicKey
    }
  }

  var secrets: ForeignSecrets? {
    guard fault != .hidesKeys else { return nil }
    return noise.sessionKeys().map {
      ForeignSecrets(sendKey: $0.sendKey, receiveKey: $0.receiveKey, handshakeHash: $0.handshakeHash)
    }
  }
}
