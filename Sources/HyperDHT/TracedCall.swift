import HyperDHTEngine
import HyperEncoding
import HyperEnvironment

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

extension TracedCall {
  /// Awaits a call as a span; without the trait `Tracing` as it is.
  package nonisolated(nonsending) func run<T, E: Error>(
    _ body: nonisolated(nonsending) () async throws(E) -> T
  ) async throws(E) -> T {
    #if Tracing
      let span = begin()
      do throws(E) {
        let value = try await body()
        span.end()
        return value
      } catch {
        span.end(error, code: (error as? any CodedError)?.code ?? "\(error)")
        throw error
      }
    #else
      return try await body()
    #endif
  }
}

/// What goes on after its call has returned, as one span: a search, from the call until it has ended or its last reader
/// has let go of it; a dial, until the connection is open or has failed. Used on the loop from then on. Nothing without
/// the trait `Tracing`.
struct TracedProcess: @unchecked Sendable {
  #if Tracing
    private final class Running {
      var span: (any Tracing.Span)?
      /// `nil` where there are none to count.
      var answers: Int?

      init(_ span: any Tracing.Span, answers: Int?) {
        self.span = span
        self.answers = answers
      }

      func end(_ finish: (any Tracing.Span) -> Void) {
        guard let span else { return }
        self.span = nil
        if let answers { span.attributes["hyper.answers"] = answers }
        finish(span)
      }

      deinit { end { $0.end() } }
    }

    private let running: Running

    init(_ call: TracedCall, countsAnswers: Bool = true) {
      running = Running(call.begin(), answers: countsAnswers ? 0 : nil)
    }

    func answered() { running.answers? += 1 }

    func end(_ outcome: Result<Void, DHTError>) {
      running.end { span in
        if case .failure(let error) = outcome { span.end(error, code: error.code) } else { span.end() }
      }
    }
  #else
    init(_ call: TracedCall, countsAnswers: Bool = true) {}
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
