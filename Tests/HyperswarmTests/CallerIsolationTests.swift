import Dispatch
import HyperDHT
import HyperRuntime
import Synchronization
import XCTest

/// Calls run where their caller does (SE-0461): one that need not wait costs no change of threads, and one that waits
/// costs the way back alone.
final class CallerIsolationTests: XCTestCase {
  private final class CountingExecutor: SerialExecutor {
    let jobs = Atomic(0)
    private let queue = DispatchQueue(label: "caller")

    func enqueue(_ job: consuming ExecutorJob) {
      jobs.add(1, ordering: .relaxed)
      let job = UnownedJob(job)
      queue.async { job.runSynchronously(on: self.asUnownedSerialExecutor()) }
    }
  }

  private actor Caller {
    nonisolated let executor = CountingExecutor()
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    /// Jobs that `body` has cost this actor.
    func jobs(_ body: @Sendable (isolated Caller) async throws -> Void) async rethrows -> Int {
      let before = executor.jobs.load(ordering: .relaxed)
      try await body(self)
      return executor.jobs.load(ordering: .relaxed) - before
    }
  }

  func testCallsRunWhereTheirCallerDoes() async throws {
    let testnet = try await HyperDHT.Testnet(size: 3)
    var options = HyperDHT.Options()
    options.bootstrap = testnet.bootstrap
    options.host = .loopback
    let listening = try await HyperDHT(options)
    let client = try await HyperDHT(options)
    let server = try await listening.listen()
    let connection = try await client.connect(to: server.publicKey)
    let accepted = try await server.accept()
    let peer = try XCTUnwrap(accepted)
    try await peer.write("first")
    let first = try await connection.read()
    XCTAssertEqual(first.map { String(decoding: $0, as: UTF8.self) }, "first")

    let caller = Caller()
    let writes = try await caller.jobs { _ in
      for _ in 0..<100 { try await connection.write([1, 2, 3]) }
    }
    XCTAssertEqual(writes, 0, "a write that has room stays with its caller")
    try await connection.flush()
    let received = try await caller.jobs { _ in
      for _ in 0..<100 { _ = try await peer.read() }
    }
    XCTAssertLessThanOrEqual(received, 100, "one for each read that waits")
    let asked = await caller.jobs { _ in
      for _ in 0..<10 { _ = await connection.statistics() }
    }
    XCTAssertLessThanOrEqual(asked, 10, "the way back from the loop")
    await client.destroy()
    await listening.destroy()
    await testnet.destroy()
  }
}
