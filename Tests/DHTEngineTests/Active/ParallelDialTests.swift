import HyperCrypto
import HyperEncoding
import HyperSecretStream
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine
@testable import HyperRPC

/// Many dials at a time through one node.
final class ParallelDialTests: XCTestCase {
  /// The window counts what is under way: what has been answered never holds up the next dial.
  /// On slow paths many requests are under way when the window enters its next slot.
  func testFiftyAtATime() {
    for (seed, latency) in zip(0..<3 as Range<UInt64>, [1, 1, 60]) {
      let net = Net(20, seed: 3600 + seed)
      let (server, _) = net.listen(on: net.makeNode(firewalled: false))
      let client = net.makeNode()
      if latency > 1 {
        var conditions = LinkConditions()
        conditions.latency = .milliseconds(latency)
        net.network.conditions = conditions
      }
      // Fewer than the server takes from one host at once.
      let total = 240
      var left = total
      var times: [UInt64] = []
      var failures: [String] = []
      var streams: [ObjectIdentifier: EncryptedStream] = [:]
      // Slots that the dials have gone through, and requests that the window counted although they had been answered.
      let firstSlot = client.rpc.window.current
      var excess = 0
      func dial() {
        excess = max(excess, client.rpc.window.total - client.rpc.requests.count)
        guard left > 0 else { return }
        left -= 1
        let begun = net.network.now
        let stream = client.connect(to: server.publicKey ?? Bytes32())
        let key = ObjectIdentifier(stream)
        streams[key] = stream
        stream.onOpen = { [unowned stream] in
          times.append((net.network.now - begun) / 1000)
          stream.destroy()
        }
        stream.onClose = { error in
          if let error { failures.append(error.code) }
          streams[key] = nil
          dial()
        }
      }
      for _ in 0..<50 { dial() }
      net.wait(600_000, "all dials") { times.count + failures.count >= total && streams.isEmpty }
      XCTAssertEqual(failures, [], "seed \(seed)")
      XCTAssertEqual(excess, 0, "seed \(seed)")
      if latency > 1 { XCTAssertGreaterThanOrEqual(client.rpc.window.current - firstSlot, 2, "seed \(seed)") }
      times.sort()
      let p99 = times.isEmpty ? .max : times[times.count * 99 / 100]
      print("seed \(3600 + seed): 50 at a time, p50 \(times[times.count / 2]) ms, p99 \(p99) ms")
      // On slow paths the window is full of what is under way.
      if latency == 1 { XCTAssertLessThanOrEqual(p99, 200, "seed \(seed)") }
      net.destroy()
    }
  }
}
