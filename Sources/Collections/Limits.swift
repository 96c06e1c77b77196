/// Bounds of the collections that do not depend on their use.
package enum Limits {
  /// Milliseconds that a source budget remembers a silent source at least: shorter generations would be rotated more
  /// often than buckets are looked at.
  package static let minimumSourceMemory: UInt64 = 60_000
}
