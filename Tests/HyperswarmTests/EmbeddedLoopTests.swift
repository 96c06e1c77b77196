import CHyperUV
import HyperDHT
import HyperRuntime
import Hyperswarm
import XCTest

/// A whole stack on a `uv_loop_t` that the application runs itself.
final class EmbeddedLoopTests: XCTestCase {
  func testTheLoopOfTheApplicationRunsEverythingAndEnds() throws {
    let uv = UnsafeMutablePointer<uv_loop_t>.allocate(capacity: 1)
    defer { uv.deallocate() }
    XCTAssertEqual(uv_loop_init(uv), 0)
    let loop = try UVEventLoop(embeddedIn: uv)
    let done = expectation(description: "the task is over")
    let text = Box<String>()
    Task(executorPreference: loop) {
      do {
        let testnet = try await HyperDHT.Testnet(size: 3, loop: loop)
        var options = Hyperswarm.Options(bootstrap: testnet.bootstrap, loop: loop)
        options.dhtOptions.host = .loopback
        let a = try await Hyperswarm(options)
        let b = try await Hyperswarm(options)
        let topic = Hyperswarm.topic("embedded")
        _ = try await a.join(topic, client: false).flushed()
        try await b.join(topic, server: false)
        let connection = try await first(b.connections)
        try await connection.write("embedded hello")
        let other = try await first(a.connections)
        text.value = try await other.read().map { String(decoding: $0, as: UTF8.self) }
        await a.destroy()
        await b.destroy()
        await testnet.destroy()
      } catch {
        text.value = "\(error)"
      }
      await loop.shutdown()
      done.fulfill()
    }
    // Returns by itself: nothing of ours keeps it once all is destroyed.
    uv_run(uv, UV_RUN_DEFAULT)
    wait(for: [done], timeout: 10)
    XCTAssertEqual(text.value, "embedded hello")
    XCTAssertEqual(uv_loop_close(uv), 0)
  }
}

final class Box<Value>: @unchecked Sendable {
  private let lock = NSLock()
  private var content: Value?

  init(_ value: Value? = nil) { content = value }

  func change(_ body: (inout Value) -> Void) { lock.withLock { if content != nil { body(&content!) } } }

  var value: Value? {
    get { lock.withLock { content } }
    set { lock.withLock { content = newValue } }
  }
}
