import HyperRuntime
import HyperSecretStream

extension ConnectionError {
  init(_ error: EncryptedStreamError) {
    switch error {
    case .transport(.reset): self = .reset
    case .transport(.timedOut), .timedOut: self = .timedOut
    case .decryptionFailed: self = .decryptionFailed
    default: self = .failed(code: error.code, description: error.description)
    }
  }
}
