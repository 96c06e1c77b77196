import CHyperUDX
import HyperEnvironment

extension UDXInstance {
  /// Writes every transport event of this instance to a file, as qlog (JSON text sequences, RFC 7464), until the
  /// instance is closed. About 250 bytes per packet. Never waits for the file: what it does not take is dropped, and
  /// the last record says how much that was.
  /// - Parameters:
  ///   - path: created, for its owner alone, or emptied. The events name addresses of peers.
  ///   - title: what the trace calls itself.
  ///   - vantagePoint: `client`, `server` or `network`; `nil` is `unknown`.
  /// - Throws: `EBUSY` while there is a trace; `EINVAL` when closed; what the system says of the file.
  public func openTrace(path: String, title: String = "udx", vantagePoint: String? = nil) throws(TransportError) {
    guard !isClosed else { throw .invalid }
    let result = path.withCString { path in
      title.withCString { title in
        (vantagePoint ?? "unknown").withCString { vantagePoint in
          var options = udx_qlog_options_t()
          options.size = MemoryLayout<udx_qlog_options_t>.size
          options.path = path
          options.title = title
          options.vantage_point = vantagePoint
          return udx_qlog_open(udx, &options)
        }
      }
    }
    guard result == 0 else { throw TransportError(uv: result) }
  }

  /// Writes what is buffered and closes the file; nothing without one.
  public func closeTrace() { udx_qlog_close(udx, nil) }
}
