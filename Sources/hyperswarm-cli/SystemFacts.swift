import Foundation
import HyperEncoding

/// What the system says about itself, without a packet sent.
struct SystemFacts: Sendable {
  struct Interface: Sendable {
    var name: String
    var addresses: [IPv4Address]
    /// Bytes of an IP packet; 0 when the system does not say.
    var mtu: Int
  }

  /// IFF_UP, whose type differs between systems.
  private static let isUp: UInt32 = 1

  /// Those that are up and have an IPv4 address.
  var interfaces: [Interface] = []
  /// Bytes that a socket may ask for; `nil` when the system does not say.
  var receiveBuffer: Int?
  var sendBuffer: Int?

  static func read() -> SystemFacts {
    var facts = SystemFacts()
    facts.interfaces = readInterfaces()
    #if os(Linux)
      facts.receiveBuffer = number(in: "/proc/sys/net/core/rmem_max")
      facts.sendBuffer = number(in: "/proc/sys/net/core/wmem_max")
    #else
      facts.receiveBuffer = control("kern.ipc.maxsockbuf")
      facts.sendBuffer = facts.receiveBuffer
    #endif
    return facts
  }

  private static func readInterfaces() -> [Interface] {
    var list: UnsafeMutablePointer<ifaddrs>?
    guard getifaddrs(&list) == 0 else { return [] }
    defer { freeifaddrs(list) }
    var found: [Interface] = []
    var next = list
    while let entry = next?.pointee {
      next = entry.ifa_next
      guard let address = entry.ifa_addr, Int32(address.pointee.sa_family) == AF_INET,
        entry.ifa_flags & SystemFacts.isUp != 0
      else { continue }
      let name = String(cString: entry.ifa_name)
      let value = address.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { $0.pointee.sin_addr.s_addr }
      let host = IPv4Address(value: UInt32(bigEndian: value))
      if let index = found.firstIndex(where: { $0.name == name }) {
        found[index].addresses.append(host)
      } else {
        found.append(Interface(name: name, addresses: [host], mtu: mtu(of: name)))
      }
    }
    return found
  }

  private static func mtu(of name: String) -> Int {
    #if os(Linux)
      return number(in: "/sys/class/net/\(name)/mtu") ?? 0
    #else
      return 0
    #endif
  }

  #if os(Linux)
    private static func number(in path: String) -> Int? {
      guard let file = try? File(path: path, flags: O_RDONLY), let bytes = try? file.read(32) else { return nil }
      return Int(String(decoding: bytes, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines))
    }
  #else
    private static func control(_ name: String) -> Int? {
      var value: Int32 = 0
      var size = MemoryLayout<Int32>.size
      return sysctlbyname(name, &value, &size, nil, 0) == 0 ? Int(value) : nil
    }
  #endif

  /// Bytes of the largest IP packet that the system would send there, and the address that it would send from; `nil`
  /// without a route. Nothing is sent.
  static func route(to endpoint: Endpoint) -> (mtu: Int?, source: IPv4Address)? {
    #if os(Linux)
      let kind = Int32(SOCK_DGRAM.rawValue)
    #else
      let kind = SOCK_DGRAM
    #endif
    let descriptor = socket(AF_INET, kind, 0)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = endpoint.port.bigEndian
    address.sin_addr.s_addr = endpoint.host.value.bigEndian
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    let status = withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { general in
        connect(descriptor, general, size) == 0 ? getsockname(descriptor, general, &size) : -1
      }
    }
    guard status == 0 else { return nil }
    var mtu: Int32 = 0
    #if os(Linux)
      var length = socklen_t(MemoryLayout<Int32>.size)
      getsockopt(descriptor, Int32(IPPROTO_IP), IP_MTU, &mtu, &length)
    #endif
    return (mtu > 0 ? Int(mtu) : nil, IPv4Address(value: UInt32(bigEndian: address.sin_addr.s_addr)))
  }
}
