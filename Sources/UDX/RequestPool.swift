import CHyperUDX
import HyperEnvironment

/// Memory for C requests, one block per request with its payload behind it, reused.
///
/// The C engine borrows a request and its buffers until the request's callback; the block goes back to the pool there.
final class RequestPool {
  /// Largest of the three request kinds, rounded up, so that one pool serves all.
  static let headerSize: Int = {
    let sizes = [
      MemoryLayout<udx_socket_send_t>.stride, MemoryLayout<udx_stream_send_t>.stride, Int(udx_stream_write_sizeof(1)),
    ]
    return ((sizes.max() ?? 0) + 15) & ~15
  }()
  static let blockSize = headerSize + Limits.pooledPayload

  private var free: [UnsafeMutableRawPointer] = []

  /// A block with room for `payload` bytes behind the request.
  func take(payload: Int) -> UnsafeMutableRawPointer {
    if payload <= Limits.pooledPayload {
      if let block = free.popLast() { return block }
      return UnsafeMutableRawPointer.allocate(byteCount: RequestPool.blockSize, alignment: 16)
    }
    return UnsafeMutableRawPointer.allocate(byteCount: RequestPool.headerSize + payload, alignment: 16)
  }

  /// `payload` as it was asked for.
  func giveBack(_ block: UnsafeMutableRawPointer, payload: Int) {
    if payload <= Limits.pooledPayload, free.count < Limits.pooledBlocks {
      free.append(block)
    } else {
      block.deallocate()
    }
  }

  deinit { for block in free { block.deallocate() } }
}

/// What a write holds until it is acknowledged; lies behind its C request.
struct WriteContext {
  var buffer: OwnedBuffer?
  var onAcknowledged: ((Bool) -> Void)?
}
