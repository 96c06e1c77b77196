#if Metrics
  import HyperEnvironment
  import Metrics

  #if ServiceLifecycle
    import ServiceLifecycle
  #endif

  /// Copies the gauges of a node or swarm to swift-metrics, under the names of the text for Prometheus
  /// (`docs/metrics.md`).
  public struct MetricsReporter: Sendable {
    private let interval: Duration
    private let factory: any MetricsFactory
    private let dimensions: [(String, String)]
    private let read: @Sendable () async -> [Metric]

    package init(
      every interval: Duration, to factory: (any MetricsFactory)?, dimensions: [(String, String)],
      read: @escaping @Sendable () async -> [Metric]
    ) {
      self.interval = max(interval, .milliseconds(Int64(Limits.metricsInterval)))
      self.factory = factory ?? MetricsSystem.factory
      self.dimensions = dimensions
      self.read = read
    }

    /// Copies the gauges now, and then after each interval. Returns when the task is cancelled, at a graceful shutdown
    /// (with the trait `ServiceLifecycle`), and when the node or swarm has been let go of or its loop has ended. Does
    /// not hold the node or swarm.
    public func run() async {
      #if ServiceLifecycle
        await cancelWhenGracefulShutdown { await copyUntilCancelled() }
      #else
        await copyUntilCancelled()
      #endif
    }

    private func copyUntilCancelled() async {
      var gauges: [String: Gauge] = [:]
      while !Task.isCancelled {
        let metrics = await read()
        if metrics.isEmpty { return }
        for metric in metrics {
          let gauge =
            gauges[metric.name] ?? Gauge(label: metric.name, dimensions: dimensions, factory: factory)
          gauges[metric.name] = gauge
          gauge.record(metric.value)
        }
        try? await Task.sleep(for: interval)
      }
    }
  }

  #if ServiceLifecycle
    extension MetricsReporter: Service {}
  #endif

  extension HyperDHT {
    /// What copies the gauges of `metrics` to swift-metrics.
    /// - `interval`: between two copies; 100 ms at least, shorter ones count as that.
    /// - `factory`: where the gauges are made; `nil` is that of `MetricsSystem` at the time of this call.
    /// - `dimensions`: for each gauge, to tell several nodes of one program apart.
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
