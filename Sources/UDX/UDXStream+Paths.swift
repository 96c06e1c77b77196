import CHyperUDX
import HyperEnvironment

extension UDXStream {
  package func reroute() {
    guard let handle, isConnected, !isClosed else { return }
    _ = udx_stream_reroute(handle)
  }

  package func retransmit() {
    guard let handle, isConnected, !isClosed else { return }
    _ = udx_stream_retransmit(handle)
  }

  package var isPathValidated: Bool {
    guard let handle, !isClosed else { return false }
    return udx_stream_path_validated(handle) != 0
  }
}
