import HyperEncoding

/// Reads one frame item by item, so that a frame of millions of messages needs no more memory than itself.
struct FrameCursor {
  /// One message of a channel of the peer, or of the control session 0.
  struct Item {
    var channel: UInt64
    var type: UInt64
    var body: [UInt8]
  }

  private enum Stage {
    case begun
    /// In a batch, items of this session.
    case batch(UInt64)
    case done
  }

  private var frame: [UInt8] = []
  private var offset = 0
  private var stage = Stage.done
  /// An item of a batch has been read, and more follow.
  private(set) var isInsideBatch = false

  var isDone: Bool {
    if case .done = stage { return true }
    return false
  }

  /// Empty frames are ignored: streams keep themselves alive with them.
  mutating func start(_ frame: [UInt8]) {
    self.frame = frame
    offset = 0
    stage = frame.isEmpty ? .done : .begun
    isInsideBatch = false
  }

  mutating func stop() { start([]) }

  /// The next item, `nil` at the end of the frame.
  mutating func next() throws(CompactError) -> Item? {
    if case .begun = stage {
      let channel = try uint()
      let type = try uint()
      guard channel == Control.session, type == Control.batch else {
        let item = Item(channel: channel, type: type, body: Array(frame[offset...]))
        stop()
        return item
      }
      stage = .batch(try uint())
    }
    guard case .batch(var channel) = stage else { return nil }
    while offset < frame.count {
      let count = try uint()
      guard count > 0 else {
        channel = try uint()
        stage = .batch(channel)
        continue
      }
      return try item(of: channel, count: count)
    }
    stop()
    return nil
  }

  private mutating func item(of channel: UInt64, count: UInt64) throws(CompactError) -> Item {
    guard count <= UInt64(frame.count - offset) else { throw .outOfBounds }
    let end = offset + Int(count)
    let type = try uint()
    // The type of an item is part of it; there is no batch inside a batch.
    guard offset <= end, channel != Control.session || type != Control.batch else { throw .invalidValue }
    let item = Item(channel: channel, type: type, body: Array(frame[offset..<end]))
    offset = end
    if offset == frame.count { stop() } else { isInsideBatch = true }
    return item
  }

  private mutating func uint() throws(CompactError) -> UInt64 {
    let (value, count) = try frame.withReader(from: offset) { reader throws(CompactError) in
      (try reader.uint(), reader.offset)
    }
    offset += count
    return value
  }
}

/// The session that channels are opened and closed on, and its messages (secret-stream.md Annex A).
enum Control {
  static let session: UInt64 = 0
  static let batch: UInt64 = 0
  static let open: UInt64 = 1
  static let reject: UInt64 = 2
  static let close: UInt64 = 3
}

extension [UInt8] {
  func withReader<Value>(
    from offset: Int = 0, _ read: (inout CompactReader) throws(CompactError) -> Value
  ) throws(CompactError) -> Value {
    let result: Result<Value, CompactError> = withUnsafeBytes { bytes in
      var reader = CompactReader(UnsafeRawBufferPointer(rebasing: bytes[offset...]))
      do throws(CompactError) { return .success(try read(&reader)) } catch { return .failure(error) }
    }
    return try result.get()
  }
}
