import HyperEncoding

/// Which of two connections with the same peer survives (hyperswarm.md 7.1). Evaluated by the node that accepts
/// `new`; both ends must reach the same decision, so this is the one policy that is part of the protocol.
package enum DuplicateRule {
  package enum Decision: Sendable { case keepOld, keepNew }

  package static func decide(
    localKey: Bytes32, remoteKey: Bytes32, oldBytesRead: UInt64, oldBytesWritten: UInt64
  ) -> Decision {
    if isOutdated(bytesRead: oldBytesRead, bytesWritten: oldBytesWritten) { return .keepNew }
    // The node with the larger key is the elected dialler, and the remote dialled `new`.
    return localKey < remoteKey ? .keepNew : .keepOld
  }

  /// A connection that has carried a message each way was complete on both ends once: a peer that dials again has lost
  /// it.
  package static func isOutdated(bytesRead: UInt64, bytesWritten: UInt64) -> Bool {
    bytesRead > 0 && bytesWritten > 0
  }
}
