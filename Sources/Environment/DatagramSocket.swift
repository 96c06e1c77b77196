import HyperEncoding

/// A UDP socket that is shared by connectionless messages and transport streams (udx.md 1.6).
package protocol DatagramSocket: AnyObject {
  /// Datagrams that no stream claims, with their source; the bytes are valid during the call.
  var onMessage: ((UnsafeRawBufferPointer, Endpoint) -> Void)? { get set }

  /// The system took the port away, as some do when a network goes, and the socket has one again: ``localEndpoint``.
  var onRebind: (() -> Void)? { get set }

  /// Called when the last stream that used this socket is gone.
  var onIdle: (() -> Void)? { get set }

  /// Binds; port 0 lets the system choose. Fails at once when the port is taken.
  func bind(host: IPv4Address, port: UInt16) throws(TransportError)

  /// The bound address, `nil` before `bind` and after `close`.
  var localEndpoint: Endpoint? { get }

  /// Sends one datagram, fire and forget; the bytes are copied. `ttl` 0 is the default of 64 hops. After `close`,
  /// unless a stream still uses the socket, and on errors of the system, the datagram is dropped and counted.
  func send(_ bytes: [UInt8], to destination: Endpoint, ttl: UInt8)

  /// The same for bytes that lie anywhere.
  func send(_ bytes: UnsafeRawBufferPointer, to destination: Endpoint, ttl: UInt8)

  /// Streams that are connected through this socket.
  var streamCount: Int { get }

  var isClosed: Bool { get }

  /// Closes once no stream uses the socket any more; `completion` runs exactly once, never inside this call.
  func close(_ completion: (() -> Void)?)
}

extension DatagramSocket {
  package func send(_ bytes: [UInt8], to destination: Endpoint) { send(bytes, to: destination, ttl: 0) }
  package func send(_ bytes: UnsafeRawBufferPointer, to destination: Endpoint) {
    send(bytes, to: destination, ttl: 0)
  }
  package func send(_ bytes: UnsafeRawBufferPointer, to destination: Endpoint, ttl: UInt8) {
    send(Array(bytes), to: destination, ttl: ttl)
  }
  package func close() { close(nil) }
}
