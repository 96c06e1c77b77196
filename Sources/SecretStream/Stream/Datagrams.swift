import CHyperSodium
import HyperCrypto
import HyperEncoding

/// Unordered encrypted messages (secret-stream.md 11): an 8-byte counter, then an XSalsa20-Poly1305 box.
struct DatagramCipher {
  private let sendKey: Bytes32
  private let receiveKey: Bytes32
  private let firstCounter: UInt64
  private var counter: UInt64
  private var window = ReplayWindow()

  enum Received {
    case message(Int)
    case forged
    case replayed
  }

  /// `start` is random; the first datagram carries the number after it. `next` sets the counter elsewhere, for tests.
  init(keys: SessionKeys, start: UInt64, next: UInt64? = nil) {
    sendKey = keys.datagramSendKey
    receiveKey = keys.datagramReceiveKey
    firstCounter = start
    counter = next ?? start
  }

  /// `nil` when all 2^64 counters are used up.
  mutating func seal(_ message: [UInt8]) -> [UInt8]? {
    counter &+= 1
    guard counter != firstCounter else { return nil }
    var out = [UInt8](repeating: 0, count: message.count + Limits.Datagram.overhead)
    let counter = counter
    out.withUnsafeMutableBytes { bytes in
      bytes.storeBytes(of: counter.littleEndian, as: UInt64.self)
      guard let base = bytes.baseAddress else { return }
      Self.withNonce(counter) { nonce in
        sendKey.withUnsafePointer { key in
          let box = (base + Limits.Datagram.counter).assumingMemoryBound(to: UInt8.self)
          Sodium.require(crypto_secretbox_easy(box, message, UInt64(message.count), nonce, key), "secretbox")
        }
      }
    }
    return out
  }

  /// Decrypts into `target`, which has room for `bytes.count - 24`.
  mutating func open(_ bytes: UnsafeRawBufferPointer, to target: UnsafeMutableRawPointer) -> Received {
    guard bytes.count >= Limits.Datagram.overhead, let base = bytes.baseAddress else { return .forged }
    let number = UInt64(littleEndian: base.loadUnaligned(as: UInt64.self))
    let status = Self.withNonce(number) { nonce in
      receiveKey.withUnsafePointer { key in
        crypto_secretbox_open_easy(
          target.assumingMemoryBound(to: UInt8.self),
          (base + Limits.Datagram.counter).assumingMemoryBound(to: UInt8.self),
          UInt64(bytes.count - Limits.Datagram.counter), nonce, key)
      }
    }
    guard status == 0 else { return .forged }
    guard window.accept(number) else { return .replayed }
    return .message(bytes.count - Limits.Datagram.overhead)
  }

  private static func withNonce<R>(_ counter: UInt64, _ body: (UnsafePointer<UInt8>) -> R) -> R {
    let words = (counter.littleEndian, UInt64(0), UInt64(0))
    return withUnsafePointer(to: words) { body(UnsafeRawPointer($0).assumingMemoryBound(to: UInt8.self)) }
  }
}

/// Which counters of authentic datagrams have been seen: a sliding window anchored at the first one, on a number circle
/// of 64 bits (the counter starts at random and wraps).
struct ReplayWindow {
  private var highest: UInt64?
  // Bit n of the ring stands for counter n modulo the window.
  private var seen = [UInt64](repeating: 0, count: Limits.Datagram.replayWindow / 64)

  /// True once for each counter that is not too old.
  mutating func accept(_ counter: UInt64) -> Bool {
    guard let top = highest else {
      highest = counter
      mark(counter)
      return true
    }
    let ahead = Int64(bitPattern: counter &- top)
    if ahead > 0 {
      if ahead >= Int64(Limits.Datagram.replayWindow) {
        for index in seen.indices { seen[index] = 0 }
      } else {
        var position = top &+ 1
        while position != counter {
          clear(position)
          position &+= 1
        }
      }
      highest = counter
      mark(counter)
      return true
    }
    // Two's complement: -2^63 has no positive counterpart, but is far too old as well.
    guard ahead > -Int64(Limits.Datagram.replayWindow), !isMarked(counter) else { return false }
    mark(counter)
    return true
  }

  private func slot(_ counter: UInt64) -> (Int, UInt64) {
    let bit = Int(counter % UInt64(Limits.Datagram.replayWindow))
    return (bit / 64, 1 << UInt64(bit % 64))
  }

  private func isMarked(_ counter: UInt64) -> Bool {
    let (word, mask) = slot(counter)
    return seen[word] & mask != 0
  }

  private mutating func mark(_ counter: UInt64) {
    let (word, mask) = slot(counter)
    seen[word] |= mask
  }

  private mutating func clear(_ counter: UInt64) {
    let (word, mask) = slot(counter)
    seen[word] &= ~mask
  }
}
