/// Bounds of a storing node (hyperdht.md 12.1 and 17, B-10 and B-11, C-13 and C-14). Sizes are per cache
/// generation, of which there are two.
package struct StorageLimits: Sendable {
  package var records = RecordStore.Limits()
  /// Topics with a bump.
  package var maximumBumps = 65_536
  /// Renewable announces, each of about 150 bytes.
  package var maximumRefreshes = 65_536
  /// Milliseconds; topic records, bumps and refreshes.
  package var maximumAge: UInt64 = 20 * 60 * 1000
  /// Mutable and immutable values, each kind.
  package var maximumValues = 32_768
  /// Bytes of all values of one kind.
  package var maximumValueBytes = 16 * 1024 * 1024
  /// Values of one kind that one host may put.
  package var maximumValuesPerHost = 8192
  /// Milliseconds.
  package var maximumValueAge: UInt64 = 48 * 60 * 60 * 1000
  /// Bytes of one value; a reply with it then stays below the MTU of nearly all paths. The reference has no limit.
  package var maximumValue = 1024
  /// Milliseconds that a bump may be ahead of our clock.
  package var maximumBumpDrift: UInt64 = 60_000
  /// Bytes of values per second, and in one burst, that are sent to a host that has not shown a token of ours lately:
  /// such a source address may be forged, and a reply is up to 25 times its request.
  package var unprovenReplyBytesPerSecond: UInt64 = 32 * 1024
  package var unprovenReplyBurst: UInt64 = 512 * 1024
  /// Hosts for which the two numbers above, and proofs, are remembered per generation.
  package var maximumTrackedHosts = 4096
  /// Milliseconds that a shown token exempts its host.
  package var proofAge: UInt64 = 10 * 60 * 1000

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
