/// One exported gauge: its name in the text for Prometheus, and its value at one moment.
package struct Metric: Hashable, Sendable {
  package var name: String
  package var value: Double

  package init(_ name: String, _ value: Double) {
    self.name = name
    self.value = value
  }

  package init(_ name: String, _ value: UInt64) { self.init(name, Double(value)) }

  package init(_ name: String, _ value: Int) { self.init(name, Double(value)) }

  package init(_ name: String, _ value: Bool) { self.init(name, value ? 1.0 : 0) }

  /// Whole numbers without a fraction.
  package var number: String {
    value == value.rounded() && value.magnitude < 9_007_199_254_740_992 ? String(Int64(value)) : String(value)
  }
}

extension Sequence<Metric> {
  /// Prometheus text exposition: a TYPE line and a value line per gauge.
  package var prometheusText: String {
    map { "# TYPE \($0.name) gauge\n\($0.name) \($0.number)\n" }.joined()
  }
}
