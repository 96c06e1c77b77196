import Foundation
import Hyperswarm
import XCTest

/// The text for Prometheus of all layers, and that docs/metrics.md names what is in it.
final class MetricsTests: XCTestCase {
  private func gauges(_ text: String) throws -> [String: Double] {
    let lines = text.split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
    XCTAssertEqual(lines.count % 2, 0)
    var found: [String: Double] = [:]
    for index in stride(from: 0, to: lines.count, by: 2) {
      XCTAssertEqual(lines[index], ["#", "TYPE", lines[index + 1][0], "gauge"])
      XCTAssertNil(found.updateValue(try XCTUnwrap(Double(lines[index + 1][1])), forKey: lines[index + 1][0]))
    }
    return found
  }

  func testTextOfAllLayers() async throws {
    let testnet = try await HyperDHT.Testnet(size: 3)
    let server = try await Hyperswarm(Hyperswarm.Options(bootstrap: testnet.bootstrap))
    let client = try await Hyperswarm(Hyperswarm.Options(bootstrap: testnet.bootstrap))
    let topic = Hyperswarm.topic("metrics")
    _ = try await server.join(topic, client: false).flushed()
    try await client.join(topic, server: false)
    let connection = try await client.accept()
    XCTAssertNotNil(connection)

    let all = try gauges(await client.metrics())
    XCTAssertEqual(all["hyperswarm_client_connections"], 1)
    XCTAssertEqual(all["hyperswarm_client_connections_opened"], 1)
    XCTAssertEqual(all["hyperswarm_topics"], 1)
    XCTAssertEqual(all["dht_connects_opened"], 1)
    XCTAssertGreaterThan(all["dht_find_node_received"] ?? 0, 0)
    XCTAssertGreaterThan(all["udx_total_bytes_transmitted"] ?? 0, 0)
    XCTAssertGreaterThan(all["udx_total_packets_received"] ?? 0, 0)
    // All traffic of a node goes over its two sockets, as long as no others are opened for hole punching.
    let bySocket = (all["dht_client_socket_packets_received"] ?? 0) + (all["dht_server_socket_packets_received"] ?? 0)
    XCTAssertGreaterThan(bySocket, 0)
    XCTAssertLessThanOrEqual(bySocket, all["udx_total_packets_received"] ?? 0)

    let node = try gauges(await client.dht.metrics())
    XCTAssertEqual(Set(node.keys), Set(all.keys.filter { !$0.hasPrefix("hyperswarm_") }))

    let page = try String(contentsOf: root.appendingPathComponent("docs/metrics.md"), encoding: .utf8)
    let rows = page.split(separator: "\n").filter { $0.hasPrefix("| `") }
    let named = rows.flatMap { row in row.split(separator: "|")[0].matches(of: /`([a-z_]+)`/).map { String($0.1) } }
    XCTAssertEqual(named.count, Set(named).count, "a name stands twice in docs/metrics.md")
    // The kernel's drops are counted on Linux only.
    let dropped = "udx_packets_dropped_total"
    XCTAssertEqual(Set(named).subtracting([dropped]), Set(all.keys).subtracting([dropped]))

    await client.destroy()
    let none = await client.metrics()
    XCTAssertEqual(none, "")
    await server.destroy()
    await testnet.destroy()
  }

  private let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()
}
