/// Another name of `HyperDHT`, for programs that have something else of that name.
public typealias HyperDHTNode = HyperDHT

// Module and class share a name, of which the class is found first: `HyperDHT.ConnectionError` is looked for inside the
// class. Module interfaces (.swiftinterface) of libraries write all names like that. So what the module has is in the
// class, too: docs/public-api.md.

extension HyperDHT {
  /// The class itself: what the module's name in front means, too.
  public typealias HyperDHT = HyperDHT::HyperDHT
  /// `ConnectionError` with the module's name in front.
  public typealias ConnectionError = HyperDHT::ConnectionError
  /// `HyperDHTNode` with the module's name in front.
  public typealias HyperDHTNode = HyperDHT::HyperDHTNode
  #if Metrics
    /// `MetricsReporter` with the module's name in front.
    public typealias MetricsReporter = HyperDHT::MetricsReporter
  #endif
}
