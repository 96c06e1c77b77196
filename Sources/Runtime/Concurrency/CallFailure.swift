/// Why a waiting call of this module ended without a result. The layer that owns the connection knows more: it replaces
/// `closed` by the reason that its `ClosingFlag` keeps.
package enum CallFailure: Error, Hashable, Sendable {
  /// The connection is closed, its writing half has ended, or the loop has ended.
  case closed
  /// The task that waited was cancelled.
  case cancelled
}
