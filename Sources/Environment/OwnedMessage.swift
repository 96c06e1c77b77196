/// A message in memory of its own, with room before and behind it for what is sent with it: it can be encrypted where
/// it lies. Filled once, and handed over.
package final class OwnedMessage {
  package let buffer: OwnedBuffer
  /// Bytes before the message.
  package let offset: Int
  /// Bytes of the message.
  package let count: Int

  /// - Parameters:
  ///   - capacity: bytes that the message may have at most.
  ///   - before: bytes of room before it.
  ///   - behind: bytes of room behind it, whatever its length.
  ///   - fill: what it appends is the message.
  package init(capacity: Int, before: Int, behind: Int, _ fill: (inout OutputRawSpan) -> Void) {
    precondition(capacity >= 0, "a message has no negative length")
    buffer = OwnedBuffer(capacity: before + capacity + behind)
    offset = before
    let place = UnsafeMutableRawBufferPointer(start: buffer.base + before, count: capacity)
    var span = OutputRawSpan(buffer: place, initializedCount: 0)
    fill(&span)
    count = span.finalize(for: place)
  }

  /// Valid while there is a reference to the message, and it has not been handed over.
  package var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: buffer.base + offset, count: count) }
}

extension OutputRawSpan {
  /// Appends all of them; there has to be room.
  package mutating func append(copying bytes: some Collection<UInt8>) {
    withUnsafeMutableBytes { memory, count in
      UnsafeMutableRawBufferPointer(rebasing: memory[count...]).copyBytes(from: bytes)
      count += bytes.count
    }
  }
}
