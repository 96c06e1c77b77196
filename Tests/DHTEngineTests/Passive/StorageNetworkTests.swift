import HyperCrypto
import HyperEncoding
import XCTest

@testable import HyperDHTEngine
@testable import HyperRPC

/// at the sizes that the checklist names; the same items on small networks are in `QueryTests`.
final class StorageNetworkTests: XCTestCase {
  private let key = KeyPair(seed: Bytes32(repeating: 21))

  private func all<Item>(_ net: Net, _ query: DHTQuery<Item>) -> [Item] {
    var items: [Item] = []
    query.onReply = { items.append($0) }
    net.settle {
      query.onFinished = $0
      query.start()
    }
    return items
  }

  func testDHT_10_11_21_22_serverOnThirtyTwoNodes() throws {
    let net = Net(32)
    let (server, _) = net.listen(on: net.makeNode(), keyPair: key)
    let searcher = net.makeNode()
    let found = all(net, searcher.findPeer(key.publicKey))
    XCTAssertGreaterThanOrEqual(found.count, 1)
    // The stored record names no relays; they travel in the handshake.
    for item in found { XCTAssertEqual(item.peer, PeerRecord(publicKey: key.publicKey)) }
    let looked = all(net, searcher.lookup(Target.of(publicKey: key.publicKey)))
    XCTAssertTrue(looked.contains { $0.peers == [PeerRecord(publicKey: key.publicKey)] })
    XCTAssertEqual(server.relayAddresses.count, 3)
    for relay in server.relayAddresses {
      XCTAssertTrue(found.contains { $0.from.endpoint == relay }, "\(relay) does not answer for the server")
    }
    net.destroy()
  }

  func testDHT_27_immutableOnAHundredNodes() throws {
    let net = Net(100)
    let value = Array("a value".utf8)
    let put: Result<ImmutablePutResult, DHTError>? = net.settle { net.nodes[30].immutablePut(value, completion: $0) }
    let stored = try XCTUnwrap(put).get()
    XCTAssertEqual(stored.target, Target.of(value: value))
    XCTAssertEqual(stored.stored, 20)
    let get: Result<ImmutableGetResult?, DHTError>? = net.settle {
      net.nodes[3].immutableGet(stored.target, completion: $0)
    }
    let item = try XCTUnwrap(try XCTUnwrap(get).get())
    XCTAssertEqual(item.value, value)
    XCTAssertTrue(stored.closestNodes.contains(item.from.endpoint))
    XCTAssertEqual(item.to, net.nodes[3].rpc.localAddress)
    net.destroy()
  }
}
