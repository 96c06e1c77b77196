import CHyperSodium

/// Heap memory for secrets, zero-filled at first and zeroed before it is released.
///
/// Ordinary pages instead of `sodium_malloc`: every stream and handshake owns a few of these, and guarded memory costs
/// four pages and several system calls each. Long-lived static keys are in guarded memory (`KeyPair`).
final class WipedMemory: @unchecked Sendable {
  // Written by its one owner before it is shared, read-only afterwards; hence the unchecked conformance.
  let base: UnsafeMutablePointer<UInt8>
  let count: Int

  init(count: Int) {
    self.count = count
    base = UnsafeMutableRawPointer.allocate(byteCount: max(count, 1), alignment: 64)
      .bindMemory(to: UInt8.self, capacity: max(count, 1))
    base.initialize(repeating: 0, count: max(count, 1))
  }

  func copy() -> WipedMemory {
    let other = WipedMemory(count: count)
    other.base.update(from: base, count: count)
    return other
  }

  deinit {
    sodium_memzero(base, count)
    base.deallocate()
  }
}

/// Lends zeroed scratch memory for secrets on the stack and wipes it afterwards.
func withSecretScratch<R, E: Error>(
  _ count: Int, _ body: (UnsafeMutablePointer<UInt8>) throws(E) -> R
) throws(E) -> R {
  let result: Result<R, E> = withUnsafeTemporaryAllocation(byteCount: max(count, 1), alignment: 64) { memory in
    let base = memory.assumingMemoryBound(to: UInt8.self)
    base.initialize(repeating: 0)
    defer { sodium_memzero(memory.baseAddress, memory.count) }
    guard let address = base.baseAddress else { preconditionFailure("an allocation of at least one byte") }
    do throws(E) {
      return .success(try body(address))
    } catch {
      return .failure(error)
    }
  }
  return try result.get()
}
