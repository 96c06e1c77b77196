import HyperSecretStream

extension DHTError {
  private static let byCode: [String: DHTError] = {
    let plain: [DHTError] = [
      .networkUnreachable, .peerNotFound, .peerConnectionFailed, .serverIncompatible, .badHandshakeReply,
      .badHolepunchReply,
      .handshakeUnfinished, .handshakeInvalid, .holepunchInvalid, .holepunchProbeTimeout,
      .holepunchDoubleRandomizedNATs, .remoteNotHolepunching, .remoteNotHolepunchable,
      .duplicateConnection, .streamNotConnected, .connectTimeout, .nodeDestroyed, .suspended, .requestTimeout,
      .requestDestroyed, .ioSuspended,
    ]
    return Dictionary(uniqueKeysWithValues: plain.map { ($0.code, $0) })
  }()

  /// Back from the close reason of a stream that never opened.
  package init(closing error: EncryptedStreamError?) {
    guard let error else {
      self = .requestDestroyed
      return
    }
    guard case .failed(let code, let description) = error else {
      self = .other("\(error.code): \(error.description)")
      return
    }
    let text = description.hasPrefix("\(code): ") ? String(description.dropFirst(code.count + 2)) : description
    switch code {
    case "SERVER_ERROR": self = .serverError(text)
    case "CANNOT_HOLEPUNCH": self = .cannotHolepunch(text)
    case "HOLEPUNCH_ABORTED": self = .holepunchAborted(text)
    case "REMOTE_ABORTED": self = .holepunchAborted(text)
    case "RELAY_ABORTED": self = .relayAborted(text)
    default: self = DHTError.byCode[code] ?? .other(description)
    }
  }
}
