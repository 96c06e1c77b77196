import CHyperswarmChecks
import Dispatch
import HyperDHT
import HyperEncoding
import HyperProtomux
import HyperRuntime
import XCTest

/// The conversation with a peer of the C library on either side, in this process.
final class CPeerTests: XCTestCase {
  private let seed = [UInt8](repeating: 9, count: 32)

  private func options(_ testnet: HyperDHT.Testnet) -> HyperDHT.Options {
    HyperDHT.Options(bootstrap: testnet.bootstrap, port: 0, host: .loopback)
  }

  /// A thread of the C side; the number of its failures.
  private func onThread(_ body: @escaping @Sendable () -> Int32) -> Task<Int32, Never> {
    Task {
      await withCheckedContinuation { continuation in
        DispatchQueue.global().async { continuation.resume(returning: body()) }
      }
    }
  }

  func testCAsks() async throws {
    let testnet = try await HyperDHT.Testnet(size: 4)
    let node = try await HyperDHT(options(testnet))
    let server = try await node.listen()
    let answering = Task {
      for await connection in server.connections {
        let mux = Protomux(connection)
        try ProtomuxConversation.answer(mux)
        return try await mux.closed()
      }
      return nil
    }
    let (entrance, key) = (testnet.bootstrap.joined(separator: ","), server.publicKey.bytes)
    let failures = await onThread { protomux_ask(entrance, key) }.value
    XCTAssertEqual(failures, 0)
    let reason = try await answering.value
    XCTAssertNil(reason)
    await node.destroy()
    await testnet.destroy()
  }

  func testCAnswers() async throws {
    let testnet = try await HyperDHT.Testnet(size: 4)
    let entrance = testnet.bootstrap.joined(separator: ",")
    let seed = seed
    let (listening, continuation) = AsyncStream.makeStream(of: Void.self)
    let listens = LoopBound(Unmanaged.passRetained(Started(continuation)).toOpaque())
    let answering = onThread {
      protomux_answer(entrance, seed, { Unmanaged<Started>.fromOpaque($0!).takeRetainedValue().say() }, listens.value)
    }
    for await _ in listening { break }
    let node = try await HyperDHT(options(testnet))
    let key = HyperDHT.keyPair(seed: try XCTUnwrap(Bytes32(seed))).publicKey
    let mux = Protomux(try await node.connect(to: key))
    try await ProtomuxConversation.ask(mux)
    await mux.close()
    let failures = await answering.value
    XCTAssertEqual(failures, 0)
    await node.destroy()
    await testnet.destroy()
  }

  private final class Started: Sendable {
    private let continuation: AsyncStream<Void>.Continuation

    init(_ continuation: AsyncStream<Void>.Continuation) { self.continuation = continuation }

    func say() { continuation.yield(()) }
  }
}
