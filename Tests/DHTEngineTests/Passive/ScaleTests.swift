import Foundation
import HyperCrypto
import HyperEncoding
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine
@testable import HyperRPC

/// Networks of many nodes, each a whole node with the real transport on a virtual host of its own.
///
/// A thousand nodes run with all tests. Larger networks run on demand:
///
///     HYPERSWARM_SCALE=10000 swift test -c release -Xswiftc -enable-testing --filter ScaleTests
final class ScaleTests: XCTestCase {
  /// Announcements under topics of their own, each looked up from another node.
  private static let topics = 50
  /// Bytes: what a quiet node may take. Most of it is the routing table with its 400 or so entries.
  private static let nodeMemory = 48 * 1024

  func testAThousandNodes() throws { try run(1000, seed: 1) }

  func testManyNodesOnDemand() throws {
    guard let text = ProcessInfo.processInfo.environment["HYPERSWARM_SCALE"], let size = Int(text) else {
      throw XCTSkip("set HYPERSWARM_SCALE=10000 for a network of so many nodes")
    }
    try run(size, seed: 2)
  }

  private func run(_ size: Int, seed: UInt64) throws {
    let before = residentBytes()
    let started = Date()
    let net = Net(size, seed: seed)
    XCTAssertEqual(net.nodes.count, size)
    let booted = Date().timeIntervalSince(started)
    let virtual = net.network.elapsed
    // What is on its way arrives, requests time out: quiet nodes.
    net.network.advance(by: 10_000)
    try checkMemory(before, size)

    var random = SeededRandom(seed: seed)
    let nodes = (0..<ScaleTests.topics).map { _ in
      (net.nodes[Int(random.next() % UInt64(size))], net.nodes[Int(random.next() % UInt64(size))])
    }
    for (index, pair) in nodes.enumerated() {
      let key = KeyPair(seed: Bytes32(repeating: UInt8(index)))
      let topic = Blake2b.hash32([UInt8(index)])
      let announced: Result<Void, DHTError>? = net.settle { done in
        let query = pair.0.announce(topic, keyPair: key)
        query.onFinished = { done($0) }
        query.start()
      }
      XCTAssertEqual(announced.map(isSuccess), true, "announcement \(index)")
      var found: Set<Bytes32> = []
      let query = pair.1.lookup(topic)
      query.onReply = { found.formUnion($0.peers.map(\.publicKey)) }
      net.settle { done in
        query.onFinished = { done($0) }
        query.start()
      }
      XCTAssertEqual(found, [key.publicKey], "look-up \(index)")
    }
    print(
      "\(size) nodes, seed \(seed): up in \(Int(booted)) s (\(virtual) of virtual time), "
        + "\(ScaleTests.topics) announcements found, \(Int(Date().timeIntervalSince(started))) s in all")
  }

  private func checkMemory(_ before: Int?, _ size: Int) throws {
    guard let before, let after = residentBytes() else { return print("memory: not measured on this system") }
    let perNode = (after - before) / size
    print("memory: \(perNode) bytes per node")
    #if !DEBUG
      XCTAssertLessThan(perNode, ScaleTests.nodeMemory)
    #endif
  }

  /// Resident memory of the process, without shared pages.
  private func residentBytes() -> Int? {
    guard let text = try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8) else { return nil }
    let pages = text.split(separator: " ").compactMap { Int($0) }
    return pages.count > 2 ? (pages[1] - pages[2]) * Int(getpagesize()) : nil
  }
}
