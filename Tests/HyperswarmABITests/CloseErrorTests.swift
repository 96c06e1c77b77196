import CHyperswarm
import Dispatch
import HyperDHTEngine
import HyperSecretStream
import XCTest

@testable import HyperswarmABI

/// What ends a connection reaches `on_close` with the number of its code.
final class CloseErrorTests: XCTestCase {
  private final class Closing {
    let isDone = DispatchSemaphore(value: 0)
    var status: Int32 = 1
    var reason = [CChar](repeating: 0, count: 256)
  }

  private var reason = ""

  func testAReasonThatIsTooLongEndsWithAWholeCharacter() {
    let text = "a\u{e9}\u{20ac}\u{1f600}"
    for (count, whole) in [(0, ""), (1, "a"), (2, "a"), (3, "a\u{e9}"), (5, "a\u{e9}"), (6, "a\u{e9}\u{20ac}")] {
      XCTAssertEqual(String(text.prefixOfUTF8(count)), whole, "\(count)")
    }
    for count in [10, 11, 100] { XCTAssertEqual(String(text.prefixOfUTF8(count)), text) }
    XCTAssertEqual(String("\u{1f600}".prefixOfUTF8(3)), "")
  }

  /// `on_close`'s status of a connection attempt that ends with `error`.
  private func status(_ swarm: OpaquePointer?, _ error: EncryptedStreamError?) throws -> Int32 {
    let closing = Closing()
    var callbacks = hyperswarm_connection_callbacks_t()
    callbacks.size = MemoryLayout<hyperswarm_connection_callbacks_t>.size
    callbacks.user_data = Unmanaged.passUnretained(closing).toOpaque()
    callbacks.on_close = { connection, status, user in
      guard let user else { return }
      let closing = Unmanaged<Closing>.fromOpaque(user).takeUnretainedValue()
      closing.status = status
      hyperswarm_connection_reason(connection, &closing.reason, closing.reason.count)
      closing.isDone.signal()
    }
    var connection: OpaquePointer?
    let key = [UInt8](repeating: 5, count: Int(HYPERSWARM_KEY_SIZE))
    XCTAssertEqual(hyperswarm_connect(swarm, key, nil, &callbacks, &connection), Int32(HYPERSWARM_OK))
    let handle = try XCTUnwrap(Handles.connections.find(connection))
    XCTAssertTrue(handle.swarm.home.run { handle.stream?.destroy(error) })
    closing.isDone.wait()
    reason = closing.reason.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
    return closing.status
  }

  func testEveryErrorHasItsNumber() throws {
    var options = hyperswarm_options_t()
    options.size = MemoryLayout<hyperswarm_options_t>.size
    var swarm: OpaquePointer?
    let code = "127.0.0.1".withCString { host in
      // Nothing answers at this port, so that an attempt lasts until it is interrupted.
      "127.0.0.1:9".withCString { bootstrap in
        options.host = host
        options.bootstrap = bootstrap
        return hyperswarm_create(&options, &swarm)
      }
    }
    XCTAssertEqual(code, Int32(HYPERSWARM_OK))
    XCTAssertEqual(try status(swarm, nil), Int32(HYPERSWARM_OK))
    for error in ErrorTableTests.dhtErrors {
      XCTAssertEqual(try status(swarm, EncryptedStreamError(error)), ErrorCodes.number(error.code), error.code)
    }
    let stream: [(EncryptedStreamError, Int)] = [
      (.handshakeFailed(.decryptionFailed), HYPERSWARM_ERR_HANDSHAKE_FAILED),
      (.remoteKeyMismatch, HYPERSWARM_ERR_REMOTE_KEY_MISMATCH),
      (.endedDuringHandshake, HYPERSWARM_ERR_HANDSHAKE_ENDED), (.handshakeTimedOut, HYPERSWARM_ERR_HANDSHAKE_TIMEOUT),
      (.invalidHeaderLength, HYPERSWARM_ERR_INVALID_HEADER), (.invalidHeader, HYPERSWARM_ERR_INVALID_HEADER),
      (.invalidMessage, HYPERSWARM_ERR_INVALID_MESSAGE), (.frameTooLarge, HYPERSWARM_ERR_FRAME_TOO_LARGE),
      (.decryptionFailed, HYPERSWARM_ERR_DECRYPTION_FAILED), (.messageTooLarge, HYPERSWARM_ERR_MESSAGE_TOO_LARGE),
      (.truncated, HYPERSWARM_ERR_TRUNCATED), (.timedOut, HYPERSWARM_ERR_CONNECTION_TIMED_OUT),
      (.messageTimedOut, HYPERSWARM_ERR_MESSAGE_TIMEOUT), (.evicted, HYPERSWARM_ERR_EVICTED),
      (.datagramNonceExhausted, HYPERSWARM_ERR_NONCE_EXHAUSTED), (.queueOverflow, HYPERSWARM_ERR_QUEUE_OVERFLOW),
      (.transport(.reset), HYPERSWARM_ERR_CONNECTION_RESET),
      (.transport(.timedOut), HYPERSWARM_ERR_CONNECTION_TIMED_OUT),
      (.transport(.packetsTooLarge(pathMTU: 1100)), HYPERSWARM_ERR_PACKETS_TOO_LARGE),
      (.transport(.other(-5)), HYPERSWARM_ERR_TRANSPORT_ERROR),
      (EncryptedStreamError(.stream(StreamFailure(.truncated))), HYPERSWARM_ERR_TRUNCATED),
    ]
    XCTAssertEqual(
      try status(swarm, .transport(.packetsTooLarge(pathMTU: 1100))), Int32(HYPERSWARM_ERR_PACKETS_TOO_LARGE))
    XCTAssertTrue(reason.contains("at least 1100 bytes and less than 1200"), reason)
    for (error, number) in stream { XCTAssertEqual(try status(swarm, error), Int32(number), error.code) }
    XCTAssertEqual(try status(swarm, EncryptedStreamError(.remoteAborted(1))), Int32(HYPERSWARM_ERR_REMOTE_ABORTED))

    let isDestroyed = DispatchSemaphore(value: 0)
    let done: @convention(c) (UnsafeMutableRawPointer?) -> Void = { user in
      if let user { Unmanaged<DispatchSemaphore>.fromOpaque(user).takeUnretainedValue().signal() }
    }
    XCTAssertEqual(
      hyperswarm_destroy(swarm, 1, done, Unmanaged.passUnretained(isDestroyed).toOpaque()), Int32(HYPERSWARM_OK))
    isDestroyed.wait()
  }
}
