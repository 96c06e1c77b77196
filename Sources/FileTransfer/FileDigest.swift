import HyperCrypto
import HyperEncoding

/// The digest of a file (file-transfer.md 5): BLAKE2b-256 over the BLAKE2b-256 of each mebibyte, so that holes cost
/// next to nothing, and over the size.
package final class FileDigest {
  private static let zeros = [UInt8](repeating: 0, count: 65_536)
  private static let zeroLeaf: Bytes32 = {
    let hasher = Blake2bHasher()
    for _ in 0..<Limits.leaf / zeros.count { zeros.withUnsafeBytes { hasher.update($0) } }
    return hasher.finalize()
  }()

  private let root = Blake2bHasher()
  private var leaf = Blake2bHasher()
  private var leafCount = 0
  /// Bytes so far.
  package private(set) var count: UInt64 = 0

  package init() { Limits.check() }

  package func update(_ bytes: UnsafeRawBufferPointer) {
    var rest = bytes
    while !rest.isEmpty {
      let part = min(rest.count, Limits.leaf - leafCount)
      leaf.update(UnsafeRawBufferPointer(rebasing: rest[..<part]))
      advance(part)
      rest = UnsafeRawBufferPointer(rebasing: rest[part...])
    }
  }

  package func update(zeros total: UInt64) {
    var rest = total
    while rest > 0 {
      if leafCount == 0, rest >= UInt64(Limits.leaf) {
        add(FileDigest.zeroLeaf)
        count += UInt64(Limits.leaf)
        rest -= UInt64(Limits.leaf)
        continue
      }
      let part = Int(min(rest, UInt64(min(Limits.leaf - leafCount, FileDigest.zeros.count))))
      FileDigest.zeros.withUnsafeBytes { leaf.update(UnsafeRawBufferPointer(rebasing: $0[..<part])) }
      advance(part)
      rest -= UInt64(part)
    }
  }

  private func advance(_ part: Int) {
    count += UInt64(part)
    leafCount += part
    guard leafCount == Limits.leaf else { return }
    add(leaf.finalize())
    leaf = Blake2bHasher()
    leafCount = 0
  }

  private func add(_ hash: Bytes32) { hash.withUnsafeBytes { root.update($0) } }

  /// The digest; must not be used afterwards.
  package func finalize() -> Bytes32 {
    if leafCount > 0 { add(leaf.finalize()) }
    var writer = CompactWriter()
    writer.uint64(count)
    writer.bytes.withUnsafeBytes { root.update($0) }
    return root.finalize()
  }
}
