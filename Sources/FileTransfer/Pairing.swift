import HyperCrypto
import HyperEncoding

/// The proof of both sides of a connection that they have the same code (file-transfer.md 4). Each run is one guess.
/// The receiver confirms first: one that guesses does not learn whether it was right without the sender learning it.
package struct Pairing: Sendable {
  /// What both sides know of the connection that they are on.
  package struct Channel: Sendable {
    let handshakeHash: Bytes64
    let receiver: Bytes32
    let sender: Bytes32

    package init(handshakeHash: Bytes64, receiver: Bytes32, sender: Bytes32) {
      self.handshakeHash = handshakeHash
      self.receiver = receiver
      self.sender = sender
    }
  }

  package struct Confirmations: Sendable {
    package let ofReceiver: Bytes32
    package let ofSender: Bytes32
  }

  private let exchange: CPace
  private let isReceiver: Bool

  package init(code: TransferCode, channel: Channel, isReceiver: Bool) {
    self.isReceiver = isReceiver
    exchange = CPace(
      password: Array(code.text.utf8),
      channel: CPace.joined([Message.magic, channel.receiver.bytes, channel.sender.bytes]),
      session: channel.handshakeHash.bytes)
  }

  package var share: Bytes32 { exchange.share }

  /// What either side has to send. A share that is no element of the group is a violation.
  package func confirmations(with remote: Bytes32) throws(TransferError) -> Confirmations {
    guard let key = exchange.key(with: remote, isInitiator: isReceiver) else {
      throw .violation("a share that is none")
    }
    return Confirmations(
      ofReceiver: Blake2b.hash32(Array("hyperswarm-files receiver".utf8), key: key),
      ofSender: Blake2b.hash32(Array("hyperswarm-files sender".utf8), key: key))
  }
}
