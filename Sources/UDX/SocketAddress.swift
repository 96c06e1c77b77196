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

extension Endpoint {
  /// IPv4 sources; `nil` for anything else. The C layer has already turned v4-mapped addresses into plain ones.
  @inline(__always)
  package init?(socketAddress address: UnsafePointer<sockaddr>?) {
    guard let address, Int32(address.pointee.sa_family) == AF_INET else { return nil }
    self = UnsafeRawPointer(address).withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
      Endpoint(
        host: IPv4Address(value: UInt32(bigEndian: $0.pointee.sin_addr.s_addr)),
        port: UInt16(bigEndian: $0.pointee.sin_port))
    }
  }

  @inline(__always)
  package func withSocketAddress<R>(_ body: (UnsafePointer<sockaddr>) -> R) -> R {
    var address = sockaddr_in()
    #if canImport(Darwin)
      address.sin_len = UInt8(MemoryLayout<sockaddr_in>.size)
    #endif
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = host.value.bigEndian
    return withUnsafePointer(to: address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1, body)
    }
  }
}

extension TransportError {
  init(uv code: Int32) { self.init(code: code, description: String(cString: uv_strerror(code))) }

  static var invalid: TransportError { TransportError(uv: UV_EINVAL.rawValue) }
}
