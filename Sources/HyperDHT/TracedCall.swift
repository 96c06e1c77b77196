import HyperEncoding

#if Tracing
  import Tracing
#endif

/// A call that a trace shows as one span: its name, and the key, topic or hash that it is about.
package struct TracedCall: Sendable {
  package let name: String
  package let target: Bytes32?

  package init(_ name: String, _ target: Bytes32? = nil) {
    self.name = name
    self.target = target
  }
}

#if Tracing
  extension TracedCall {
    /// Begins the span, as a child of the task's. The tracer is the one of `InstrumentationSystem`.
    package func begin() -> any Tracing.Span {
      let span = startSpan(name, ofKind: .client)
      if let target { span.attributes["hyper.target"] = target.hex }
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
