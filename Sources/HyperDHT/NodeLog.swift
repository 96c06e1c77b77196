#if Logging
  import HyperEncoding
  import Logging

  extension HyperDHT {
    /// Keys of the metadata on log lines of nodes and swarms. Values are strings; a line has those that apply.
    public enum LogKey {
      /// Public key of the peer, 64 hexadecimal digits.
      public static let peer = "hyper.peer"
      /// Topic, 64 hexadecimal digits.
      public static let topic = "hyper.topic"
      /// Our public address: `host:port`, `host` alone, or `unknown`.
      public static let address = "hyper.address"
      /// The public address before.
      public static let oldAddress = "hyper.address.old"
      /// Stable code of an error, as `ConnectionError.code`.
      public static let code = "hyper.code"
      /// `client` for a connection that this side has dialled, `server` for an incoming one.
      public static let role = "hyper.role"
      /// Milliseconds until the next dial.
      public static let retry = "hyper.retry-ms"
    }
  }

  /// What happens to a node, as lines of its logger: a few an hour once it has entered the network.
  struct NodeLog: Sendable {
    let logger: Logger

    func record(_ event: HyperDHT.Event) {
      switch event {
      case .ready: logger.debug("node: entering the network has ended")
      case .persistent: logger.info("node: permanent member of the network")
      case .ephemeral: logger.info("node: no permanent member of the network any more")
      case .natChanged(let host, let port):
        let address = host.map { port == 0 ? "\($0)" : "\(Endpoint(host: $0, port: port))" } ?? "unknown"
        logger.info("node: seen under another address", metadata: [HyperDHT.LogKey.address: "\(address)"])
      case .addressChanged(let old, let new):
        logger.notice(
          "node: public address changed",
          metadata: [
            HyperDHT.LogKey.address: "\(new?.description ?? "unknown")",
            HyperDHT.LogKey.oldAddress: "\(old.description)",
          ])
      case .networkChanged: logger.info("network: changed")
      case .networkUpdated: break
      case .online: logger.notice("network: it answers")
      case .offline: logger.warning("network: no node answers")
      case .wakeup: logger.info("node: awake again")
      case .suspended: logger.info("node: suspended")
      case .resumed: logger.info("node: resumed")
      case .closed: logger.debug("node: destroyed")
      }
    }
  }
#endif
