import HyperEncoding

/// The plaintext inside the two Noise messages of a peer handshake (hyperdht.md 2.2).
package struct NoisePayload: Hashable, Sendable {
  /// The only version there is. A payload of another version decodes to that version and defaults.
  package static let currentVersion: UInt64 = 1

  package var version: UInt64
  package var error: PayloadError
  package var firewall: Firewall
  package var holepunch: HolepunchInfo?
  package var addresses4: [Endpoint]
  package var addresses6: [IPv6Endpoint]
  package var udx: UDXInfo?
  package var secretStream: SecretStreamInfo?
  package var relayThrough: RelayThroughInfo?
  /// `nil` and empty differ on the wire.
  package var relayAddresses: [Endpoint]?
  /// Ours: deployed peers neither send nor read it.
  package var migration: MigrationInfo?

  package init(
    version: UInt64 = NoisePayload.currentVersion, error: PayloadError = .none, firewall: Firewall = .unknown,
    holepunch: HolepunchInfo? = nil, addresses4: [Endpoint] = [], addresses6: [IPv6Endpoint] = [], udx: UDXInfo? = nil,
    secretStream: SecretStreamInfo? = nil, relayThrough: RelayThroughInfo? = nil, relayAddresses: [Endpoint]? = nil,
    migration: MigrationInfo? = nil
  ) {
    self.version = version
    self.error = error
    self.firewall = firewall
    self.holepunch = holepunch
    self.addresses4 = addresses4
    self.addresses6 = addresses6
    self.udx = udx
    self.secretStream = secretStream
    self.relayThrough = relayThrough
    self.relayAddresses = relayAddresses
    self.migration = migration
  }

  /// A relay of a server, and the server's address as that relay sees it.
  package struct Relay: Hashable, Sendable {
    package var relayAddress: Endpoint
    package var peerAddress: Endpoint

    package init(relayAddress: Endpoint, peerAddress: Endpoint) {
      self.relayAddress = relayAddress
      self.peerAddress = peerAddress
    }
  }

  /// How to reach the server for hole punching.
  package struct HolepunchInfo: Hashable, Sendable {
    /// Session id, a small integer.
    package var id: UInt64
    package var relays: [Relay]

    package init(id: UInt64, relays: [Relay]) {
      self.id = id
      self.relays = relays
    }
  }

  package struct UDXInfo: Hashable, Sendable {
    /// Not checked by anybody.
    package var version: UInt64
    package var reusableSocket: Bool
    /// The sender's local stream id; 0 when it made no stream.
    package var id: UInt32
    /// Always 0 and ignored.
    package var seq: UInt64

    package init(version: UInt64 = 1, reusableSocket: Bool = false, id: UInt32, seq: UInt64 = 0) {
      self.version = version
      self.reusableSocket = reusableSocket
      self.id = id
      self.seq = seq
    }
  }

  package struct SecretStreamInfo: Hashable, Sendable {
    package var version: UInt64

    package init(version: UInt64 = 1) { self.version = version }
  }

  /// The blind relay that the sender wants to use.
  package struct RelayThroughInfo: Hashable, Sendable {
    package var version: UInt64
    package var publicKey: Bytes32
    package var token: Bytes32

    package init(version: UInt64 = 1, publicKey: Bytes32, token: Bytes32) {
      self.version = version
      self.publicKey = publicKey
      self.token = token
    }
  }

  /// The sender can move a living stream to another path (hyperdht-extensions.md 1).
  package struct MigrationInfo: Hashable, Sendable {
    package static let currentVersion: UInt64 = 1
    /// The receiver's stream that this handshake finds a new path for; no new stream is made.
    package var resumedStream: UInt32?

    package init(resumedStream: UInt32? = nil) { self.resumedStream = resumedStream }
  }

  private enum Flag {
    static let holepunch: UInt64 = 0x01
    static let addresses4: UInt64 = 0x02
    static let addresses6: UInt64 = 0x04
    static let udx: UInt64 = 0x08
    static let secretStream: UInt64 = 0x10
    static let relayThrough: UInt64 = 0x20
    static let relayAddresses: UInt64 = 0x40
    /// Far from the bits that upstream takes next. The field is the last one, behind what these may bring.
    static let migration: UInt64 = 0x8000
    /// Fields of unknown length, before ours.
    static let unknown: UInt64 = ~(0x7f | migration)
  }
}

extension NoisePayload: CompactEncodable, CompactDecodable {
  package func encode(into writer: inout CompactWriter) {
    var flags: UInt64 = 0
    if holepunch != nil { flags |= Flag.holepunch }
    if !addresses4.isEmpty { flags |= Flag.addresses4 }
    if !addresses6.isEmpty { flags |= Flag.addresses6 }
    if udx != nil { flags |= Flag.udx }
    if secretStream != nil { flags |= Flag.secretStream }
    if relayThrough != nil { flags |= Flag.relayThrough }
    if relayAddresses != nil { flags |= Flag.relayAddresses }
    if migration != nil { flags |= Flag.migration }
    writer.uint(version)
    writer.uint(flags)
    writer.uint(error.rawValue)
    writer.uint(firewall.rawValue)
    holepunch?.encode(into: &writer)
    if !addresses4.isEmpty { writer.array(addresses4) }
    if !addresses6.isEmpty { writer.array(addresses6) }
    udx?.encode(into: &writer)
    if let secretStream { writer.uint(secretStream.version) }
    relayThrough?.encode(into: &writer)
    if let relayAddresses { writer.array(relayAddresses) }
    migration?.encode(into: &writer)
  }

  package init(from reader: inout CompactReader) throws(CompactError) {
    self.init(version: try reader.uint())
    guard version == NoisePayload.currentVersion else { return }
    let flags = try reader.uint()
    error = PayloadError(rawValue: try reader.uint())
    firewall = Firewall(rawValue: try reader.uint())
    if flags & Flag.holepunch != 0 { holepunch = try HolepunchInfo(from: &reader) }
    if flags & Flag.addresses4 != 0 { addresses4 = try reader.array() }
    if flags & Flag.addresses6 != 0 { addresses6 = try reader.array() }
    if flags & Flag.udx != 0 { udx = try UDXInfo(from: &reader) }
    if flags & Flag.secretStream != 0 { secretStream = SecretStreamInfo(version: try reader.uint()) }
    if flags & Flag.relayThrough != 0 { relayThrough = try RelayThroughInfo(from: &reader) }
    if flags & Flag.relayAddresses != 0 { relayAddresses = try reader.array() }
    // What is no such field is none: the flag may have come to mean something else, and nothing of ours follows.
    if flags & Flag.migration != 0, flags & Flag.unknown == 0 { migration = try? MigrationInfo.decode(&reader) }
  }
}

extension NoisePayload.Relay: CompactEncodable, CompactDecodable {
  package func encode(into writer: inout CompactWriter) {
    relayAddress.encode(into: &writer)
    peerAddress.encode(into: &writer)
  }

  package init(from reader: inout CompactReader) throws(CompactError) {
    relayAddress = try Endpoint(from: &reader)
    peerAddress = try Endpoint(from: &reader)
  }
}

extension NoisePayload.HolepunchInfo: CompactEncodable, CompactDecodable {
  package func encode(into writer: inout CompactWriter) {
    writer.uint(id)
    writer.array(relays)
  }

  package init(from reader: inout CompactReader) throws(CompactError) {
    id = try reader.uint()
    relays = try reader.array()
  }
}

extension NoisePayload.UDXInfo: CompactEncodable, CompactDecodable {
  private static let reusableSocketFeature: UInt64 = 0x01

  package func encode(into writer: inout CompactWriter) {
    writer.uint(version)
    writer.uint(reusableSocket ? Self.reusableSocketFeature : 0)
    writer.uint(UInt64(id))
    writer.uint(seq)
  }

  package init(from reader: inout CompactReader) throws(CompactError) {
    version = try reader.uint()
    reusableSocket = try reader.uint() & Self.reusableSocketFeature != 0
    // Stream ids have 32 bits in UDX packets: a larger one names no stream.
    guard let id = UInt32(exactly: try reader.uint()) else { throw .invalidValue }
    self.id = id
    seq = try reader.uint()
  }
}

extension NoisePayload.RelayThroughInfo: CompactEncodable, CompactDecodable {
  package func encode(into writer: inout CompactWriter) {
    writer.uint(version)
    writer.uint(0)  // flags, none defined
    writer.fixed32(publicKey)
    writer.fixed32(token)
  }

  package init(from reader: inout CompactReader) throws(CompactError) {
    version = try reader.uint()
    _ = try reader.uint()
    publicKey = try reader.fixed32()
    token = try reader.fixed32()
  }
}

extension NoisePayload.MigrationInfo: CompactEncodable {
  private static let resumes: UInt64 = 0x01

  package func encode(into writer: inout CompactWriter) {
    writer.uint(Self.currentVersion)
    writer.uint(resumedStream == nil ? 0 : Self.resumes)
    if let resumedStream { writer.uint(UInt64(resumedStream)) }
  }

  /// `nil` for a version that is not ours.
  static func decode(_ reader: inout CompactReader) throws(CompactError) -> Self? {
    guard try reader.uint() == currentVersion else { return nil }
    guard try reader.uint() & resumes != 0 else { return Self() }
    guard let id = UInt32(exactly: try reader.uint()) else { throw .invalidValue }
    return Self(resumedStream: id)
  }
}
