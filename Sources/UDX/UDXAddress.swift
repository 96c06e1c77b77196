import HyperEncoding

#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// Where a socket is bound, or a peer is: an address of either family, and a UDP port.
///
/// As text `192.0.2.7:5000`, `[2001:db8::7]:5000`, `[fe80::7%2]:5000` (RFC 3986, RFC 4007). `Endpoint` is the same for
/// IPv4 alone.
public struct UDXAddress: Hashable, Sendable {
  /// The kind of an address.
  public enum Family: Hashable, Sendable {
    /// 32 bits.
    case ipv4
    /// 128 bits.
    case ipv6
  }

  /// The address.
  public var host: IPAddress
  /// The UDP port.
  public var port: UInt16
  /// The interface that a link-local IPv6 address belongs to, by the system's index; 0 for any other address.
  public var scope: UInt32

  /// An address and a port.
  public init(host: IPAddress, port: UInt16, scope: UInt32 = 0) {
    self.host = host
    self.port = port
    self.scope = scope
  }

  /// An IPv4 address and a port.
  public init(_ endpoint: Endpoint) { self.init(host: .v4(endpoint.host), port: endpoint.port) }

  /// `a.b.c.d:port`, `[IPv6]:port` or `[IPv6%index]:port`; `nil` for anything else, names included.
  public init?(_ text: some StringProtocol) {
    if let endpoint = Endpoint(text) {
      self.init(endpoint)
      return
    }
    guard text.first == "[", let end = text.lastIndex(of: "]"), text[end...].hasPrefix("]:"),
      let port = UInt16(text[text.index(end, offsetBy: 2)...])
    else { return nil }
    let parts = text[text.index(after: text.startIndex)..<end].split(
      separator: "%", maxSplits: 1, omittingEmptySubsequences: false)
    guard let host = IPv6Address(parts[0]) else { return nil }
    guard parts.count == 2 else {
      self.init(host: .v6(host), port: port)
      return
    }
    guard let scope = UInt32(parts[1]) else { return nil }
    self.init(host: .v6(host), port: port, scope: scope)
  }

  /// The same, if it is an IPv4 address; `nil` for an IPv6 one.
  public var endpoint: Endpoint? {
    guard case .v4(let host) = host else { return nil }
    return Endpoint(host: host, port: port)
  }
}

extension UDXAddress: CustomStringConvertible {
  /// The form that `init` reads; of IPv6 addresses the shortest one (RFC 5952).
  public var description: String {
    switch host {
    case .v4(let host): "\(host):\(port)"
    case .v6(let host): "[\(host.shortText)\(scope == 0 ? "" : "%\(scope)")]:\(port)"
    }
  }
}

extension IPv6Address {
  /// With `::` for the first of the longest runs of zeros.
  fileprivate var shortText: String {
    let groups = groups
    var zeros = 0..<0
    var start = 0
    while start < groups.count {
      var end = start
      while end < groups.count, groups[end] == 0 { end += 1 }
      if end - start > max(zeros.count, 1) { zeros = start..<end }
      start = max(end, start + 1)
    }
    func text(_ part: some Sequence<UInt16>) -> String { part.map { String($0, radix: 16) }.joined(separator: ":") }
    if zeros.isEmpty { return text(groups) }
    return text(groups[..<zeros.lowerBound]) + "::" + text(groups[zeros.upperBound...])
  }
}

/// What can be written as an address of the system's sockets.
protocol SocketPlace: Sendable {
  var port: UInt16 { get }
  var isIPv6: Bool { get }
  /// The same for callers that know IPv4 alone.
  var endpoint: Endpoint? { get }
  var address: UDXAddress { get }
  func withSocketAddress<R>(_ body: (UnsafePointer<sockaddr>) -> R) -> R
}

extension Endpoint: SocketPlace {
  var isIPv6: Bool { false }
  var endpoint: Endpoint? { self }
  var address: UDXAddress { UDXAddress(self) }
}

extension UDXAddress: SocketPlace {
  var isIPv6: Bool { if case .v6 = host { true } else { false } }
  var address: UDXAddress { self }

  /// `nil` for other families. The C layer has already turned v4-mapped addresses into plain ones.
  init?(socketAddress address: UnsafePointer<sockaddr>?) {
    if let endpoint = Endpoint(socketAddress: address) {
      self.init(endpoint)
      return
    }
    guard let address, Int32(address.pointee.sa_family) == AF_INET6 else { return nil }
    self = UnsafeRawPointer(address).withMemoryRebound(to: sockaddr_in6.self, capacity: 1) { address in
      let host = withUnsafeBytes(of: address.pointee.sin6_addr) { bytes in
        IPv6Address(
          high: UInt64(bigEndian: bytes.loadUnaligned(as: UInt64.self)),
          low: UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)))
      }
      return UDXAddress(
        host: .v6(host), port: UInt16(bigEndian: address.pointee.sin6_port), scope: address.pointee.sin6_scope_id)
    }
  }

  func withSocketAddress<R>(_ body: (UnsafePointer<sockaddr>) -> R) -> R {
    let v6: IPv6Address
    switch host {
    case .v4(let host): return Endpoint(host: host, port: port).withSocketAddress(body)
    case .v6(let host): v6 = host
    }
    var address = sockaddr_in6()
    #if canImport(Darwin)
      address.sin6_len = UInt8(MemoryLayout<sockaddr_in6>.size)
    #endif
    address.sin6_family = sa_family_t(AF_INET6)
    address.sin6_port = port.bigEndian
    address.sin6_scope_id = scope
    withUnsafeMutableBytes(of: &address.sin6_addr) { bytes in
      bytes.storeBytes(of: v6.high.bigEndian, as: UInt64.self)
      bytes.storeBytes(of: v6.low.bigEndian, toByteOffset: 8, as: UInt64.self)
    }
    return withUnsafePointer(to: address) { $0.withMemoryRebound(to: sockaddr.self, capacity: 1, body) }
  }
}
