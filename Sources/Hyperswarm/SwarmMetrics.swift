import HyperDHT
import HyperDHTEngine
import HyperEnvironment
import HyperswarmEngine

#if Metrics
  import Metrics

  extension Hyperswarm {
    /// What copies the gauges of `metrics` to swift-metrics, once it runs. It does not hold the swarm.
    /// - Parameters:
    ///   - interval: from one copy to the next, 100 ms at least.
    ///   - factory: `nil` is that of `MetricsSystem`.
    ///   - dimensions: for each gauge, to tell several swarms of one program apart.
    public func metricsReporter(
      every interval: Duration = .seconds(10), to factory: (any MetricsFactory)? = nil,
      dimensions: [(String, String)] = []
    ) -> MetricsReporter {
      MetricsReporter(every: interval, to: factory, dimensions: dimensions) { [weak self] in
        await self?.metricValues() ?? []
      }
    }
  }
#endif

extension SwarmEngine {
  /// The gauges of the swarm, of its node and of the transport: what Swift, C and swift-metrics show.
  package func metrics(with node: DHTNode) -> [Metric] {
    let statistics = statistics
    return statistics.metrics + statistics.ownMetrics + node.metrics
  }
}
