import CHyperUDX
import HyperEnvironment

/// The transport's side of a ``RelayQuota``: memory that the streams which share it count with.
final class UDXRelayMeter: RelayMeter {
  let quota: UnsafeMutablePointer<udx_relay_quota_t>

  init(_ environment: UDXInstance, _ quota: RelayQuota) {
    self.quota = .allocate(capacity: 1)
    udx_relay_quota_init(environment.udx, self.quota, quota.bytesPerSecond, quota.burst)
  }

  deinit { quota.deallocate() }

  var packetsDropped: UInt64 { quota.pointee.packets_dropped }
}
