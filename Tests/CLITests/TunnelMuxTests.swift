import Foundation
import XCTest

@testable import hyperswarm_cli

/// `--mux`: many connections over one between two of these commands, and nothing that others would see.
final class TunnelMuxTests: TunnelTestCase {
  private final class Counter: @unchecked Sendable {
    private let lock = NSLock()
    private var count = 0
    func add() { lock.withLock { count += 1 } }
    var value: Int { lock.withLock { count } }
  }

  /// Answers with what it got, backwards, when it has it all.
  private func reverser(_ counter: Counter = Counter()) async throws -> Service {
    try await Service { socket in
      counter.add()
      var bytes: [UInt8] = []
      while let more = try await socket.read() { bytes += more }
      try await socket.write(bytes.reversed())
      socket.end()
    }
  }

  private func tunnel(
    _ service: Service, expose exposeOptions: [String], forward forwardOptions: [String]
  ) throws -> (expose: ToolProcess, forward: ToolProcess) {
    let expose = try run(["expose", "\(service.port)"] + exposeOptions, until: "PORT")
    let forward = try run(["forward", "-v", "0", try XCTUnwrap(keys(expose).first)] + forwardOptions, until: "->")
    return (expose, forward)
  }

  private func askMany(_ port: UInt16, _ count: Int) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      for index in 0..<count {
        group.addTask {
          let answer = try await TunnelTestCase.ask(port, Array("\(index) and more".utf8))
          XCTAssertEqual(answer, Array("\(index) and more".utf8).reversed())
        }
      }
      try await group.waitForAll()
    }
  }

  func testMux_bytesAndHalvesPassOverOneConnection() async throws {
    let service = try await reverser()
    let (expose, forward) = try tunnel(service, expose: ["--mux"], forward: ["--mux"])
    let port = try port(forward)
    let big = (0..<5_000_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
    let answer = try await TunnelTestCase.ask(port, big)
    XCTAssertTrue(answer == big.reversed())
    try forward.wait(for: "share one")
    let empty = try await TunnelTestCase.ask(port, [])
    XCTAssertEqual(empty, [])
    try await askMany(port, 60)
    try end(forward, expose)
  }

  func testMux_peersThatDoNotOfferItSeePlainConnections() async throws {
    let counter = Counter()
    let service = try await reverser(counter)
    let (expose, forward) = try tunnel(service, expose: [], forward: ["--mux"])
    let port = try port(forward)
    let first = try await TunnelTestCase.ask(port, [1, 2])
    XCTAssertEqual(first, [2, 1])
    try forward.wait(for: "has one of its own")
    try await askMany(port, 10)
    XCTAssertEqual(counter.value, 11, "the question costs no connection of the service")
    try end(forward, expose)
  }

  func testMux_plainClientsGetWhatTheyHad() async throws {
    let service = try await reverser()
    let (expose, forward) = try tunnel(service, expose: ["--mux"], forward: [])
    try await askMany(try port(forward), 10)
    try end(forward, expose)
    // A service that speaks first.
    let greeter = try await Service { socket in
      try await socket.write([7])
      let word = try await socket.read()
      XCTAssertEqual(word, [8])
      socket.end()
    }
    let (second, client) = try tunnel(greeter, expose: ["--mux"], forward: [])
    let socket = try await XCTUnwrap(LocalAddress("\(try self.port(client))")).connect()
    let greeting = try await socket.read()
    XCTAssertEqual(greeting, [7])
    try await socket.write([8])
    let rest = try await socket.read()
    XCTAssertNil(rest)
    try end(client, second)
  }

  func testMux_aStalledConnectionHoldsUpNoOther() async throws {
    let service = try await Service { socket in
      // One byte says whether this one reads.
      guard let first = try await socket.read(), first.first == 1 else {
        try await Task.sleep(for: .seconds(60))
        return
      }
      try await socket.write(first)
      socket.end()
    }
    let (expose, forward) = try tunnel(service, expose: ["--mux"], forward: ["--mux"])
    let place = try XCTUnwrap(LocalAddress("\(try port(forward))"))
    let stalled = try await place.connect()
    let filling = Task {
      // Far more than all windows and buffers of the system.
      for _ in 0..<2_000 { try await stalled.write([UInt8](repeating: 0, count: 65_536)) }
    }
    try await Task.sleep(for: .seconds(1))
    for _ in 0..<5 {
      let answer = try await TunnelTestCase.ask(place, [1, 2, 3])
      XCTAssertEqual(answer, [1, 2, 3])
    }
    filling.cancel()
    stalled.shutDown()
    try end(forward, expose)
  }

  func testMux_whatWasSaidBeforeABreakArrives() async throws {
    let service = try await Service { socket in
      _ = try await socket.read()
      try await socket.write([UInt8](repeating: 5, count: 300_000))
      await socket.abort(within: 10)
    }
    let (expose, forward) = try tunnel(service, expose: ["--mux"], forward: ["--mux"])
    let place = try XCTUnwrap(LocalAddress("\(try port(forward))"))
    for _ in 0..<3 {
      let socket = try await place.connect()
      try await socket.write([1])
      var count = 0
      do {
        while let more = try await socket.read() { count += more.count }
        XCTFail("a break is no end")
      } catch { XCTAssertTrue(error is SocketFailure, "\(error)") }
      XCTAssertEqual(count, 300_000)
    }
    try end(forward, expose)
  }

  func testMux_aServiceThatIsNotThereAndAPeerThatIsGone() async throws {
    let expose = try run(["expose", "--mux", "1"], until: "PORT")
    let forward = try run(["forward", "--mux", "0", try XCTUnwrap(keys(expose).first)], until: "->")
    let place = try XCTUnwrap(LocalAddress("\(try port(forward))"))
    for _ in 0..<2 {
      do {
        let answer = try await TunnelTestCase.ask(place, [1])
        XCTFail("\(answer)")
      } catch { XCTAssertTrue(error is SocketFailure, "\(error)") }
    }
    try expose.wait(for: "cannot connect to 127.0.0.1:1: Connection refused")
    try end(expose)
    do {
      let answer = try await TunnelTestCase.ask(place, [1])
      XCTFail("\(answer)")
    } catch { XCTAssertTrue(error is SocketFailure, "\(error)") }
    try end(forward)
  }
}
