import HyperEncoding
import HyperRuntime
import Synchronization
import XCTest

@testable import HyperDHT

/// Firewalls of applications that take their time, or hang.
final class HookQuestionTests: XCTestCase {
  /// Bounds of the questions, and of the tasks that have not returned.
  private static let places = 256
  private static let tasks = 4 * places

  private final class Answers: Sendable {
    let refused = Atomic(0)
    let accepted = Atomic(0)
  }

  private static func settle(_ answers: Answers) -> (Bool) -> Void {
    { isAccepted in
      if isAccepted {
        answers.accepted.add(1, ordering: .relaxed)
      } else {
        answers.refused.add(1, ordering: .relaxed)
      }
    }
  }

  private func run(_ loop: UVEventLoop, _ body: @escaping @Sendable () -> Void) async {
    _ = await onLoop(loop) { body() }
  }

  private func wait(_ what: String, _ isThere: @escaping @Sendable () async -> Bool) async {
    for _ in 0..<1000 {
      if await isThere() { return }
      try? await Task.sleep(for: .milliseconds(10))
    }
    XCTFail(what)
  }

  /// Two hosts ask by the thousand, and the hook answers none of them: a third host has its answer.
  func testAHangingHookCostsItsPlaces() async throws {
    let loop = try UVEventLoop.startThread()
    let questions = LoopBound(HookQuestions(loop: loop, refusal: false, within: 60_000))
    let (strangers, friend) = (Answers(), Answers())
    func flood() async {
      for number in 0..<1000 {
        await run(loop) {
          questions.value.ask(
            IPv4Address(99, 0, 0, UInt8(number % 2)), { (try? await Task.sleep(for: .seconds(600))) != nil },
            Self.settle(strangers))
        }
      }
    }
    await flood()
    await run(loop) {
      questions.value.ask(
        IPv4Address(99, 0, 0, 7), { (try? await Task.sleep(for: .milliseconds(50))) != nil }, Self.settle(friend))
    }
    await flood()
    await wait("an answer") { friend.accepted.load(ordering: .relaxed) == 1 }
    XCTAssertEqual(friend.refused.load(ordering: .relaxed), 0)
    // Those that made room were told to end.
    await wait("tasks end") { await (onLoop(loop) { questions.value.taskCount } ?? 0) <= Self.places }
    let open = await onLoop(loop) { questions.value.count }
    XCTAssertLessThanOrEqual(open ?? 0, Self.places)
    XCTAssertEqual(strangers.accepted.load(ordering: .relaxed), 0)
    XCTAssertGreaterThanOrEqual(strangers.refused.load(ordering: .relaxed), 2000 - Self.places)
    await loop.shutdown()
  }

  func testNoAnswerIsARefusalAndEndsTheTask() async throws {
    let loop = try UVEventLoop.startThread()
    let questions = LoopBound(HookQuestions(loop: loop, refusal: false, within: 20))
    let answers = Answers()
    await run(loop) {
      questions.value.ask(nil, { (try? await Task.sleep(for: .seconds(600))) != nil }, Self.settle(answers))
    }
    await wait("a refusal") { answers.refused.load(ordering: .relaxed) == 1 }
    await wait("the task ends") { await onLoop(loop) { questions.value.taskCount } == 0 }
    await loop.shutdown()
  }

  /// A hook that does not look at its cancellation: its tasks are counted, and from a bound on no peer is asked about.
  func testTasksThatDoNotEndAreBounded() async throws {
    let loop = try UVEventLoop.startThread()
    let questions = LoopBound(HookQuestions(loop: loop, refusal: false, within: 60_000))
    let answers = Answers()
    let (ends, end) = AsyncStream<Void>.makeStream()
    let gate = Task.detached { for await _ in ends {} }
    for _ in 0..<Self.tasks + 50 {
      await run(loop) {
        questions.value.ask(
          nil,
          {
            await gate.value
            return true
          }, Self.settle(answers))
      }
    }
    let count = await onLoop(loop) { questions.value.taskCount }
    XCTAssertEqual(count, Self.tasks)
    end.finish()
    await wait("all return") { await onLoop(loop) { questions.value.taskCount } == 0 }
    await loop.shutdown()
  }
}
