import HyperCrypto
import HyperEncoding

/// The value of ANNOUNCE and UNANNOUNCE (hyperdht.md 2.7).
package struct AnnounceMessage: Hashable, Sendable {
  package var peer: PeerRecord?
  /// A block of a refresh chain (hyperdht.md 3.5).
  package var refresh: Bytes32?
  package var signature: Bytes64?
  /// Milliseconds since the epoch, 0 for none; not signed.
  package var bump: UInt64

  package init(
    peer: PeerRecord? = nil, refresh: Bytes32? = nil, signature: Bytes64? = nil, bump: UInt64 = 0
  ) {
    self.peer = peer
    self.refresh = refresh
    self.signature = signature
    self.bump = bump
  }

  private enum Flag {
    static let peer: UInt64 = 0x01
    static let refresh: UInt64 = 0x02
    static let signature: UInt64 = 0x04
    static let bump: UInt64 = 0x08
  }
}

extension AnnounceMessage: CompactEncodable, CompactDecodable {
  package func encode(into writer: inout CompactWriter) {
    var flags: UInt64 = 0
    if peer != nil { flags |= Flag.peer }
    if refresh != nil { flags |= Flag.refresh }
    if signature != nil { flags |= Flag.signature }
    if bump != 0 { flags |= Flag.bump }
    writer.uint(flags)
    peer?.encode(into: &writer)
    if let refresh { writer.fixed32(refresh) }
    if let signature { writer.fixed64(signature) }
    if bump != 0 { writer.uint(bump) }
  }

  package init(from reader: inout CompactReader) throws(CompactError) {
    let flags = try reader.uint()
    peer = flags & Flag.peer == 0 ? nil : try PeerRecord(from: &reader)
    refresh = flags & Flag.refresh == 0 ? nil : try reader.fixed32()
    signature = flags & Flag.signature == 0 ? nil : try reader.fixed64()
    bump = flags & Flag.bump == 0 ? 0 : try reader.uint()
  }
}

/// One-way chains that renew an announce without a new signature (hyperdht.md 3.5).
package enum RefreshChain {
  /// `block[count - 1] = H(secret)`, `block[i] = H(block[i + 1])`; the announce carries block 0, renewals the next
  /// ones.
  package static func blocks(secret: Bytes32, count: Int) -> [Bytes32] {
    var blocks: [Bytes32] = []
    var last = secret
    for _ in 0..<max(count, 0) {
      last = Blake2b.hash32(last.bytes)
      blocks.append(last)
    }
    return blocks.reversed()
  }

  /// The block that must be stored for `revealed` to be accepted.
  package static func predecessor(of revealed: Bytes32) -> Bytes32 { Blake2b.hash32(revealed.bytes) }
}
