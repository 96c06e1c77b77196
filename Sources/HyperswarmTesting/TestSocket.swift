import HyperEncoding
import HyperEnvironment

/// An in-memory UDP socket.
package final class TestSocket: DatagramSocket {
  package var onMessage: ((UnsafeRawBufferPointer, Endpoint) -> Void)?
  package var onIdle: (() -> Void)?
  package private(set) var localEndpoint: Endpoint?
  package private(set) var isClosed = false
  /// Datagrams sent after close, or while the host is down.
  package private(set) var droppedSends = 0

  let environment: TestEnvironment
  private(set) var boundHost = IPv4Address.any
  private var streams: [ObjectIdentifier: TestStream] = [:]
  private var isClosing = false
  private var closeCallbacks: [() -> Void] = []

  init(environment: TestEnvironment) { self.environment = environment }

  package func bind(host: IPv4Address, port: UInt16) throws(TransportError) {
    guard localEndpoint == nil, !isClosed else { throw TransportError(code: -22, description: "invalid argument") }
    localEndpoint = try environment.bind(self, host: host, port: port)
    boundHost = host
  }

  package func send(_ bytes: [UInt8], to destination: Endpoint, ttl: UInt8) {
    if localEndpoint == nil, !isClosed { try? bind(host: .any, port: 0) }
    guard !isClosed, !isClosing, !environment.isDown, destination.port != 0, bytes.count <= 65_507 else {
      droppedSends += 1
      return
    }
    environment.network.send(from: self, to: destination, bytes: bytes, isStream: false, ttl: ttl == 0 ? 64 : ttl) {
      socket, source in
      socket.receive(bytes, from: source)
    }
  }

  /// Hands a datagram to the socket as if it had arrived.
  package func receive(_ bytes: [UInt8], from source: Endpoint) {
    guard !isClosed else { return }
    bytes.withUnsafeBytes { onMessage?($0, source) }
  }

  package var streamCount: Int { streams.count }

  func attach(_ stream: TestStream) { streams[ObjectIdentifier(stream)] = stream }

  func detach(_ stream: TestStream) {
    guard streams.removeValue(forKey: ObjectIdentifier(stream)) != nil, streams.isEmpty else { return }
    onIdle?()
    if isClosing { finishClosing() }
  }

  package func close(_ completion: (() -> Void)?) {
    if let completion { closeCallbacks.append(completion) }
    if isClosed {
      runCloseCallbacks()
      return
    }
    isClosing = true
    if streams.isEmpty { finishClosing() }
  }

  private func finishClosing() {
    if !isClosed {
      isClosed = true
      if let port = localEndpoint?.port { environment.unbind(self, port: port) }
      localEndpoint = nil
    }
    runCloseCallbacks()
  }

  private func runCloseCallbacks() {
    let callbacks = closeCallbacks
    closeCallbacks = []
    environment.network.deferred { for callback in callbacks { callback() } }
  }
}
