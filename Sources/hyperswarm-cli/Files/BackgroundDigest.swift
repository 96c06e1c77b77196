import Dispatch
import HyperEncoding
import HyperFileTransfer

/// The digest of a file while it is read or written: a large one is hashed beside, so that disk, hash and network work
/// at the same time. Of content at most two batches are held. Used by one task at a time.
final class BackgroundDigest: @unchecked Sendable {
  private let digest = FileDigest()
  /// `nil`: the file is too small for it.
  private let queue: DispatchQueue?
  private let room = DispatchSemaphore(value: 1)
  private var collected: [ArraySlice<UInt8>] = []
  private var collectedBytes = 0
  /// Bytes so far.
  private(set) var count: UInt64 = 0

  init(for size: UInt64) {
    queue = size < UInt64(FileDigest.batch) ? nil : DispatchQueue(label: "hyperswarm.digest")
  }

  func update(_ piece: ArraySlice<UInt8>) {
    count += UInt64(piece.count)
    guard queue != nil else { return digest.update(piece) }
    collected.append(piece)
    collectedBytes += piece.count
    if collectedBytes >= FileDigest.batch { pass() }
  }

  func update(_ bytes: UnsafeRawBufferPointer) {
    count += UInt64(bytes.count)
    settle()
    digest.update(bytes)
  }

  func update(zeros total: UInt64) {
    count += total
    settle()
    digest.update(zeros: total)
  }

  func finalize() -> Bytes32 {
    settle()
    return digest.finalize()
  }

  /// Hands a batch over when the one before is done.
  private func pass() {
    room.wait()
    let pieces = collected
    (collected, collectedBytes) = ([], 0)
    queue?.async { [self] in
      for piece in pieces { digest.update(piece) }
      room.signal()
    }
  }

  /// Returns when everything so far is hashed.
  private func settle() {
    if !collected.isEmpty { pass() }
    queue?.sync {}
  }
}
