import HyperCrypto
import HyperEncoding
import HyperEnvironment
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine
@testable import HyperRPC

/// Withdrawing announcements: tokens, refusals, nodes that are silent, and what is announced meanwhile.
final class WithdrawalTests: XCTestCase {
  private let topic = Bytes32(repeating: 7)

  private struct Announced {
    let net: Net
    let node: DHTNode
    let keyPair: KeyPair
    let places: [Endpoint]
  }

  private func announced(seed: UInt64) -> Announced {
    let net = Net(8, seed: seed)
    let node = net.makeNode()
    let keyPair = KeyPair(seed: Bytes32(repeating: 9))
    let query = node.announce(topic, keyPair: keyPair)
    net.settle {
      query.onFinished = $0
      query.start()
    }
    let places = query.closestNodes
    XCTAssertGreaterThan(places.count, 4)
    XCTAssertEqual(holders(net, keyPair), places.count)
    return Announced(net: net, node: node, keyPair: keyPair, places: places)
  }

  private func holders(_ net: Net, _ keyPair: KeyPair) -> Int {
    net.nodes.filter { ($0.storage?.records.count ?? 0) > 0 }.count
  }

  private func requests(_ node: DHTNode, _ body: () -> Void) -> Int {
    let before = node.rpc.statistics.requestsTotal
    body()
    return Int(node.rpc.statistics.requestsTotal - before)
  }

  private func withdraw(_ world: Announced) {
    world.net.settle { done in
      world.node.withdraw(topic, keyPair: world.keyPair, from: world.places) { done(()) }
    }
  }

  /// The tokens of the announcement are still good.
  func testTokensAreUsedAgain() {
    let world = announced(seed: 1)
    XCTAssertEqual(requests(world.node) { withdraw(world) }, world.places.count)
    XCTAssertEqual(holders(world.net, world.keyPair), 0)
    world.net.destroy()
  }

  func testOldTokensAreReplacedFirst() {
    let world = announced(seed: 2)
    world.net.network.advance(by: 20_000)
    XCTAssertEqual(requests(world.node) { withdraw(world) }, 2 * world.places.count)
    XCTAssertEqual(holders(world.net, world.keyPair), 0)
    world.net.destroy()
  }

  /// The nodes have new secrets before their time: the refusal brings the token for the second attempt.
  func testARefusedTokenIsReplacedOnce() {
    let world = announced(seed: 3)
    for node in world.net.nodes {
      node.rpc.setTokens(TokenStore(previous: Bytes32(repeating: 1), current: Bytes32(repeating: 2)))
    }
    XCTAssertEqual(requests(world.node) { withdraw(world) }, 2 * world.places.count)
    XCTAssertEqual(holders(world.net, world.keyPair), 0)
    world.net.destroy()
  }

  /// Nodes whose clocks race refuse each token: two attempts, no more.
  func testARefusalAfterARefusalIsTheEnd() {
    let world = announced(seed: 4)
    func renew() {
      for node in world.net.nodes {
        let secret = node.environment.random32()
        node.rpc.setTokens(TokenStore(previous: secret, current: secret))
      }
    }
    renew()
    world.net.network.shouldDrop = { _ in
      renew()
      return false
    }
    XCTAssertEqual(requests(world.node) { withdraw(world) }, 2 * world.places.count)
    world.net.network.shouldDrop = nil
    XCTAssertEqual(world.node.pendingWithdrawals, 0)
    XCTAssertEqual(holders(world.net, world.keyPair), world.places.count)
    world.net.destroy()
  }

  /// Callers wait for a second; the node goes on after it.
  func testWithdrawalsGoOnAfterTheWait() {
    let world = announced(seed: 5)
    world.net.network.shouldDrop = { !$0.isStream && $0.destination != world.node.rpc.remoteAddress }
    let start = world.net.network.now
    withdraw(world)
    XCTAssertEqual((world.net.network.now - start) / 1000, Limits.Withdrawal.wait)
    XCTAssertEqual(holders(world.net, world.keyPair), world.places.count)
    world.net.network.shouldDrop = nil
    world.net.wait(10_000) { world.node.pendingWithdrawals == 0 }
    XCTAssertEqual(holders(world.net, world.keyPair), 0)
    world.net.destroy()
  }

  /// What is announced again is not withdrawn by what was asked for before.
  func testAnAnnouncementEndsTheWithdrawalBefore() {
    let world = announced(seed: 6)
    world.net.network.shouldDrop = {
      $0.source.host == world.places[0].host || $0.destination.host == world.places[0].host
    }
    withdraw(world)
    XCTAssertEqual(holders(world.net, world.keyPair), 1)
    XCTAssertEqual(world.node.pendingWithdrawals, 1)
    world.net.network.shouldDrop = nil
    let query = world.node.announce(topic, keyPair: world.keyPair)
    world.net.settle {
      query.onFinished = $0
      query.start()
    }
    XCTAssertEqual(world.node.pendingWithdrawals, 0)
    world.net.network.advance(by: 10_000)
    XCTAssertEqual(holders(world.net, world.keyPair), world.places.count)
    world.net.destroy()
  }

  func testCancelledWithdrawalsEnd() {
    let world = announced(seed: 7)
    var isDone = false
    world.node.withdraw(topic, keyPair: world.keyPair, from: world.places) { isDone = true }
    XCTAssertFalse(isDone)
    world.node.cancelWithdrawal(topic, keyPair: world.keyPair, from: world.places)
    XCTAssertTrue(isDone)
    XCTAssertEqual(world.node.pendingWithdrawals, 0)
    world.net.destroy()
  }

  /// Not forced, and no node answers.
  func testDestroyWaitsForASecond() {
    let world = announced(seed: 8)
    let (_, _) = world.net.listen(on: world.node)
    for host in world.net.hosts { host.isDown = true }
    world.node.withdraw(topic, keyPair: world.keyPair, from: world.places) {}
    let start = world.net.network.now
    world.net.settle { done in world.node.destroy { done(()) } }
    XCTAssertLessThanOrEqual((world.net.network.now - start) / 1000, Limits.Withdrawal.wait + 10)
    for host in world.net.hosts { host.isDown = false }
    world.net.destroy()
  }
}
