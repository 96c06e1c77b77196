import HyperCollections

/// The bounds of one storing node; see ``Limits/Storage`` for units and reasons. Counts and sizes are per generation.
package struct StorageConfiguration: Sendable {
  package var records = RecordStore.Bounds()
  package var maximumBumps = Limits.Storage.bumps
  package var maximumRefreshes = Limits.Storage.refreshes
  /// Milliseconds.
  package var maximumAge = Limits.Storage.age
  package var maximumValues = Limits.Storage.values
  package var maximumValueBytes = Limits.Storage.valueBytes
  package var valuesPerHost = Limits.Storage.valuesPerHost
  package var valueBytesPerHost = Limits.Storage.valueBytesPerHost
  /// Milliseconds.
  package var maximumValueAge = Limits.Storage.valueAge
  package var maximumValue = Limits.Storage.value
  /// Milliseconds.
  package var maximumBumpDrift = Limits.Storage.bumpDrift
  package var unprovenReplies = Rate(
    burst: Limits.Storage.unprovenReplyBurst, perSecond: Limits.Storage.unprovenReplyBytesPerSecond)
  package var totalUnprovenReplies = Rate(
    burst: Limits.Storage.totalUnprovenReplyBurst, perSecond: Limits.Storage.totalUnprovenReplyBytesPerSecond)
  package var provenReplies = Rate(
    burst: Limits.Storage.provenReplyBurst, perSecond: Limits.Storage.provenReplyBytesPerSecond)
  package var maximumTrackedSources = Limits.Storage.trackedSources

  package init() {}

  /// The `maxSize` and `maxAge` options of the node.
  package init(maximumSize: Int, maximumAge age: UInt64) {
    records.maximumRecords = maximumSize
    records.maximumAge = age
    maximumBumps = maximumSize
    maximumRefreshes = maximumSize
    maximumAge = age
    maximumValues = max(maximumSize / 2, 1)
    maximumValueAge = age
  }
}
