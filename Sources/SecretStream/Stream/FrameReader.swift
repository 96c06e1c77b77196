/// Cuts the byte stream into frames (secret-stream.md 7).
///
/// A frame that lies whole in the delivered bytes is lent out from there. Otherwise it is collected in a buffer that
/// grows with what has arrived, never with what a length prefix promises. Lengths are checked as soon as the prefix is
/// there.
final class FrameReader {
  struct Frame {
    var body: UnsafeRawBufferPointer
    /// The same bytes, where they may be overwritten.
    var writable: UnsafeMutableRawPointer?
  }

  /// A length prefix outside the allowed range.
  struct BadLength: Error {
    var length: Int
  }

  @exclusivity(unchecked) private var storage: UnsafeMutableRawPointer?
  @exclusivity(unchecked) private var capacity = 0
  @exclusivity(unchecked) private var head = 0
  @exclusivity(unchecked) private var tail = 0
  @exclusivity(unchecked) private var chunk = UnsafeRawBufferPointer(start: nil, count: 0)
  @exclusivity(unchecked) private var offset = 0
  @exclusivity(unchecked) private var late: [UInt8] = []
  @exclusivity(unchecked) private var isReading = false

  deinit { storage?.deallocate() }

  /// Bytes that are kept and not yet handed out.
  var bufferedCount: Int { tail - head + late.count }
  /// The last `next` has held a frame back.
  @exclusivity(unchecked) private(set) var holdsFrame = false
  var bufferCapacity: Int { capacity }
  /// Bytes of the frame that is being collected, with its prefix; `nil` before the prefix is there.
  var frameCount: Int? {
    guard tail - head >= Limits.Stream.prefixCount, let storage else { return nil }
    return Limits.Stream.prefixCount + Self.length(UnsafeRawPointer(storage + head))
  }

  /// Room for so many bytes, kept ones included, outside of a pass.
  func reserve(_ count: Int) {
    if count > capacity, !isReading { grow(to: count) }
  }

  /// What is kept, valid until the next call; `nil` while a pass runs.
  var kept: UnsafeRawBufferPointer? {
    isReading || !late.isEmpty
      ? nil : UnsafeRawBufferPointer(start: storage.map { UnsafeRawPointer($0 + head) }, count: tail - head)
  }

  /// Starts a pass over kept bytes, then `bytes`, which are borrowed until `finish`.
  func begin(_ bytes: UnsafeRawBufferPointer) {
    holdsFrame = false
    chunk = bytes
    offset = 0
    isReading = true
  }

  /// The next whole frame, valid until the next call. Frames of `heldFrom` bytes or more stay where they are.
  @inline(__always)
  func next(in bounds: ClosedRange<Int>, heldFrom: Int = .max) throws(BadLength) -> Frame? {
    if head == tail {
      head = 0
      tail = 0
      let left = chunk.count &- offset
      if left >= Limits.Stream.prefixCount {
        let length = Self.length(chunk.baseAddress.unsafelyUnwrapped + offset)
        guard bounds.contains(length) else { throw BadLength(length: length) }
        guard length < heldFrom else {
          holdsFrame = true
          return nil
        }
        if left &- Limits.Stream.prefixCount >= length {
          let start = offset &+ Limits.Stream.prefixCount
          offset = start &+ length
          return Frame(body: UnsafeRawBufferPointer(rebasing: chunk[start..<offset]), writable: nil)
        }
      }
    }
    return try nextCollected(in: bounds, heldFrom: heldFrom)
  }

  private func nextCollected(in bounds: ClosedRange<Int>, heldFrom: Int) throws(BadLength) -> Frame? {
    guard collect(Limits.Stream.prefixCount), let base = storage else { return nil }
    let length = Self.length(UnsafeRawPointer(base + head))
    guard bounds.contains(length) else { throw BadLength(length: length) }
    guard length < heldFrom else {
      holdsFrame = true
      return nil
    }
    guard collect(Limits.Stream.prefixCount + length), let moved = storage else { return nil }
    let body = moved + head + Limits.Stream.prefixCount
    head += Limits.Stream.prefixCount + length
    return Frame(body: UnsafeRawBufferPointer(start: body, count: length), writable: body)
  }

  /// Ends the pass: keeps what is left of the borrowed bytes and what arrived meanwhile. Returns whether the latter was
  /// anything, so that another pass is needed.
  func finish() -> Bool {
    if offset < chunk.count { store(UnsafeRawBufferPointer(rebasing: chunk[offset...]), expecting: 0) }
    chunk = UnsafeRawBufferPointer(start: nil, count: 0)
    offset = 0
    isReading = false
    guard !late.isEmpty else { return false }
    let bytes = late
    late = []
    bytes.withUnsafeBytes { store($0, expecting: 0) }
    return true
  }

  /// Keeps bytes for later. False when that would pass `Limits.Stream.maximumUnread`.
  func append(_ bytes: UnsafeRawBufferPointer) -> Bool {
    guard bufferedCount + bytes.count <= Limits.Stream.maximumUnread else { return false }
    if isReading {
      // A frame may be lent out from the buffer, so that must not move.
      late.append(contentsOf: bytes)
    } else {
      store(bytes, expecting: 0)
    }
    return true
  }

  /// Gives memory back: all of an empty buffer above `keeping` bytes.
  func release(keeping: Int) {
    guard head == tail, !isReading, capacity > keeping else { return }
    storage?.deallocate()
    storage = nil
    capacity = 0
    head = 0
    tail = 0
  }

  func removeAll() {
    head = 0
    tail = 0
    late = []
    release(keeping: 0)
  }

  @inline(__always)
  private static func length(_ prefix: UnsafeRawPointer) -> Int {
    Int(prefix.load(as: UInt8.self)) | Int(prefix.load(fromByteOffset: 1, as: UInt8.self)) << 8
      | Int(prefix.load(fromByteOffset: 2, as: UInt8.self)) << 16
  }

  /// Makes `count` bytes contiguous at `head`, as far as the borrowed bytes allow.
  private func collect(_ count: Int) -> Bool {
    let missing = count - (tail - head)
    guard missing > 0 else { return true }
    let taken = min(missing, chunk.count - offset)
    if taken > 0 {
      store(UnsafeRawBufferPointer(rebasing: chunk[offset..<offset + taken]), expecting: count)
      offset += taken
    }
    return taken == missing
  }

  private func store(_ bytes: UnsafeRawBufferPointer, expecting: Int) {
    guard let source = bytes.baseAddress, !bytes.isEmpty else { return }
    let kept = tail - head
    let needed = kept + bytes.count
    if tail + bytes.count > capacity {
      if needed > capacity {
        // At most twice what is there, and not beyond what the frame can use.
        let wanted = max(Limits.Stream.firstBuffer, needed, expecting > 0 ? min(expecting, 2 * capacity) : 2 * capacity)
        grow(to: wanted)
      } else {
        if let storage, kept > 0 { storage.copyMemory(from: storage + head, byteCount: kept) }
        head = 0
        tail = kept
      }
    }
    if let storage { (storage + tail).copyMemory(from: source, byteCount: bytes.count) }
    tail += bytes.count
  }

  private func grow(to count: Int) {
    let larger = UnsafeMutableRawPointer.allocate(byteCount: count, alignment: 16)
    let kept = tail - head
    if let storage, kept > 0 { larger.copyMemory(from: storage + head, byteCount: kept) }
    storage?.deallocate()
    storage = larger
    capacity = count
    head = 0
    tail = kept
  }
}
