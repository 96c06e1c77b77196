import Foundation

/// A UDP socket that does not block.
final class PacketSocket: Sendable {
  let descriptor: Int32

  private init(_ family: Int32) throws {
    descriptor = socket(family, PacketSocket.datagram, 0)
    guard descriptor >= 0 else { throw SocketFailure(number: errno) }
    _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
    _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
  }

  /// At an address of this machine.
  convenience init(boundTo address: SocketBytes) throws {
    try self.init(address.family)
    guard address.withPointer({ bind(descriptor, $0, $1) }) == 0 else { throw SocketFailure(number: errno) }
  }

  /// Packets come from this address only, and go there.
  convenience init(connectedTo address: SocketBytes) throws {
    try self.init(address.family)
    guard address.withPointer({ connect(descriptor, $0, $1) }) == 0 else { throw SocketFailure(number: errno) }
  }

  deinit { close(descriptor) }

  /// What has come, and where from; `nil` when there is nothing. A refusal of what was sent is nothing, too.
  func receive() -> (packet: [UInt8], source: SocketBytes)? {
    withUnsafeTemporaryAllocation(byteCount: TunnelLimits.packet, alignment: 16) { buffer in
      var storage = sockaddr_storage()
      var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
      let count = withUnsafeMutablePointer(to: &storage) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          recvfrom(descriptor, buffer.baseAddress, buffer.count, 0, $0, &size)
        }
      }
      guard count >= 0 else { return nil }
      let source = withUnsafeBytes(of: storage) { SocketBytes(Array($0.prefix(Int(size)))) }
      return (Array(buffer.prefix(count)), source)
    }
  }

  /// Packets are lost when there is no room, as they are in a network.
  func send(_ packet: ArraySlice<UInt8>, to address: SocketBytes? = nil) {
    packet.withUnsafeBytes { buffer in
      if let address {
        _ = address.withPointer { sendto(descriptor, buffer.baseAddress, buffer.count, 0, $0, $1) }
      } else {
        _ = Foundation.send(descriptor, buffer.baseAddress, buffer.count, 0)
      }
    }
  }

  var localAddress: SocketBytes {
    var storage = sockaddr_storage()
    var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
    _ = withUnsafeMutablePointer(to: &storage) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &size) }
    }
    return withUnsafeBytes(of: storage) { SocketBytes(Array($0.prefix(Int(size)))) }
  }

  #if canImport(Darwin)
    private static let datagram = SOCK_DGRAM
  #else
    private static let datagram = Int32(SOCK_DGRAM.rawValue)
  #endif
}

/// An address as the system has it.
struct SocketBytes: Hashable, Sendable {
  let bytes: [UInt8]
  init(_ bytes: [UInt8]) { self.bytes = bytes }

  var family: Int32 { bytes.withUnsafeBytes { Int32($0.load(as: sockaddr.self).sa_family) } }
  /// At the same place in both families.
  var port: UInt16 { UInt16(bytes[2]) << 8 | UInt16(bytes[3]) }

  func withPointer<R>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> R) -> R? {
    bytes.withUnsafeBytes { buffer in
      buffer.baseAddress.map { body($0.assumingMemoryBound(to: sockaddr.self), socklen_t(buffer.count)) }
    }
  }
}
