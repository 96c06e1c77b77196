/// What relaying streams that share it may forward: bytes a second in the long run, and at once. With a rate of 0 the
/// burst is all there is. Packets above are dropped.
package final class RelayQuota {
  package let bytesPerSecond: UInt64
  package let burst: UInt64
  /// What the transport counts with; made by the first stream that takes the quota.
  package var meter: (any RelayMeter)?

  package init(bytesPerSecond: UInt64, burst: UInt64) {
    self.bytesPerSecond = bytesPerSecond
    self.burst = burst
  }

  package var packetsDropped: UInt64 { meter?.packetsDropped ?? 0 }
}

package protocol RelayMeter: AnyObject {
  var packetsDropped: UInt64 { get }
}
