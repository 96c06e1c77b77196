import HyperSecretStream

/// Why an encrypted stream failed before it was open, where that is no error of the DHT.
public struct StreamFailure: Error, Hashable, Sendable, CustomStringConvertible {
  package let error: EncryptedStreamError

  package init(_ error: EncryptedStreamError) { self.error = error }

  /// The stable name of the reason, as `ConnectionError.code` has it.
  public var code: String { error.code }
  public var description: String { error.description }
}

extension EncryptedStreamError {
  /// The close reason of a stream that the DHT gave up.
  package init(_ error: DHTError) { self.init(reason: error) }
}

extension DHTError {
  /// Of the close reason of a stream that never opened: the DHT's own error as it was, any other with its code.
  package init(closing error: EncryptedStreamError?) {
    switch error {
    case nil: self = .requestDestroyed
    case .failed(let reason)?: self = reason.error as? DHTError ?? .stream(StreamFailure(.failed(reason)))
    case let error?: self = .stream(StreamFailure(error))
    }
  }
}
