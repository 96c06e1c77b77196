import HyperEncoding
import HyperFileTransfer
import Synchronization

/// The code of a sender: any number of receivers may know it, and one wrong guess ends it. Receivers that have proved
/// that they know it may come back.
final class CodeGate: Sendable {
  let code: TransferCode
  private let state = Mutex<(isOver: Bool, admitted: Set<Bytes32>)>((false, []))

  init(_ code: TransferCode) { self.code = code }

  var isOver: Bool { state.withLock { $0.isOver } }
  var hasAdmitted: Bool { state.withLock { !$0.admitted.isEmpty } }

  func lets(_ peer: Bytes32) -> Bool { state.withLock { !$0.isOver || $0.admitted.contains(peer) } }

  /// Decides a guess. Of two at the same time only one can be the first: a wrong one ends the code for the other, too.
  func judge(_ peer: Bytes32, isRight: Bool) -> Bool {
    state.withLock { state in
      guard isRight else {
        state.isOver = true
        return false
      }
      guard !state.isOver || state.admitted.contains(peer) else { return false }
      // Bounded by what one process can serve.
      state.admitted.insert(peer)
      return true
    }
  }
}
