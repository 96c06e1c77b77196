import HyperDHTEngine
import HyperEncoding

#if Tracing
  import Tracing
#endif

/// A call that a trace shows as one span: its name, the key, topic or hash that it is about, and the command of a
/// protocol of the application's own.
package struct TracedCall: Sendable {
  package let name: String
  package let target: Bytes32?
  package let command: UInt64?

  package init(_ name: String, _ target: Bytes32? = nil, command: UInt64? = nil) {
    self.name = name
    self.target = target
    self.command = command
  }
}

/// A call whose answers come as a sequence, as one span: from the call until the search has ended, or its last reader
/// has let go of it. Used on the loop from then on. Nothing without the trait `Tracing`.
struct TracedSequence: @unchecked Sendable {
  #if Tracing
    private final class Running {
      var span: (any Tracing.Span)?
      var answers = 0

      init(_ span: any Tracing.Span) { self.span = span }

      func end(_ finish: (any Tracing.Span) -> Void) {
        guard let span else { return }
        self.span = nil
        span.attributes["hyper.answers"] = answers
        finish(span)
      }

      deinit { end { $0.end() } }
    }

    private let running: Running

    init(_ call: TracedCall) { running = Running(call.begin()) }

    func answered() { running.answers += 1 }

    func end(_ outcome: Result<Void, DHTError>) {
      running.end { span in
        if case .failure(let error) = outcome { span.end(error, code: error.code) } else { span.end() }
      }
    }
  #else
    init(_ call: TracedCall) {}
    func answered() {}
    func end(_ outcome: Result<Void, DHTError>) {}
  #endif
}

#if Tracing
  extension TracedCall {
    /// Begins the span, as a child of the task's. The tracer is the one of `InstrumentationSystem`.
    package func begin() -> any Tracing.Span {
      let span = startSpan(name, ofKind: .client)
      if let target { span.attributes["hyper.target"] = target.hex }
      if let command { span.attributes["hyper.command"] = Int64(clamping: command) }
      return span
    }
  }

  extension Tracing.Span {
    /// Ends the span of a call that has failed.
    package func end(_ error: any Error, code: String) {
      recordError(error)
      attributes["hyper.code"] = code
      setStatus(SpanStatus(code: .error, message: code))
      end()
    }
  }
#endif
