import HyperCrypto
import HyperEncoding
import HyperEnvironment

/// The first flight of a stream whose keys exist: the header, and the empty message that proves this side. A layer that
/// tries a path sends it before the stream is started there, and tries again elsewhere with other keys if the peer's
/// header does not come back.
package struct StreamOpening {
  /// What goes to the transport first.
  package let bytes: [UInt8]
  let header: [UInt8]
  let confirms: Bool

  /// The peer's first flight has at least this many bytes.
  package static let minimumAnswer = Limits.Stream.prefixCount + Limits.Stream.headerBody

  package init(of stream: EncryptedStream, keys: SessionKeys) {
    header = stream.environment.random(count: Limits.Stream.streamHeader)
    confirms = stream.sendsConfirmation ?? keys.isInitiator
    let body = keys.streamID(ofInitiator: keys.isInitiator).bytes + header
    var bytes = (0..<Limits.Stream.prefixCount).map { UInt8(truncatingIfNeeded: body.count >> (8 * $0)) } + body
    if confirms { bytes += Self.confirmation(FrameCipher(key: keys.sendKeyBytes, header: header)) }
    self.bytes = bytes
  }

  /// Seals the empty message that follows the header.
  private static func confirmation(_ cipher: FrameCipher) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: Limits.Stream.frameOverhead) { buffer, count in
      count = Limits.Stream.frameOverhead
      guard let target = buffer.baseAddress else { return }
      cipher.seal(UnsafeRawBufferPointer(start: nil, count: 0), tag: .message, to: target)
    }
  }

  /// The cipher in the state after the flight.
  func makeSealer(_ keys: SessionKeys) -> FrameCipher {
    let cipher = FrameCipher(key: keys.sendKeyBytes, header: header)
    if confirms { _ = Self.confirmation(cipher) }
    return cipher
  }
}
