import HyperEnvironment
import HyperRuntime

extension HyperDHT.Testnet {
  /// The gauges of all nodes together, as text for Prometheus, and how many nodes there are; "" when the loop has
  /// ended.
  package nonisolated(nonsending) func metrics() async -> String {
    let engine = engine
    let sums = await onLoop(loop) {
      let nodes = engine.value.network.nodes
      var sums = [Metric("hyperswarm_testnet_nodes", nodes.count)]
      var places: [String: Int] = [:]
      for metric in nodes.flatMap(\.metrics) {
        if let place = places[metric.name] {
          sums[place].value += metric.value
        } else {
          places[metric.name] = sums.count
          sums.append(metric)
        }
      }
      return sums
    }
    return sums?.prometheusText ?? ""
  }
}
