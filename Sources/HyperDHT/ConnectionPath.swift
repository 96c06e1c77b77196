import HyperRuntime

extension HyperDHT.Connection {
  /// Whether the packets go over a blind relay at the moment.
  package func isRelayed(isolation: isolated (any Actor)? = #isolation) async -> Bool {
    let state = inner
    return await onLoop(state.loop, isolation: isolation) { state.stream.isRelayed } ?? false
  }
}
