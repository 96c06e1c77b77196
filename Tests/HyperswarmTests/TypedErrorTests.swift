import HyperEnvironment
import HyperRPC
import HyperRuntime
import HyperSecretStream
import HyperswarmEngine
import XCTest

@testable import HyperDHT
@testable import HyperDHTEngine
@testable import HyperUDX
@testable import Hyperswarm

/// Errors reach the caller with their case, payload and code, whatever layers they pass.
final class TypedErrorTests: XCTestCase {
  /// One value per case; does not compile when a case is added, and fails when one is missing.
  static let dhtErrors: [DHTError] = [
    .networkUnreachable, .peerNotFound, .peerConnectionFailed, .serverIncompatible, .serverError("text"),
    .badHandshakeReply, .badHolepunchReply, .handshakeUnfinished, .handshakeInvalid, .cannotHolepunch("text"),
    .holepunchAborted("REMOTE_ABORTED: text"), .holepunchInvalid, .holepunchProbeTimeout,
    .holepunchDoubleRandomizedNATs, .remoteNotHolepunching, .remoteNotHolepunchable, .remoteAborted(7),
    .relayAborted("text"), .duplicateConnection, .streamNotConnected, .stream(StreamFailure(.handshakeTimedOut)),
    .connectTimeout, .alreadyListening, .keyPairAlreadyUsed, .nodeDestroyed, .suspended,
    .bindFailed(code: -98, "text"), .requestTimeout, .requestDestroyed, .ioSuspended, .tooFewNodes, .remote(9),
    .sequenceReused, .sequenceTooLow, .valueTooLarge(1025, 1024), .invalidAddress, .other("text"), .cancelled,
  ]

  private func index(_ error: DHTError) -> Int {
    switch error {
    case .networkUnreachable: 0
    case .peerNotFound: 1
    case .peerConnectionFailed: 2
    case .serverIncompatible: 3
    case .serverError: 4
    case .badHandshakeReply: 5
    case .badHolepunchReply: 6
    case .handshakeUnfinished: 7
    case .handshakeInvalid: 8
    case .cannotHolepunch: 9
    case .holepunchAborted: 10
    case .holepunchInvalid: 11
    case .holepunchProbeTimeout: 12
    case .holepunchDoubleRandomizedNATs: 13
    case .remoteNotHolepunching: 14
    case .remoteNotHolepunchable: 15
    case .remoteAborted: 16
    case .relayAborted: 17
    case .duplicateConnection: 18
    case .streamNotConnected: 19
    case .stream: 20
    case .connectTimeout: 21
    case .alreadyListening: 22
    case .keyPairAlreadyUsed: 23
    case .nodeDestroyed: 24
    case .suspended: 25
    case .bindFailed: 26
    case .requestTimeout: 27
    case .requestDestroyed: 28
    case .ioSuspended: 29
    case .tooFewNodes: 30
    case .remote: 31
    case .sequenceReused: 32
    case .sequenceTooLow: 33
    case .valueTooLarge: 34
    case .invalidAddress: 35
    case .other: 36
    case .cancelled: 37
    }
  }

  static let streamErrors: [EncryptedStreamError] = [
    .handshakeFailed(.decryptionFailed), .remoteKeyMismatch, .endedDuringHandshake, .handshakeTimedOut,
    .invalidHeaderLength, .invalidHeader, .invalidMessage, .frameTooLarge, .decryptionFailed, .messageTooLarge,
    .truncated, .timedOut, .datagramNonceExhausted, .queueOverflow, .transport(.reset), .transport(.timedOut),
    .transport(.packetsTooLarge(pathMTU: 1100)), .transport(.other(-5)),
    EncryptedStreamError(reason: SwarmAbortReason.banned),
    .messageTimedOut, .evicted,
  ]

  private func index(_ error: EncryptedStreamError) -> Int {
    switch error {
    case .handshakeFailed: 0
    case .remoteKeyMismatch: 1
    case .endedDuringHandshake: 2
    case .handshakeTimedOut: 3
    case .invalidHeaderLength: 4
    case .invalidHeader: 5
    case .invalidMessage: 6
    case .frameTooLarge: 7
    case .decryptionFailed: 8
    case .messageTooLarge: 9
    case .truncated: 10
    case .timedOut: 11
    case .datagramNonceExhausted: 12
    case .queueOverflow: 13
    case .transport(.reset): 14
    case .transport(.timedOut): 15
    case .transport(.other): 16
    case .failed: 17
    case .transport(.packetsTooLarge): 18
    case .messageTimedOut: 19
    case .evicted: 20
    }
  }

  static let rpcErrors: [(RPCError, DHTError)] = [
    (.requestTimeout, .requestTimeout), (.requestDestroyed, .requestDestroyed), (.suspended, .ioSuspended),
    (.nodeDestroyed, .nodeDestroyed), (.tooFewNodes, .tooFewNodes),
    (.missingToken, .other("the node gave no token to commit with")), (.invalidAddress, .invalidAddress),
    (.delayTooLong, .other("the delay exceeds the largest ping delay")),
    (.queueFull, .other("too many requests are in flight")),
    (.messageTooLarge, .other("the message does not fit into a datagram")),
    (.bind(TransportError(code: -98, description: "text")), .bindFailed(code: -98, "text")),
    (.remote(9), .remote(9)), (.remote(16), .sequenceReused), (.remote(17), .sequenceTooLow),
  ]

  private func index(_ error: RPCError) -> Int {
    switch error {
    case .requestTimeout: 0
    case .requestDestroyed: 1
    case .suspended: 2
    case .nodeDestroyed: 3
    case .tooFewNodes: 4
    case .missingToken: 5
    case .invalidAddress: 6
    case .delayTooLong: 7
    case .queueFull: 8
    case .messageTooLarge: 9
    case .bind: 10
    case .remote: 11
    }
  }

  /// Fails the node's one connector as soon as there is one.
  private static func interrupt(_ dht: HyperDHT, _ body: @escaping @Sendable (Connector) -> Void) {
    let node = dht.node
    let loop = dht.loop
    _ = loop.post {
      if let connector = node.value.connectors.values.first { return body(connector) }
      _ = loop.schedule(after: 1) { interrupt(dht, body) }
    }
  }

  private func failure(
    _ dht: HyperDHT, _ body: @escaping @Sendable (Connector) -> Void
  ) async -> DHTError? {
    Self.interrupt(dht, body)
    do throws(DHTError) {
      _ = try await dht.connect(to: HyperDHT.keyPair().publicKey)
      return nil
    } catch {
      return error
    }
  }

  func testConnectFailsWithTheError() async throws {
    XCTAssertEqual(Set(Self.dhtErrors.map(index)), Set(0..<38))
    XCTAssertEqual(Set(Self.streamErrors.map(index)), Set(0..<21))
    XCTAssertEqual(Set(Self.rpcErrors.map { index($0.0) }), Set(0..<12))
    // Nothing answers at this port, so that the attempt lasts until it is interrupted.
    let dht = try await HyperDHT(HyperDHT.Options(bootstrap: ["127.0.0.1:9"], port: 0, host: .loopback))
    for error in Self.dhtErrors {
      let received = await failure(dht) { $0.fail(error) }
      XCTAssertEqual(received, error)
    }
    for error in Self.streamErrors {
      let received = await failure(dht) { $0.stream.destroy(error) }
      XCTAssertEqual(received, .stream(StreamFailure(error)))
      XCTAssertEqual(received?.code, error.code)
    }
    for (error, expected) in Self.rpcErrors {
      let received = await failure(dht) { $0.fail(DHTError(error)) }
      XCTAssertEqual(received, expected)
    }
    let received = await failure(dht) { $0.stream.destroy() }
    XCTAssertEqual(received, .requestDestroyed)
    await dht.destroy()
  }

  /// An open connection's end keeps the code of what ended it.
  func testConnectionErrorsKeepTheCode() {
    for error in Self.streamErrors + Self.dhtErrors.map(EncryptedStreamError.init) {
      let seen = ConnectionError(error)
      XCTAssertEqual(seen.code, error.code)
      if case .failed(_, let description) = seen { XCTAssertEqual(description, error.description) }
    }
    XCTAssertEqual(UDXConnectionError(.reset), .reset)
    XCTAssertEqual(UDXConnectionError(.timedOut), .timedOut)
    for error in [TransportStreamError.reset, .timedOut, .other(-5)] {
      XCTAssertEqual(UDXConnectionError(error).code, EncryptedStreamError.transport(error).code)
    }
  }

  func testSwarmErrorsKeepTheCode() {
    let swarm: [(SwarmError, HyperswarmError)] = [
      (.destroyed, .destroyed), (.sessionDestroyed, .sessionDestroyed), (.noRoles, .noRoles),
      (.tooManyTopics, .tooManyTopics), (.tooManyFlushes, .tooManyFlushes), (.timedOut, .timedOut),
      (.cancelled, .cancelled),
    ]
    for (error, expected) in swarm { XCTAssertEqual(HyperswarmError(error), expected) }
    for error in Self.dhtErrors {
      let failure = SwarmStreamFailure(code: error.code, description: error.description)
      XCTAssertEqual(HyperswarmError(.listen(failure)).code, error.code)
      XCTAssertEqual(HyperswarmError.dht(error).code, error.code)
      XCTAssertEqual(HyperswarmError.dht(error).description, error.description)
    }
  }
}
