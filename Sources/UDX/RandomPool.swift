import HyperCrypto

/// Small random numbers out of larger draws: an answer with a full topic takes dozens, a system call each.
///
/// What has been taken is overwritten; a value that may be secret never comes out of the pool.
struct RandomPool {
  private var bytes = [UInt8](repeating: 0, count: Limits.randomPool)
  private var used = Limits.randomPool

  mutating func take(_ target: UnsafeMutableRawBufferPointer) {
    guard target.count <= Limits.pooledRandom else { return Sodium.randomBytes(target) }
    if bytes.count - used < target.count {
      bytes.withUnsafeMutableBytes { Sodium.randomBytes($0) }
      used = 0
    }
    for index in target.indices {
      target[index] = bytes[used]
      bytes[used] = 0
      used += 1
    }
  }
}
