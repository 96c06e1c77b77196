// The names are those of hyperswarm.h.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

import CHyperswarm
import HyperEncoding
import HyperEnvironment
import HyperRuntime

/// What stands behind a `hyperswarm_verdict_t`: a question that the program answers when it can.
///
/// Everything but the handle is confined to the loop.
final class VerdictHandle: @unchecked Sendable {
  let swarm: SwarmHandle
  private let settle: (Int32) -> Void
  private var pointer: OpaquePointer?
  private var isAnswered = false
  private var deadline: (any ScheduledAction)?

  private init(_ swarm: SwarmHandle, _ settle: @escaping (Int32) -> Void) {
    self.swarm = swarm
    self.settle = settle
    pointer = Handles.verdicts.add(self)
  }

  /// Hands a new handle to `body`, which asks the program. `answer` is called once, with a refusal after a time.
  static func ask(_ swarm: SwarmHandle, _ answer: @escaping (Int32) -> Void, _ body: (OpaquePointer?) -> Void) {
    guard let environment = swarm.environment, !swarm.shared.withLock({ $0.isDestroying }) else {
      return answer(Int32(HYPERSWARM_REFUSE))
    }
    let verdict = VerdictHandle(swarm, answer)
    swarm.verdicts[ObjectIdentifier(verdict)] = verdict
    verdict.deadline = environment.schedule(after: Limits.verdict) { verdict.answer(Int32(HYPERSWARM_REFUSE)) }
    body(verdict.pointer)
  }

  func answer(_ answer: Int32) {
    guard !isAnswered else { return }
    isAnswered = true
    deadline?.cancel()
    deadline = nil
    Handles.verdicts.remove(pointer)
    swarm.verdicts[ObjectIdentifier(self)] = nil
    settle(answer)
  }
}

@c @implementation
public func hyperswarm_verdict_give(_ verdict: OpaquePointer?, _ answer: Int32) -> Int32 {
  checked { () throws(Failure) in
    let home = try find(Handles.verdicts, verdict).swarm.home
    guard [HYPERSWARM_ACCEPT, HYPERSWARM_REFUSE, HYPERSWARM_BAN].contains(Int(answer)) else {
      throw Failure(HYPERSWARM_ERR_INVALID_ARGUMENT)
    }
    try home.checkThread()
    guard let handle = Handles.verdicts.remove(verdict), home.run({ handle.answer(answer) }) else {
      throw Failure(HYPERSWARM_ERR_BAD_HANDLE)
    }
  }
}
