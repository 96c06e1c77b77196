import HyperCrypto
import HyperEncoding

/// A packet of one sender on its way (tunnels.md 4).
struct PacketFrame: Equatable {
  let sender: UInt32
  let content: [UInt8]

  /// First byte of a message: a packet, or the key of those in datagrams. Offers begin with another one.
  private static let packetType: UInt8 = 0
  private static let keyType: UInt8 = 1
  /// First byte of a datagram with a packet.
  private static let sealedType: UInt8 = 2
  /// Bytes of the sender before the content.
  private static let header = 4

  init(sender: UInt32, content: [UInt8]) {
    self.sender = sender
    self.content = content
  }

  // MARK: In messages

  var message: [UInt8] { [PacketFrame.packetType] + bytes }

  /// `nil`: it is none.
  init?(message: [UInt8]) {
    guard message.first == PacketFrame.packetType else { return nil }
    self.init(message[1...])
  }

  static func message(with key: Bytes32) -> [UInt8] { [keyType] + key.bytes }

  static func key(in message: [UInt8]) -> Bytes32? {
    message.first == keyType ? Bytes32(Array(message.dropFirst())) : nil
  }

  private var bytes: [UInt8] { PacketFrame.littleEndian(sender) + content }

  private init?(_ bytes: ArraySlice<UInt8>) {
    guard (PacketFrame.header...PacketFrame.header + TunnelLimits.packet).contains(bytes.count) else { return nil }
    sender = bytes.prefix(PacketFrame.header).reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
    content = Array(bytes.dropFirst(PacketFrame.header))
  }

  // MARK: In datagrams

  /// The keys of datagrams themselves are no secret to those that have seen the handshake, so content has another one.
  func sealed(_ key: Bytes32, from side: Side, number: UInt64) -> [UInt8]? {
    let counter = PacketFrame.littleEndian(number)
    return SecretBox.seal(bytes, nonce: side.nonce(counter[...]), key: key)
      .map { [PacketFrame.sealedType] + counter + $0 }
  }

  init?(sealed datagram: [UInt8], _ key: Bytes32, from side: Side) {
    guard datagram.count > 9, datagram[0] == PacketFrame.sealedType,
      let bytes = SecretBox.open(datagram[9...], nonce: side.nonce(datagram[1..<9]), key: key)
    else { return nil }
    self.init(bytes[...])
  }

  /// The side that a packet comes from.
  enum Side: UInt8 {
    case asking = 0
    case listening = 1

    var other: Side { self == .asking ? .listening : .asking }

    fileprivate func nonce(_ counter: ArraySlice<UInt8>) -> [UInt8] {
      [rawValue] + [UInt8](repeating: 0, count: SecretBox.nonceCount - 9) + counter
    }
  }

  private static func littleEndian(_ value: some FixedWidthInteger) -> [UInt8] {
    withUnsafeBytes(of: value.littleEndian) { Array($0) }
  }
}
