import HyperCollections
import HyperEncoding
import HyperEnvironment
import HyperRuntime

/// Questions to a hook of the application about peers that have come. Confined to the loop.
///
/// There is a bounded number of them. One that has no answer after a while is refused, and its task is cancelled; where
/// there are too many, the oldest of the host that has most is, so that peers that come by the thousand wait for each
/// other only. A hook that does not look at its cancellation, and never returns, costs its task: of those there is a
/// bounded number, too, from which on everyone is refused.
package final class HookQuestions<Answer: Sendable> {
  private struct Question {
    let host: IPv4Address
    let settle: (Answer) -> Void
    var task: Task<Void, Never>?
    var deadline: (any ScheduledAction)?
  }

  private let loop: UVEventLoop
  private let refusal: Answer
  private let time: UInt64
  private var open: [UInt64: Question] = [:]
  private var hosts = HostQueue()
  private var next: UInt64 = 0
  /// Tasks that have not returned.
  package private(set) var taskCount = 0
  package var count: Int { open.count }

  /// - Parameter time: milliseconds for an answer.
  package init(loop: UVEventLoop, refusal: Answer, within time: UInt64) {
    self.loop = loop
    self.refusal = refusal
    self.time = time
  }

  /// Calls `settle` exactly once, as long as the loop runs.
  package func ask(
    _ host: IPv4Address?, _ hook: @escaping @Sendable () async -> Answer, _ settle: @escaping (Answer) -> Void
  ) {
    if open.count >= Limits.hookQuestions, let heaviest = hosts.heaviest { finish(heaviest.oldest, refusal) }
    guard taskCount < Limits.hookTasks else { return settle(refusal) }
    let number = next
    next += 1
    let host = host ?? .any
    taskCount += 1
    open[number] = Question(host: host, settle: settle)
    hosts.insert(number, of: host)
    let (loop, questions) = (loop, LoopBound(self))
    open[number]?.task = Task(executorPreference: loop) {
      let answer = await hook()
      loop.post {
        questions.value.taskCount -= 1
        questions.value.finish(number, answer)
      }
    }
    open[number]?.deadline = loop.schedule(after: time) { [weak self] in
      if let self { finish(number, refusal) }
    }
  }

  private func finish(_ number: UInt64, _ answer: Answer) {
    guard let question = open.removeValue(forKey: number) else { return }
    hosts.remove(number, of: question.host)
    question.deadline?.cancel()
    question.task?.cancel()
    question.settle(answer)
  }
}
