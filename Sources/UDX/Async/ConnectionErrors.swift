import HyperEnvironment
import HyperRuntime

extension ConnectionError {
  package init(_ error: TransportStreamError) {
    switch error {
    case .reset: self = .reset
    case .timedOut: self = .timedOut
    case .other(let code): self = .failed(code: "TRANSPORT_ERROR", description: TransportError(uv: code).description)
    }
  }
}
