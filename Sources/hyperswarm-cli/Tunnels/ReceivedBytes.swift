/// Bytes of a channel that were not read yet, in pieces. Small pieces are put together: what waits costs the memory of
/// its bytes, however the peer cuts them.
struct ReceivedBytes {
  private var pieces: [[UInt8]] = []
  private var head = 0

  var isEmpty: Bool { head == pieces.count }
  /// Pieces that wait.
  var count: Int { pieces.count - head }

  mutating func append(_ bytes: [UInt8]) {
    if !isEmpty, pieces[pieces.count - 1].count + bytes.count <= TunnelLimits.piece {
      pieces[pieces.count - 1] += bytes
    } else {
      pieces.append(bytes)
    }
  }

  mutating func next() -> [UInt8]? {
    guard !isEmpty else { return nil }
    let bytes = pieces[head]
    pieces[head] = []
    head += 1
    if isEmpty { (pieces, head) = ([], 0) }
    return bytes
  }
}
