import HyperEnvironment
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine

/// Nodes and servers that are suspended, from several sides at once (hyperdht.md A-5).
final class SuspensionTests: XCTestCase {
  func testSuspendAndResumeInAnyOrderSettle() {
    let net = Net(4)
    let node = net.makeNode()
    _ = net.listen(on: node)
    var done = 0
    node.suspend { done += 1 }
    node.suspend { done += 1 }
    node.resume { _ in done += 1 }
    node.resume { _ in done += 1 }
    node.suspend { done += 1 }
    net.wait(120_000) { done == 5 }
    net.settle { finished in node.destroy { finished(()) } }
    XCTAssertEqual((node.environment as! VirtualHost).openSocketCount, 0)
    net.destroy()
  }

  func testASecondSuspendWaitsForTheFirst() {
    let net = Net(4)
    let node = net.makeNode()
    let (server, _) = net.listen(on: node)
    // The withdrawal asks nodes that are no longer there: it takes its time.
    for other in net.testnet.nodes { (other.environment as! VirtualHost).isDown = true }
    var order: [String] = []
    node.suspend { order.append("first") }
    node.suspend { order.append("second") }
    server.suspend { order.append("server") }
    net.network.advance(by: 10)
    XCTAssertEqual(order, [])
    net.wait(120_000) { order.count == 3 }
    XCTAssertEqual(order, ["server", "first", "second"])
    var again = false
    node.suspend { again = true }
    net.network.advance(by: 1)
    XCTAssertTrue(again)
    net.destroy()
  }
}
