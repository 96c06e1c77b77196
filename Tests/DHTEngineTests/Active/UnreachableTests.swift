import HyperCrypto
import HyperEncoding
import HyperRPC
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine

/// A network that does not answer is not a peer that does not exist.
final class UnreachableTests: XCTestCase {
  private let key = KeyPair(seed: Bytes32(repeating: 77)).publicKey

  private func result<Item>(_ query: DHTQuery<Item>, _ network: VirtualNetwork) -> Result<Void, DHTError>? {
    var result: Result<Void, DHTError>?
    query.onFinished = { result = $0 }
    query.start()
    network.run(within: 60_000) { result != nil }
    return result
  }

  private func isUnreachable(_ result: Result<Void, DHTError>?) -> Bool {
    if case .failure(.networkUnreachable) = result { true } else { false }
  }

  /// Every operation says so, when no node is at the bootstrap address, and when its name does not resolve.
  func testNoBootstrapNodeAnswers() throws {
    for bootstrap in ["9.9.9.9:49737", "nowhere.example:49737"] {
      let network = VirtualNetwork(seed: 3)
      var options = DHTOptions(bootstrap: [try XCTUnwrap(BootstrapNode(bootstrap))])
      options.host = .any
      let node = DHTNode(environment: network.makeHost(), options: options)
      let peer = Peer(node.connect(to: key))
      network.run(within: 60_000) { peer.isClosed }
      XCTAssertEqual(peer.closeError?.code, "NETWORK_UNREACHABLE", bootstrap)
      XCTAssertEqual(DHTError(closing: peer.closeError), .networkUnreachable)
      XCTAssertEqual(peer.closed, 1)
      XCTAssertTrue(isUnreachable(result(node.lookup(Bytes32(repeating: 1)), network)))
      XCTAssertTrue(isUnreachable(result(node.findPeer(key), network)))
      XCTAssertTrue(isUnreachable(result(node.announce(Bytes32(repeating: 1), keyPair: KeyPair(seed: key)), network)))
      XCTAssertTrue(isUnreachable(result(node.lookupAndUnannounce(key, keyPair: KeyPair(seed: key)), network)))
      var got: Result<ImmutableGetResult?, DHTError>?
      node.immutableGet(key) { got = $0 }
      network.run(within: 60_000) { got != nil }
      XCTAssertThrowsError(try XCTUnwrap(got).get()) { XCTAssertEqual($0 as? DHTError, .networkUnreachable) }
      // Relay hints that lead nowhere change nothing.
      var hinted = ConnectOptions()
      hinted.relayAddresses = [Endpoint(host: IPv4Address(8, 8, 8, 8), port: 8)]
      let second = Peer(node.connect(to: key, options: hinted))
      network.run(within: 60_000) { second.isClosed }
      XCTAssertEqual(second.closeError?.code, "NETWORK_UNREACHABLE")
      var isDestroyed = false
      node.destroy { isDestroyed = true }
      network.run(within: 1000) { isDestroyed }
    }
  }

  /// The network was there and is gone, and comes back.
  func testNetworkGoesAndComesBack() {
    let net = Net()
    let client = net.makeNode()
    let own = (client.environment as? VirtualHost)?.address
    net.network.shouldDrop = { $0.source.host == own }
    let peer = Peer(client.connect(to: key))
    net.wait { peer.isClosed }
    XCTAssertEqual(peer.closeError?.code, "NETWORK_UNREACHABLE")
    net.network.shouldDrop = nil
    let again = Peer(client.connect(to: key))
    net.wait { again.isClosed }
    XCTAssertEqual(again.closeError?.code, "PEER_NOT_FOUND")
    net.destroy()
  }

  /// Answers with an error are answers; a hint that is dead while the network lives leaves the peer not found.
  func testAnswersOfAnyKindAreTheNetwork() {
    let net = Net()
    let client = net.makeNode()
    var options = ConnectOptions()
    options.relayAddresses = [Endpoint(host: IPv4Address(8, 8, 8, 8), port: 8)]
    let peer = Peer(client.connect(to: key, options: options))
    net.wait { peer.isClosed }
    XCTAssertEqual(peer.closeError?.code, "PEER_NOT_FOUND")
    net.destroy()
  }

  /// A node without bootstrap nodes that knows no other is a network of its own.
  func testALoneNodeIsItsOwnNetwork() {
    let network = VirtualNetwork(seed: 4)
    var options = DHTOptions(bootstrap: [])
    options.host = .any
    let node = DHTNode(environment: network.makeHost(), options: options)
    node.start()
    XCTAssertEqual(result(node.lookup(key), network).map(isSuccess), true)
    let peer = Peer(node.connect(to: key))
    network.run(within: 60_000) { peer.isClosed }
    XCTAssertEqual(peer.closeError?.code, "PEER_NOT_FOUND")
    var isDestroyed = false
    node.destroy { isDestroyed = true }
    network.run(within: 1000) { isDestroyed }
  }
}
