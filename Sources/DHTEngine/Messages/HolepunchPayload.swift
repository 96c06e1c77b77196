import HyperCrypto
import HyperEncoding

/// What client and server know of their NATs, sealed inside PEER_HOLEPUNCH (hyperdht.md 2.4).
package struct HolepunchPayload: Hashable, Sendable {
  package var error: PayloadError
  /// The sender's NAT.
  package var firewall: Firewall
  package var round: UInt64
  package var connected: Bool
  package var punching: Bool
  /// The sender's external addresses by its own analysis; a random sender gives one with port 0.
  package var addresses: [Endpoint]?
  /// "I have just opened a low-TTL session towards this address of yours."
  package var remoteAddress: Endpoint?
  /// Proof-of-address token for the receiver to echo.
  package var token: Bytes32?
  /// The echo.
  package var remoteToken: Bytes32?

  package init(
    error: PayloadError = .none, firewall: Firewall = .unknown, round: UInt64 = 0, connected: Bool = false,
    punching: Bool = false, addresses: [Endpoint]? = nil, remoteAddress: Endpoint? = nil, token: Bytes32? = nil,
    remoteToken: Bytes32? = nil
  ) {
    self.error = error
    self.firewall = firewall
    self.round = round
    self.connected = connected
    self.punching = punching
    self.addresses = addresses
    self.remoteAddress = remoteAddress
    self.token = token
    self.remoteToken = remoteToken
  }

  private enum Flag {
    // These two have no bytes of their own.
    static let connected: UInt64 = 0x01
    static let punching: UInt64 = 0x02
    static let addresses: UInt64 = 0x04
    static let remoteAddress: UInt64 = 0x08
    static let token: UInt64 = 0x10
    static let remoteToken: UInt64 = 0x20
  }
}

extension HolepunchPayload: CompactEncodable, CompactDecodable {
  package func encode(into writer: inout CompactWriter) {
    var flags: UInt64 = 0
    if connected { flags |= Flag.connected }
    if punching { flags |= Flag.punching }
    if addresses != nil { flags |= Flag.addresses }
    if remoteAddress != nil { flags |= Flag.remoteAddress }
    if token != nil { flags |= Flag.token }
    if remoteToken != nil { flags |= Flag.remoteToken }
    writer.uint(flags)
    writer.uint(error.rawValue)
    writer.uint(firewall.rawValue)
    writer.uint(round)
    if let addresses { writer.array(addresses) }
    remoteAddress?.encode(into: &writer)
    if let token { writer.fixed32(token) }
    if let remoteToken { writer.fixed32(remoteToken) }
  }

  package init(from reader: inout CompactReader) throws(CompactError) {
    let flags = try reader.uint()
    error = PayloadError(rawValue: try reader.uint())
    firewall = Firewall(rawValue: try reader.uint())
    round = try reader.uint()
    connected = flags & Flag.connected != 0
    punching = flags & Flag.punching != 0
    addresses = flags & Flag.addresses == 0 ? nil : try reader.array(of: Endpoint.self)
    remoteAddress = flags & Flag.remoteAddress == 0 ? nil : try Endpoint(from: &reader)
    token = flags & Flag.token == 0 ? nil : try reader.fixed32()
    remoteToken = flags & Flag.remoteToken == 0 ? nil : try reader.fixed32()
  }
}

/// Seals and opens hole-punch payloads of one connection, and makes its host tokens (hyperdht.md 2.4, 4.5, 8.3).
package struct HolepunchSealer: Sendable {
  /// Nonce and MAC in front of the ciphertext.
  package static let overhead = SecretBox.nonceCount + SecretBox.macCount

  /// Shared by both sides, from the Noise handshake hash.
  package let secret: Bytes32
  /// Random, per side and session; never leaves this process.
  package let localSecret: Bytes32

  package init(secret: Bytes32, localSecret: Bytes32) {
    self.secret = secret
    self.localSecret = localSecret
  }

  package init(handshakeHash: Bytes64, localSecret: Bytes32) {
    self.init(secret: HolepunchSealer.secret(handshakeHash: handshakeHash), localSecret: localSecret)
  }

  /// The hole-punch secret: `H(NS.PEER_HOLEPUNCH; key = handshake hash)`.
  package static func secret(handshakeHash: Bytes64) -> Bytes32 {
    Blake2b.hash32(Namespaces.peerHolepunch.bytes, key: handshakeHash.bytes)
  }

  /// `nonce` is 24 fresh random bytes; `nil` for any other size.
  package func seal(_ payload: HolepunchPayload, nonce: [UInt8]) -> [UInt8]? {
    SecretBox.seal(payload.encoded, nonce: nonce, key: secret).map { nonce + $0 }
  }

  /// `nil` when the MAC does not fit or the plaintext does not decode.
  package func open(_ sealed: [UInt8]) -> HolepunchPayload? {
    guard sealed.count > HolepunchSealer.overhead,
      let plain = SecretBox.open(
        sealed[SecretBox.nonceCount...], nonce: sealed[..<SecretBox.nonceCount], key: secret)
    else { return nil }
    return try? CompactReader.decode(HolepunchPayload.self, from: plain)
  }

  /// The token that a peer can only echo if it receives at `host`.
  package func token(for host: IPv4Address) -> Bytes32 {
    Blake2b.hash32(Array(host.description.utf8), key: localSecret.bytes)
  }
}
