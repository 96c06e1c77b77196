import CHyperUDX
import CHyperUV
import HyperEncoding
import HyperEnvironment

#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// Counters of a socket, streams and datagrams together; also after its close.
public struct UDXSocketStatistics: Hashable, Sendable {
  /// UDP payloads that were sent, bytes.
  public var bytesSent: UInt64 = 0
  /// UDP payloads that have arrived, bytes.
  public var bytesReceived: UInt64 = 0
  /// UDP packets that were sent.
  public var packetsSent: UInt64 = 0
  /// UDP packets that have arrived.
  public var packetsReceived: UInt64 = 0
  /// Packets that the system had no room for; `nil` where it does not tell, and before it has.
  public var packetsDroppedByKernel: UInt64?

  /// All zero.
  public init() {}
}

extension UDXSocket {
  /// The socket's counters; all zero before `bind`, the last ones after the close.
  public var statistics: UDXSocketStatistics {
    guard let counters = handle?.pointee else { return finalStatistics }
    var result = UDXSocketStatistics()
    result.bytesSent = counters.bytes_tx
    result.bytesReceived = counters.bytes_rx
    result.packetsSent = counters.packets_tx
    result.packetsReceived = counters.packets_rx
    result.packetsDroppedByKernel = UInt64(exactly: counters.packets_dropped_by_kernel)
    return result
  }

  // MARK: Buffers and hops

  /// Sizes of the kernel's buffers in bytes as it reports them, `nil` before `bind` and after the close.
  public var kernelBuffers: (send: Int32, receive: Int32)? {
    guard let handle else { return nil }
    var send: Int32 = 0
    var receive: Int32 = 0
    guard udx_socket_get_send_buffer_size(handle, &send) == 0, udx_socket_get_recv_buffer_size(handle, &receive) == 0
    else { return nil }
    return (send, receive)
  }

  /// Asks the system for buffers of so many bytes; `nil` leaves one as it is. It may give others: `kernelBuffers`.
  /// Linux gives twice as much, for its own needs, and no more than twice `net.core.wmem_max` and `net.core.rmem_max`.
  /// Binds to any port if need be.
  /// - Throws: `EINVAL` when closed; what the system says, and what `bind` throws.
  public func setKernelBuffers(send: Int32? = nil, receive: Int32? = nil) throws(TransportError) {
    let handle = try boundHandle()
    if let send { try check(udx_socket_set_send_buffer_size(handle, send)) }
    if let receive { try check(udx_socket_set_recv_buffer_size(handle, receive)) }
  }

  /// Routers that a packet passes at most, where `send` does not say: 64 at first; `nil` before `bind`.
  public var timeToLive: Int? {
    var hops: Int32 = 0
    guard let handle, udx_socket_get_ttl(handle, &hops) == 0 else { return nil }
    return Int(hops)
  }

  /// Sets `timeToLive`, 1 to 255, for datagrams and streams. What goes to groups does not follow it: the system's 1,
  /// unless `send` says. Binds to any port if need be.
  /// - Throws: `EINVAL` for 0, and when closed; what `bind` throws.
  public func setTimeToLive(_ hops: UInt8) throws(TransportError) {
    try check(udx_socket_set_ttl(try boundHandle(), Int32(hops)))
  }

  // MARK: Multicast

  /// Receives what is sent to an IPv4 group from now on, of one source or of all (RFC 1112, RFC 4607). For sockets at
  /// an IPv4 address. Binds to any port if need be: a program that wants a port binds first.
  /// - Parameters:
  ///   - group: 224.0.0.0 to 239.255.255.255.
  ///   - interface: the address of the interface on which; `nil` is the system's choice.
  ///   - source: takes what this host sends, and nothing else; `nil` is every host.
  /// - Throws: what the system says: `EINVAL` for an address that is no group, `ENODEV` without such an interface,
  ///   `EADDRINUSE` when joined already; what `bind` throws.
  public func join(
    group: IPv4Address, interface: IPv4Address? = nil, source: IPv4Address? = nil
  ) throws(TransportError) {
    try setMembership(UV_JOIN_GROUP, group, interface, source)
  }

  /// Ends a `join` with the same arguments.
  /// - Throws: `EADDRNOTAVAIL` without one; else as `join`.
  public func leave(
    group: IPv4Address, interface: IPv4Address? = nil, source: IPv4Address? = nil
  ) throws(TransportError) {
    try setMembership(UV_LEAVE_GROUP, group, interface, source)
  }

  /// Receives what is sent to an IPv6 group from now on. Fails on a socket that is bound to an IPv4 address; binds to
  /// any port of `::` if need be.
  /// - Parameters:
  ///   - group: an address that begins with `ff`, such as `ff02::1`.
  ///   - interface: the system's name of the interface on which, such as `eth0`; `nil` is the system's choice.
  ///   - source: takes what this host sends, and nothing else.
  public func join(
    group: IPv6Address, interface: String? = nil, source: IPv6Address? = nil
  ) throws(TransportError) {
    try setMembership(UV_JOIN_GROUP, group, interface, source)
  }

  /// Ends a `join` with the same arguments.
  public func leave(
    group: IPv6Address, interface: String? = nil, source: IPv6Address? = nil
  ) throws(TransportError) {
    try setMembership(UV_LEAVE_GROUP, group, interface, source)
  }

  /// Whether what is sent to a group comes to this host, too; on at first. Of a socket at an IPv6 address for IPv6
  /// groups. Binds to any port if need be.
  /// - Throws: `EINVAL` when closed; what `bind` throws.
  public func setMulticastLoop(_ isOn: Bool) throws(TransportError) {
    try check(udx_socket_set_multicast_loop(try boundHandle(), isOn ? 1 : 0))
  }

  /// The interface, by its address, from which what is sent to IPv4 groups leaves; the system's choice at first. For
  /// sockets at an IPv4 address. Binds to any port if need be.
  /// - Throws: `EADDRNOTAVAIL` without such an interface; `EINVAL` for a socket at an IPv6 address, and when closed.
  public func setMulticastInterface(_ interface: IPv4Address) throws(TransportError) {
    try check(udx_socket_set_multicast_interface(try boundHandle(), interface.description))
  }

  /// The interface, by the system's name, from which what is sent to IPv6 groups leaves, unless the destination has a
  /// `scope`. Fails on a socket that is bound to an IPv4 address; binds to any port of `::` if need be.
  public func setMulticastInterface(_ interface: String) throws(TransportError) {
    let place = try scopedText(interface)
    try check(udx_socket_set_multicast_interface(try boundHandle(isIPv6: true), place))
  }

  private func setMembership(
    _ membership: uv_membership, _ group: IPv4Address, _ interface: IPv4Address?, _ source: IPv4Address?
  ) throws(TransportError) {
    try setMembership(
      membership, group.description, interface?.description, source?.description, try boundHandle())
  }

  private func setMembership(
    _ membership: uv_membership, _ group: IPv6Address, _ interface: String?, _ source: IPv6Address?
  ) throws(TransportError) {
    var place: String?
    if let interface { place = try scopedText(interface) }
    try setMembership(
      membership, group.description, place, source?.description, try boundHandle(isIPv6: true))
  }

  private func setMembership(
    _ membership: uv_membership, _ group: String, _ interface: String?, _ source: String?,
    _ handle: UnsafeMutablePointer<udx_socket_t>
  ) throws(TransportError) {
    if let source {
      try check(udx_socket_set_source_membership(handle, group, interface, source, membership))
    } else {
      try check(udx_socket_set_membership(handle, group, interface, membership))
    }
  }

  /// How the C layer takes the name of an interface. One that does not exist would be the system's choice there.
  private func scopedText(_ interface: String) throws(TransportError) -> String {
    guard if_nametoindex(interface) != 0 else { throw TransportError(uv: UV_ENODEV.rawValue) }
    return "::%\(interface)"
  }

  private func check(_ result: Int32) throws(TransportError) {
    if result < 0 { throw TransportError(uv: result) }
  }
}
