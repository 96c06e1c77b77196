#if os(Linux)
  import Foundation
  import HyperDHTEngine
  import HyperEncoding
  import HyperEnvironment
  import HyperRPC
  import HyperRuntime
  import HyperUDX
  import XCTest

  /// Outages over real sockets, between two network namespaces that the test makes. Skipped where that is not allowed.
  final class UplinkTests: XCTestCase {
    private final class State: @unchecked Sendable {
      var error: (any Error)?
      var thread: pid_t = 0
      var loop: UVEventLoop?
    }

    /// On the calling thread.
    private static func run(_ line: String, input: String? = nil) throws {
      var process = pid_t()
      let shell = input.map { "printf '\($0)' | \(line)" } ?? line
      let texts: [String] = ["sh", "-c", shell + " 2>/dev/null"]
      var words: [UnsafeMutablePointer<CChar>?] = texts.map { strdup($0) }
      defer { for word in words { free(word) } }
      words.append(nil)
      guard posix_spawnp(&process, "sh", nil, nil, words, environ) == 0 else { throw XCTSkip("no shell") }
      var status: Int32 = 0
      waitpid(process, &status, 0)
      if status != 0 { throw XCTSkip("not possible here: \(line)") }
    }

    private static func enterNamespace() throws {
      // CLONE_NEWNET
      guard let unshare = dlsym(nil, "unshare"),
        unsafeBitCast(unshare, to: (@convention(c) (Int32) -> Int32).self)(0x4000_0000) == 0
      else {
        throw XCTSkip("no network namespace: errno \(errno); needs CAP_SYS_ADMIN")
      }
      try run("ip link set lo up")
    }

    /// A network of four nodes on 10.9.0.2 in a namespace of its own, and `body` on a thread in another one, with the
    /// uplink v0 (10.9.0.1) between them.
    private func withUplink(_ body: @escaping @Sendable (_ bootstrap: Endpoint) throws -> Void) throws {
      let far = State()
      let near = State()
      let isUp = DispatchSemaphore(value: 0)
      let isLinked = DispatchSemaphore(value: 0)
      let isReady = DispatchSemaphore(value: 0)
      let isOver = [DispatchSemaphore(value: 0), DispatchSemaphore(value: 0)]
      let bootstrap = Endpoint(host: IPv4Address(10, 9, 0, 2), port: 49_737)
      Thread {
        defer { isOver[0].signal() }
        do {
          try Self.enterNamespace()
          guard let gettid = dlsym(nil, "gettid") else { throw XCTSkip("no thread ids") }
          far.thread = unsafeBitCast(gettid, to: (@convention(c) () -> pid_t).self)()
          isUp.signal()
          isLinked.wait()
          try Self.run("ip addr add 10.9.0.2/24 dev v1 && ip link set v1 up")
          let loop = try UVEventLoop()
          far.loop = loop
          let environment = try UVEnvironment(loop: loop)
          let testnet = Testnet(environment: environment, size: 4, host: bootstrap.host, port: bootstrap.port)
          testnet.start { _ in isReady.signal() }
          _ = loop.addShutdownHook { closed in testnet.destroy { environment.close { closed() } } }
          loop.run()
        } catch {
          far.error = error
          isUp.signal()
          isReady.signal()
        }
      }.start()
      isUp.wait()
      if let error = far.error { throw error }
      Thread {
        defer { isOver[1].signal() }
        do {
          try Self.enterNamespace()
          defer { isLinked.signal() }
          try Self.run("ip link add v0 type veth peer name v1 netns \(far.thread)")
          try Self.run("ip addr add 10.9.0.1/24 dev v0 && ip link set v0 up")
          try Self.run("ip route add default via 10.9.0.2")
          isLinked.signal()
          isReady.wait()
          if far.error == nil { try body(bootstrap) }
        } catch {
          near.error = error
        }
      }.start()
      isOver[1].wait()
      far.loop?.beginShutdown(nil)
      isOver[0].wait()
      if let error = near.error ?? far.error { throw error }
    }

    /// Milliseconds from the end of the outage until a node has answered.
    private static func outage(
      _ bootstrap: Endpoint, seconds: UInt64, begin: String, end: String, input: String? = nil
    ) throws -> UInt64 {
      let loop = try UVEventLoop()
      let environment = try UVEnvironment(loop: loop)
      let node = DHTNode(environment: environment, options: DHTOptions(bootstrap: [.endpoint(bootstrap)], port: 0))
      var result: UInt64 = .max
      var failure: (any Error)?
      var back: UInt64?
      node.start()
      func finish() { node.destroy(force: true) { environment.close { loop.beginShutdown(nil) } } }
      node.onNetworkState.add { state in
        guard state == .online, let began = back else { return }
        back = nil
        result = (loop.now - began) / 1000
        finish()
      }
      node.whenBootstrapped { _ in
        XCTAssertTrue(node.rpc.isOnline)
        do { try run(begin, input: input) } catch { failure = error }
        // An application that goes on asking.
        for second in 0..<seconds / 2 {
          _ = loop.schedule(after: second * 2000) { node.lookup(Bytes32(repeating: 7)).start() }
        }
        _ = loop.schedule(after: seconds * 1000) {
          if failure == nil { XCTAssertTrue(node.rpc.isOffline) }
          do { try run(end) } catch { failure = failure ?? error }
          back = loop.now
          if failure != nil { return finish() }
          _ = loop.schedule(after: 20_000) { if back != nil { finish() } }
        }
      }
      loop.run()
      if let failure { throw failure }
      return result
    }

    func testBackWithinASecond() throws {
      try withUplink { bootstrap in
        let link = try Self.outage(
          bootstrap, seconds: 12, begin: "ip link set v0 down",
          end: "ip link set v0 up && ip route add default via 10.9.0.2")
        print("the interface was down for 12 s: a node has answered after \(link) ms")
        XCTAssertLessThanOrEqual(link, 1100)
        // Nothing tells the system of this one.
        let silent = try Self.outage(
          bootstrap, seconds: 15, begin: "nft -f -", end: "nft delete table ip l",
          input: "table ip l { chain o { type filter hook output priority 0; drop; }; }")
        print("packets were lost for 15 s: a node has answered after \(silent) ms")
        XCTAssertLessThanOrEqual(silent, 1100)
      }
    }
  }
#endif
