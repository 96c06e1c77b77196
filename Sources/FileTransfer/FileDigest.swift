import CHyperBlake2
import HyperCrypto
import HyperEncoding

/// The digest of a file (file-transfer.md 5): BLAKE2b-256 over the BLAKE2b-256 of each mebibyte, so that holes cost
/// next to nothing, and over the size. Of content that comes in messages of the usual size four leaves are hashed at
/// once, where the processor can.
package final class FileDigest {
  private static let zeros = [UInt8](repeating: 0, count: 65_536)
  private static let zeroLeaf: Bytes32 = {
    let hasher = Blake2bHasher()
    for _ in 0..<Limits.leaf / zeros.count { zeros.withUnsafeBytes { hasher.update($0) } }
    return hasher.finalize()
  }()
  package static let hasLanes = hyper_blake2b_has_lanes() != 0
  private static let prefersLanes = hyper_blake2b_prefers_lanes() != 0
  private static let lanes = Int(HYPER_BLAKE2B_LANES)
  private static let piecesOfLeaf = Limits.leaf / Limits.data
  /// Bytes that are hashed at once.
  package static let batch = lanes * Limits.leaf

  private let usesLanes: Bool
  private let root = Blake2bHasher()
  private var leaf = Blake2bHasher()
  private var leafCount = 0
  /// Whole messages from the beginning of a leaf on, not hashed yet: fewer than a batch.
  private var pending: [ArraySlice<UInt8>] = []
  /// Bytes so far.
  package private(set) var count: UInt64 = 0

  /// - Parameter usesLanes: `nil` where they are faster.
  package init(usesLanes: Bool? = nil) {
    Limits.check()
    self.usesLanes = usesLanes ?? FileDigest.prefersLanes
  }

  package func update(_ bytes: UnsafeRawBufferPointer) {
    settle()
    count += UInt64(bytes.count)
    add(bytes)
  }

  /// The same for content that may be kept for a while.
  package func update(_ piece: ArraySlice<UInt8>) {
    guard usesLanes, piece.count == Limits.data, leafCount == 0 else {
      return piece.withUnsafeBytes { update($0) }
    }
    count += UInt64(piece.count)
    pending.append(piece)
    if pending.count == FileDigest.lanes * FileDigest.piecesOfLeaf { addPending() }
  }

  package func update(zeros total: UInt64) {
    settle()
    count += total
    var rest = total
    while rest > 0 {
      if leafCount == 0, rest >= UInt64(Limits.leaf) {
        add(FileDigest.zeroLeaf)
        rest -= UInt64(Limits.leaf)
        continue
      }
      let part = Int(min(rest, UInt64(min(Limits.leaf - leafCount, FileDigest.zeros.count))))
      FileDigest.zeros.withUnsafeBytes { add(UnsafeRawBufferPointer(rebasing: $0[..<part])) }
      rest -= UInt64(part)
    }
  }

  private func add(_ bytes: UnsafeRawBufferPointer) {
    var rest = bytes
    while !rest.isEmpty {
      let part = min(rest.count, Limits.leaf - leafCount)
      leaf.update(UnsafeRawBufferPointer(rebasing: rest[..<part]))
      leafCount += part
      if leafCount == Limits.leaf {
        add(leaf.finalize())
        leaf = Blake2bHasher()
        leafCount = 0
      }
      rest = UnsafeRawBufferPointer(rebasing: rest[part...])
    }
  }

  /// Hashes what waits one after the other: it does not become a batch.
  private func settle() {
    for piece in pending { piece.withUnsafeBytes { add($0) } }
    pending.removeAll(keepingCapacity: true)
  }

  /// A leaf in each lane.
  private func addPending() {
    var state = hyper_blake2b_t()
    hyper_blake2b_init(&state)
    for index in 0..<FileDigest.piecesOfLeaf {
      let isLast = index == FileDigest.piecesOfLeaf - 1
      FileDigest.withPointers((0..<FileDigest.lanes).map { pending[$0 * FileDigest.piecesOfLeaf + index] }[...]) {
        hyper_blake2b_update(&state, $0, Limits.data, isLast ? 1 : 0)
      }
    }
    for lane in 0..<FileDigest.lanes { add(Bytes32(filledBy: { hyper_blake2b_digest(&state, Int32(lane), $0) })) }
    pending.removeAll(keepingCapacity: true)
  }

  private static func withPointers(
    _ pieces: ArraySlice<ArraySlice<UInt8>>, _ found: [UnsafePointer<UInt8>?] = [],
    _ body: ([UnsafePointer<UInt8>?]) -> Void
  ) {
    guard let first = pieces.first else { return body(found) }
    first.withUnsafeBufferPointer { withPointers(pieces.dropFirst(), found + [$0.baseAddress], body) }
  }

  private func add(_ hash: Bytes32) { hash.withUnsafeBytes { root.update($0) } }

  /// The digest; must not be used afterwards.
  package func finalize() -> Bytes32 {
    settle()
    if leafCount > 0 { add(leaf.finalize()) }
    var writer = CompactWriter()
    writer.uint64(count)
    writer.bytes.withUnsafeBytes { root.update($0) }
    return root.finalize()
  }
}
