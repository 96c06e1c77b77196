import HyperDHT
import HyperDHTEngine
import Hyperswarm
import HyperswarmEngine
import XCTest

@testable import HyperswarmABI

final class ErrorTableTests: XCTestCase {
  /// One value per case that has a number of its own.
  static let dhtErrors: [DHTError] = [
    .peerNotFound, .peerConnectionFailed, .serverIncompatible, .serverError(""), .badHandshakeReply,
    .badHolepunchReply, .handshakeUnfinished, .handshakeInvalid, .cannotHolepunch(""), .holepunchAborted(""),
    .holepunchInvalid, .holepunchProbeTimeout, .holepunchDoubleRandomizedNATs, .remoteNotHolepunching,
    .networkUnreachable, .remoteNotHolepunchable, .remoteAborted(1), .relayAborted(""), .duplicateConnection,
    .streamNotConnected,
    .connectTimeout, .alreadyListening, .keyPairAlreadyUsed, .nodeDestroyed, .suspended,
    .bindFailed(code: -98, ""), .requestTimeout, .requestDestroyed, .ioSuspended, .tooFewNodes, .remote(1),
    .sequenceReused, .sequenceTooLow, .valueTooLarge(2, 1), .invalidAddress, .cancelled,
  ]

  /// Every case of every public error has a number of its own. The switches do not compile when a case is added.
  func testEveryPublicErrorHasANumber() {
    let dht = Self.dhtErrors
    for error in dht {
      switch error {
      case .peerNotFound, .peerConnectionFailed, .serverIncompatible, .serverError, .badHandshakeReply,
        .badHolepunchReply, .handshakeUnfinished, .handshakeInvalid, .cannotHolepunch, .holepunchAborted,
        .holepunchInvalid, .holepunchProbeTimeout, .holepunchDoubleRandomizedNATs, .remoteNotHolepunching,
        .networkUnreachable, .remoteNotHolepunchable, .remoteAborted, .relayAborted, .duplicateConnection,
        .streamNotConnected,
        .connectTimeout, .alreadyListening, .keyPairAlreadyUsed, .nodeDestroyed, .suspended, .bindFailed,
        .requestTimeout, .requestDestroyed, .ioSuspended, .tooFewNodes, .remote, .sequenceReused, .sequenceTooLow,
        .valueTooLarge, .invalidAddress, .cancelled, .stream, .other:
        break
      }
    }
    let swarm: [HyperswarmError] = [
      .destroyed, .sessionDestroyed, .noRoles, .tooManyTopics, .tooManyFlushes, .timedOut, .cancelled,
      .listen(code: "BIND_FAILED", description: ""), .resume(code: "BIND_FAILED", description: ""), .dht(.suspended),
    ]
    for error in swarm {
      switch error {
      case .destroyed, .sessionDestroyed, .noRoles, .tooManyTopics, .tooManyFlushes, .timedOut, .cancelled, .listen,
        .resume, .dht:
        break
      }
    }
    let connection: [ConnectionError] = [
      .reset, .timedOut, .packetsTooLarge(pathMTU: 1100), .closed, .cancelled, .messageTooLarge(1), .decryptionFailed,
      .messageTimedOut, .evicted, .failed(code: "TOO_MANY_CONNECTIONS", description: ""),
    ]
    for error in connection {
      switch error {
      case .reset, .timedOut, .packetsTooLarge, .messageTimedOut, .evicted, .closed, .cancelled, .messageTooLarge,
        .decryptionFailed, .failed:
        break
      }
    }
    let codes = dht.map(\.code) + swarm.map(\.code) + connection.map(\.code)
    for code in codes { XCTAssertNotEqual(ErrorCodes.number(code), -1, code) }
    XCTAssertEqual(Set(dht.map { ErrorCodes.number($0.code) }).count, dht.count)
    XCTAssertEqual(ErrorCodes.number(DHTError.other("").code), -1)
    XCTAssertEqual(ErrorCodes.number("something new"), -1)
  }

  /// Why a swarm closes connections.
  func testEveryAbortReasonHasANumber() {
    let reasons: [SwarmAbortReason] = [
      .duplicateConnection, .suspended, .destroyed, .banned, .limit, .networkChanged,
    ]
    for reason in reasons {
      switch reason {
      case .duplicateConnection, .suspended, .destroyed, .banned, .limit, .networkChanged: break
      }
      XCTAssertNotEqual(ErrorCodes.number(reason.code), -1, reason.code)
    }
    XCTAssertEqual(ErrorCodes.number(SwarmAbortReason.networkChanged.code), -110)
  }

  func testNumbersAndNamesAreUnique() {
    XCTAssertEqual(Set(ErrorCodes.all.map(\.number)).count, ErrorCodes.all.count)
    XCTAssertEqual(Set(ErrorCodes.all.map { "\($0.name)" }).count, ErrorCodes.all.count)
    XCTAssertEqual(ErrorCodes.all[1].number, -1)
  }
}
