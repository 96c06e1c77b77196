import HyperEncoding
import HyperEnvironment
import HyperSecretStream

/// An environment without network: deferred actions run when the benchmark ends a turn, timers never.
final class BenchmarkLoop: Environment {
  private var pending: [() -> Void] = []
  private(set) lazy var sharedTicks = SharedTicks(self)
  var now: UInt64 = 0
  var wallClock: UInt64 = 0

  func turn() {
    now &+= 1_000
    while !pending.isEmpty {
      let actions = pending
      pending = []
      for action in actions { action() }
    }
  }

  func `defer`(_ action: @escaping () -> Void) { pending.append(action) }

  private final class Never: ScheduledAction {
    func cancel() {}
  }

  func schedule(after milliseconds: UInt64, _ action: @escaping () -> Void) -> any ScheduledAction { Never() }

  func randomBytes(_ bytes: UnsafeMutableRawBufferPointer) { for index in bytes.indices { bytes[index] = 3 } }

  func resolve(_ name: String, _ completion: @escaping ([IPv4Address]) -> Void) { completion([]) }

  func makeSocket() -> any DatagramSocket { preconditionFailure("no network here") }

  func makeStream(localID: UInt32) -> any TransportStream { preconditionFailure("no network here") }

  func interfaces() -> [InterfaceAddress] { [] }

  func watchInterfaces(
    every milliseconds: UInt64, _ onChange: @escaping ([InterfaceAddress]) -> Void
  ) -> any ScheduledAction { Never() }
}

/// Takes everything, acknowledges at once, keeps it on request.
final class SinkTransport: ByteTransport {
  var onData: ((UnsafeRawBufferPointer) -> Void)?
  var onEnd: (() -> Void)?
  var onDrain: (() -> Void)?
  var onClose: ((TransportStreamError?) -> Void)?
  private(set) var isClosed = false
  var keeps = false
  private(set) var header: [UInt8] = []
  private(set) var kept: [UInt8] = []

  func write(_ buffer: OwnedBuffer, _ onAcknowledged: ((Bool) -> Void)?) -> Bool {
    if header.isEmpty {
      header = Array(buffer.bytes)
    } else if keeps {
      kept.append(contentsOf: buffer.bytes)
    }
    onAcknowledged?(true)
    return true
  }

  func end() {}

  func destroy() {
    guard !isClosed else { return }
    isClosed = true
    onClose?(nil)
  }

  func pauseReading() {}
  func resumeReading() {}
}

func benchmarkKeys() -> (SessionKeys, SessionKeys) {
  func keys(_ isInitiator: Bool) -> SessionKeys {
    SessionKeys(
      sendKey: Bytes32(repeating: isInitiator ? 1 : 2), receiveKey: Bytes32(repeating: isInitiator ? 2 : 1),
      handshakeHash: Bytes64(), isInitiator: isInitiator, publicKey: Bytes32(), remotePublicKey: Bytes32())
  }
  return (keys(true), keys(false))
}
