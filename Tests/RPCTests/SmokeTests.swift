import HyperEncoding
import HyperswarmTesting
import XCTest

@testable import HyperRPC

final class SmokeTests: RPCTestCase {
  /// Item 76, smaller than the reference's 500 so that debug builds stay quick.
  func testRPC_76_twoNodesAndHundredNodesFormASwarm() throws {
    let network = VirtualNetwork(seed: 76, isLogging: true)
    network.isLogging = false
    let nodes = try makeSwarm(network, size: 100)
    for index in stride(from: 0, to: nodes.count, by: 7) {
      let target = try XCTUnwrap(nodes[index].id)
      let from = nodes[(index + 50) % nodes.count]
      let query = from.findNode(target: target)
      var result: Result<Void, RPCError>?
      query.onFinished = { result = $0 }
      query.start()
      XCTAssertTrue(network.run(within: 10_000) { result != nil })
      XCTAssertEqual(query.closestReplies.first?.from.id, target)
      XCTAssertEqual(query.closestReplies.count, 20)
    }
    destroy(nodes, network)
  }
}
