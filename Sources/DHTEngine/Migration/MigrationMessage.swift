import HyperCrypto
import HyperEncoding

/// A datagram that moves a living stream to another path (hyperdht-extensions.md 2).
///
/// All kinds have one size, so that no answer is longer than what it answers. The first byte tells it from the DHT's
/// messages (3, 19), packets of streams (255) and hole punching probes (one byte).
struct MigrationMessage: Hashable {
  enum Kind: UInt8, CaseIterable {
    /// "I am here now": from a new path, or to learn whether the old one works.
    case move = 1
    /// "Show that you receive there."
    case challenge = 2
    /// The proof.
    case response = 3
    /// "My packets go there now."
    case moved = 4
  }

  var kind: Kind
  /// The receiver's transport stream.
  var streamID: UInt32
  /// Of the MOVE that this belongs to: grows with each one of its sender.
  var counter: UInt64
  /// Random, of the sender of MOVE.
  var moveNonce: UInt64
  /// Random, of the sender of CHALLENGE; 0 in MOVE.
  var challengeNonce: UInt64 = 0

  static let firstByte: UInt8 = 0xf5
  static let version: UInt8 = 1
  private static let body = 32
  static let size = body + 32

  /// Any version: a datagram of ours, not one for other protocols on the socket.
  static func isMigration(_ bytes: UnsafeRawBufferPointer) -> Bool {
    bytes.count == size && bytes[0] == firstByte
  }

  /// The receiver's stream, before anything is verified.
  static func streamID(of bytes: UnsafeRawBufferPointer) -> UInt32? {
    guard isMigration(bytes), bytes[1] == version else { return nil }
    return UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 4, as: UInt32.self))
  }

  func sealed(_ key: Bytes32) -> [UInt8] {
    var writer = CompactWriter()
    writer.uint8(Self.firstByte)
    writer.uint8(Self.version)
    writer.uint8(kind.rawValue)
    writer.uint8(0)
    writer.uint32(streamID)
    writer.uint64(counter)
    writer.uint64(moveNonce)
    writer.uint64(challengeNonce)
    let body = writer.bytes
    return body + Blake2b.hash32(body, key: key.bytes).bytes
  }

  /// `nil` unless every byte is as the holder of `key` has made it.
  init?(_ bytes: UnsafeRawBufferPointer, key: Bytes32) {
    guard Self.streamID(of: bytes) != nil, let kind = Kind(rawValue: bytes[2]), bytes[3] == 0,
      let mac = Bytes32(UnsafeRawBufferPointer(rebasing: bytes[Self.body...])),
      constantTimeEqual(mac, Blake2b.hash32(Array(bytes[..<Self.body]), key: key.bytes))
    else { return nil }
    func number<T: FixedWidthInteger>(at offset: Int, _ type: T.Type) -> T {
      T(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: type))
    }
    self.init(
      kind: kind, streamID: number(at: 4, UInt32.self), counter: number(at: 8, UInt64.self),
      moveNonce: number(at: 16, UInt64.self), challengeNonce: number(at: 24, UInt64.self))
  }

  init(kind: Kind, streamID: UInt32, counter: UInt64, moveNonce: UInt64, challengeNonce: UInt64 = 0) {
    self.kind = kind
    self.streamID = streamID
    self.counter = counter
    self.moveNonce = moveNonce
    self.challengeNonce = challengeNonce
  }
}
