#if Logging
  import HyperDHT
  import HyperEncoding
  import HyperRuntime
  import HyperswarmEngine
  import Logging

  /// What happens in a swarm, as lines of its logger.
  struct SwarmLog: Sendable {
    let logger: Logger

    /// Joins the logger with what the swarm does, on the loop, behind the swarm's own observers.
    func observe(_ engine: SwarmEngine, _ observers: EventObservers<Hyperswarm.Event>) {
      observers.listeners.append(record)
      let deliver = engine.onConnection
      engine.onConnection = { stream, info in
        let (publicKey, isInitiator) = (info.publicKey, stream.isInitiator)
        opened(publicKey, isInitiator: isInitiator)
        deliver?(stream, info)
        let close = stream.onClose
        stream.onClose = { error in
          close?(error)
          closed(publicKey, isInitiator: isInitiator, code: error?.code)
        }
      }
    }

    func record(_ event: Hyperswarm.Event) {
      switch event {
      case .attempt(let attempt): record(attempt)
      case .banned(let publicKey, let reason):
        logger.notice("peer: banned, \(reason)", metadata: [HyperDHT.LogKey.peer: "\(publicKey.hex)"])
      case .topic(let publicKey, let topic):
        logger.debug(
          "peer: found under a further topic",
          metadata: [HyperDHT.LogKey.peer: "\(publicKey.hex)", HyperDHT.LogKey.topic: "\(topic.hex)"])
      // The node's logger says the latter.
      case .update, .network: break
      }
    }

    private func record(_ attempt: Hyperswarm.Attempt) {
      var metadata: Logger.Metadata {
        var metadata: Logger.Metadata = [HyperDHT.LogKey.peer: "\(attempt.publicKey.hex)"]
        if let retry = attempt.nextRetry { metadata[HyperDHT.LogKey.retry] = "\(retry.wholeMilliseconds)" }
        return metadata
      }
      switch attempt.stage {
      case .started: logger.trace("dial: started", metadata: metadata)
      case .skipped: logger.trace("dial: not needed", metadata: metadata)
      case .failed(let code, let description):
        logger.debug(
          "dial: failed, \(description)", metadata: metadata.merging([HyperDHT.LogKey.code: "\(code)"]) { $1 })
      // The lines of connections, of both roles, say these.
      case .opened, .closed: break
      }
    }

    private func opened(_ publicKey: Bytes32, isInitiator: Bool) {
      logger.debug("connection: open", metadata: metadata(publicKey, isInitiator))
    }

    /// - `code`: `nil` for a regular end.
    private func closed(_ publicKey: Bytes32, isInitiator: Bool, code: String?) {
      var metadata = metadata(publicKey, isInitiator)
      if let code { metadata[HyperDHT.LogKey.code] = "\(code)" }
      logger.debug("connection: closed", metadata: metadata)
    }

    private func metadata(_ publicKey: Bytes32, _ isInitiator: Bool) -> Logger.Metadata {
      [HyperDHT.LogKey.peer: "\(publicKey.hex)", HyperDHT.LogKey.role: isInitiator ? "client" : "server"]
    }
  }
#endif
