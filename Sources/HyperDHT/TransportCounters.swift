import HyperRuntime
import HyperUDX

extension HyperDHT {
  /// What the sockets and streams of the node have done, by name; empty when its loop has ended.
  package func transportCounters(isolation: isolated (any Actor)? = #isolation) async -> [(String, UInt64)] {
    let environment = environment
    return await onLoop(loop, isolation: isolation) {
      environment.value.instance.counters.map { ($0.name, $0.value) }
    } ?? []
  }
}

extension HyperDHT.Testnet {
  /// What each node has counted and knows, and what its sockets have done.
  package struct NodeReport: Sendable {
    package var statistics: HyperDHT.Statistics
    package var status: HyperDHT.Status
    package var transport: [(String, UInt64)]
  }

  /// Of all nodes, in the order of `bootstrap` and then of their making; empty when the loop has ended.
  package func reports(isolation: isolated (any Actor)? = #isolation) async -> [NodeReport] {
    let engine = engine
    return await onLoop(loop, isolation: isolation) {
      let (testnet, environments) = engine.value
      return zip(testnet.nodes, environments).map { node, environment in
        NodeReport(
          statistics: HyperDHT.Statistics(node), status: HyperDHT.Status(node),
          transport: environment.instance.counters.map { ($0.name, $0.value) })
      }
    } ?? []
  }
}
