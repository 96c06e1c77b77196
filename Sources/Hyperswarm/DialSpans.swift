#if Tracing
  import HyperEncoding
  import Tracing

  /// The swarm's dials as spans `hyperswarm.dial`, each from its start until the connection is open or the dial has
  /// failed. Confined to the loop; holds as many spans as there are dials at a time.
  final class DialSpans {
    private var running: [Bytes32: any Tracing.Span] = [:]

    func record(_ event: Hyperswarm.Event) {
      guard case .attempt(let attempt) = event else { return }
      if attempt.stage == .started {
        let span = startSpan("hyperswarm.dial", context: .topLevel, ofKind: .client)
        span.attributes["hyper.target"] = attempt.publicKey.hex
        running.updateValue(span, forKey: attempt.publicKey)?.end()
        return
      }
      // Another reason to dial the peer was passed over: nothing of a dial under way.
      if attempt.stage == .skipped { return }
      guard let span = running.removeValue(forKey: attempt.publicKey) else { return }
      if case .failed(let code, let description) = attempt.stage {
        span.attributes["hyper.code"] = code
        span.setStatus(SpanStatus(code: .error, message: description))
      }
      span.end()
    }

    deinit { for span in running.values { span.end() } }
  }
#endif
