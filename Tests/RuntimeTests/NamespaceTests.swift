#if os(Linux)
  import Foundation
  import HyperEncoding
  import HyperEnvironment
  import XCTest

  @testable import HyperRuntime

  /// Changes of interfaces and routes in a network namespace that the test makes. Skipped where that is not allowed.
  final class NamespaceTests: XCTestCase {
    /// What a thread in a namespace of its own works with.
    struct Namespace {
      /// The calling thread gets a network of its own.
      static func enter() -> Bool {
        guard let function = dlsym(nil, "unshare") else { return false }
        // CLONE_NEWNET
        return unsafeBitCast(function, to: (@convention(c) (Int32) -> Int32).self)(0x4000_0000) == 0
      }

      /// Runs `ip` in the namespace.
      func ip(_ arguments: String) throws {
        var process = pid_t()
        var words = (["ip"] + arguments.split(separator: " ").map(String.init)).map { strdup($0) }
        defer { for word in words { free(word) } }
        words.append(nil)
        let result = posix_spawnp(&process, "ip", nil, nil, words, environ)
        guard result == 0 else { throw XCTSkip("cannot run ip: errno \(result)") }
        var status: Int32 = 0
        waitpid(process, &status, 0)
        if status != 0 { throw CocoaError(.featureUnsupported, userInfo: ["ip": arguments]) }
      }
    }

    private final class Outcome: @unchecked Sendable {
      var error: (any Error)?
    }

    /// Runs `body` on a thread in a namespace with loopback and an uplink v0: 10.9.0.1/24, gateway 10.9.0.2.
    private func inNamespace(_ body: @escaping @Sendable (Namespace) throws -> Void) throws {
      let outcome = Outcome()
      let done = DispatchSemaphore(value: 0)
      let thread = Thread {
        defer { done.signal() }
        guard Namespace.enter() else {
          outcome.error = XCTSkip("no network namespace: errno \(errno); needs CAP_SYS_ADMIN")
          return
        }
        do {
          let namespace = Namespace()
          try namespace.ip("link set lo up")
          do {
            try namespace.ip("link add v0 type veth peer name v1")
          } catch is CocoaError {
            throw XCTSkip("the kernel makes no veth pair")
          }
          try namespace.ip("addr add 10.9.0.1/24 dev v0")
          try namespace.ip("link set v0 up")
          try namespace.ip("link set v1 up")
          try namespace.ip("route add default via 10.9.0.2")
          try body(namespace)
        } catch {
          outcome.error = error
        }
      }
      thread.start()
      done.wait()
      if let error = outcome.error { throw error }
    }

    /// Milliseconds from the change until the watch reports it, for each change.
    private static func times(
      every milliseconds: UInt64, hearsEvents: Bool, changes: [String], in namespace: Namespace
    ) throws -> [UInt64] {
      var times: [UInt64] = []
      var failure: (any Error)?
      let loop = try UVEventLoop()
      loop.hearsInterfaceEvents = hearsEvents
      var changedAt: UInt64?
      var left = changes[...]
      var watch: (any ScheduledAction)?
      func next() {
        guard let change = left.popFirst(), failure == nil else {
          watch?.cancel()
          return loop.beginShutdown(nil)
        }
        changedAt = loop.now
        do { try namespace.ip(change) } catch { failure = error }
        _ = loop.schedule(after: 2500) {
          if changedAt != nil { times.append(.max) }
          next()
        }
      }
      watch = loop.watchInterfaces(every: milliseconds) { _ in
        guard let began = changedAt else { return }
        changedAt = nil
        times.append((loop.now - began) / 1000)
      }
      _ = loop.schedule(after: 200) { next() }
      loop.run()
      if let failure { throw failure }
      return times
    }

    func testChangesAreNoticedAtOnce() throws {
      try inNamespace { namespace in
        let changes = [
          "addr add 10.9.7.1/24 dev v0", "addr del 10.9.7.1/24 dev v0", "route del default",
          "route add default via 10.9.0.3", "route add 44.0.0.0/8 via 10.9.0.3", "rule add from 10.9.0.1 table 77",
          "link set v1 down", "link set v1 up", "link set v0 down",
        ]
        // Polling comes too late to be the source.
        let times = try Self.times(every: 60_000, hearsEvents: true, changes: changes, in: namespace)
        print("changes are noticed after \(times) ms")
        XCTAssertEqual(times.count, changes.count)
        for (change, time) in zip(changes, times) { XCTAssertLessThan(time, 1000, change) }
      }
    }

    func testPollingIsTheFallback() throws {
      try inNamespace { namespace in
        let changes = ["addr add 10.9.7.1/24 dev v0", "addr del 10.9.7.1/24 dev v0", "link set v0 down"]
        let times = try Self.times(every: 1000, hearsEvents: false, changes: changes, in: namespace)
        print("polling notices after \(times) ms")
        XCTAssertEqual(times.count, changes.count)
        for (change, time) in zip(changes, times) { XCTAssertLessThan(time, 1100, change) }
      }
    }

    /// Foreign interfaces leave the ways as they are, real changes do not.
    func testRoutesTellForeignChangesFromRealOnes() throws {
      try inNamespace { namespace in
        let far = IPv4Address(8, 8, 8, 8)
        let hosts = [far, IPv4Address(10, 9, 0, 2), .loopback, IPv4Address(10, 9, 0, 1)]
        func routes() -> [Route?] { UVEventLoop.routes(to: hosts) ?? [] }
        // The kernel takes its time to tell the other end of a link, a second and more on a busy machine.
        func wait(until isSettled: () -> Bool) {
          let deadline = ContinuousClock.now + .seconds(10)
          while !isSettled(), ContinuousClock.now < deadline { sched_yield() }
        }
        let home = IPv4Address(10, 9, 0, 1)
        wait { routes().allSatisfy { $0 != nil } }
        let before = routes()
        XCTAssertEqual(before.map { $0?.source }, [home, home, .loopback, home])
        XCTAssertEqual(before.map { $0?.gateway }, [IPv4Address(10, 9, 0, 2), .any, .any, .any])
        XCTAssertNotEqual(before[0]?.interface, 0)
        for foreign in [
          "link add c0 type veth peer name c1", "addr add 172.17.0.1/16 dev c0", "link set c0 up", "link set c1 up",
          "addr add 10.9.0.9/24 dev v0", "addr del 10.9.0.9/24 dev v0", "link del c0",
        ] {
          try namespace.ip(foreign)
          XCTAssertEqual(routes(), before, foreign)
        }
        // Another gateway behind the same address: another NAT.
        try namespace.ip("route replace default via 10.9.0.3")
        XCTAssertNotEqual(routes()[0], before[0])
        XCTAssertEqual(Array(routes()[1...]), Array(before[1...]))
        try namespace.ip("route replace default via 10.9.0.2")
        XCTAssertEqual(routes(), before)
        // A second uplink takes over.
        try namespace.ip("link add w0 type veth peer name w1")
        try namespace.ip("addr add 10.8.0.1/24 dev w0")
        try namespace.ip("link set w0 up")
        try namespace.ip("link set w1 up")
        XCTAssertEqual(routes(), before)
        try namespace.ip("route replace default via 10.8.0.2")
        wait { routes()[0]?.source == IPv4Address(10, 8, 0, 1) }
        XCTAssertEqual(routes()[0]?.source, IPv4Address(10, 8, 0, 1))
        try namespace.ip("route del default")
        XCTAssertNil(routes()[0])
        // The cable is pulled: the addresses stay, the way is none.
        try namespace.ip("route add default via 10.9.0.2")
        XCTAssertEqual(routes(), before)
        try namespace.ip("link set v1 down")
        wait { routes()[0] == nil }
        XCTAssertNil(routes()[0])
        try namespace.ip("link set v1 up")
        wait { routes() == before }
        XCTAssertEqual(routes(), before)
      }
    }

    /// That the system cannot be asked says nothing about the ways.
    func testRoutesWithoutADescriptor() {
      let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
      var limit = rlimit()
      XCTAssertEqual(getrlimit(resource, &limit), 0)
      // The lowest number that is free.
      let free = dup(0)
      close(free)
      var none = limit
      none.rlim_cur = rlim_t(free)
      XCTAssertEqual(setrlimit(resource, &none), 0)
      let routes = UVEventLoop.routes(to: [.loopback])
      XCTAssertEqual(setrlimit(resource, &limit), 0)
      XCTAssertNil(routes)
      XCTAssertEqual(UVEventLoop.routes(to: [.loopback])?.map { $0?.source }, [.loopback])
    }

    func testRoutesWithoutAny() throws {
      try inNamespace { namespace in
        try namespace.ip("link del v0")
        XCTAssertEqual(UVEventLoop.routes(to: [IPv4Address(8, 8, 8, 8)]), [nil])
        XCTAssertEqual(UVEventLoop.routes(to: []), [])
        XCTAssertEqual(UVEventLoop.routes(to: [.loopback])?.map { $0?.source }, [.loopback])
      }
    }
  }
#endif
