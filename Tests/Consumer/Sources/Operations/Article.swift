import Hyperswarm
import Logging
import ServiceLifecycle

// The code of the article Operating a node that needs traits; ReadmeTests compares.

public func logged() {
  // snippet: logger
  var options = Hyperswarm.Options()
  options.logger = Logger(label: "swarm")
  // end
  _ = options
}

public func measured(_ swarm: Hyperswarm) async {
  // snippet: metrics
  let text = await swarm.metrics()  // for the handler of GET /metrics
  let reporter = swarm.metricsReporter(every: .seconds(10))
  await reporter.run()  // until the task is cancelled
  // end
  _ = text
}

public func served(_ swarm: Hyperswarm, _ reporter: MetricsReporter, _ server: any Service, _ logger: Logger)
  async throws
{
  // snippet: service
  let group = ServiceGroup(
    services: [swarm, reporter, server], gracefulShutdownSignals: [.sigterm, .sigint], logger: logger)
  try await group.run()
  // end
}
