import XCTest

@testable import HyperDHT

/// What request and response put on the wire.
final class EchoPacketsTests: XCTestCase {
  /// What a task on the loop answers leaves in the turn in which the request came, and acknowledges it: of 300 messages
  /// few have a datagram for their acknowledgement alone (all of them, if it left before the task ran).
  func testWhatATaskOnTheLoopAnswersAcknowledges() async throws {
    let testnet = try await HyperDHT.Testnet(size: 3)
    let options = HyperDHT.Options(bootstrap: testnet.bootstrap, port: 0, host: .loopback)
    let (a, b) = (try await HyperDHT(options), try await HyperDHT(options))
    let server = try await a.listen()
    let own = try await b.connect(to: server.publicKey)
    let accepted = try await server.accept()
    let theirs = try XCTUnwrap(accepted)
    let count = 300
    let echo = Task(executorPreference: theirs.loop) {
      for _ in 0..<count {
        guard let message = try await theirs.read() else { return }
        try await theirs.write(message)
      }
    }
    let before = (await acknowledgements(a), await acknowledgements(b))
    try await Task(executorPreference: own.loop) {
      for _ in 0..<count {
        try await own.write([1, 2, 3])
        let answer = try await own.read()
        XCTAssertEqual(answer, [1, 2, 3])
      }
    }.value
    try await echo.value
    let after = (await acknowledgements(a), await acknowledgements(b))
    XCTAssertLessThan(after.0 - before.0, Double(count / 4))
    XCTAssertLessThan(after.1 - before.1, Double(count / 4))
    await a.destroy()
    await b.destroy()
    await testnet.destroy()
  }

  private func acknowledgements(_ node: HyperDHT) async -> Double {
    await node.metricValues().first { $0.name == "udx_acks_transmitted" }?.value ?? 0
  }
}
