import HyperDHT
import Hyperswarm
import XCTest

/// Loops in one process, each with a thread of its own. Continuous integration runs these under the thread sanitizer,
/// too; that there is no state for them to share is `Scripts/tidy.py shared-state`.
final class ManyLoopsTests: XCTestCase {
  /// Everything that a program has, once per loop and at the same time: a network, two swarms, a connection.
  func testLoopsDoNotKnowOfEachOther() async throws {
    let echoes = try await withThrowingTaskGroup(of: Int.self) { group in
      for place in 0..<4 {
        group.addTask {
          let loop = try UVEventLoop.startThread()
          let count = try await Self.everything(on: loop, name: "loop \(place)")
          await loop.shutdown()
          return count
        }
      }
      return try await group.reduce(0, +)
    }
    XCTAssertEqual(echoes, 4 * 100)
  }

  private static func everything(on loop: UVEventLoop, name: String) async throws -> Int {
    let testnet = try await HyperDHT.Testnet(size: 3, loop: loop)
    var options = Hyperswarm.Options(bootstrap: testnet.bootstrap, loop: loop)
    options.dhtOptions.host = .loopback
    let a = try await Hyperswarm(options)
    let b = try await Hyperswarm(options)
    let topic = Hyperswarm.topic(name)
    try await b.join(topic, client: false).flushed()
    try await a.join(topic, server: false)
    let own = try await first(a.connections)
    let theirs = try await first(b.connections)
    XCTAssertTrue(own.loop === loop && theirs.loop === loop)
    let echo = Task(executorPreference: loop) {
      while let message = try await theirs.read() { try await theirs.write(message) }
    }
    let count = try await Task(executorPreference: loop) {
      var count = 0
      for number in 0..<100 {
        let message = Array("\(name), \(number)".utf8)
        try await own.write(message)
        if try await own.read() == message { count += 1 }
      }
      return count
    }.value
    await a.destroy()
    await b.destroy()
    await testnet.destroy()
    _ = await echo.result
    return count
  }

  /// One public key, served by three nodes with a loop and a port each.
  func testAKeyIsServedByServersOnSeveralLoops() async throws {
    let testnet = try await HyperDHT.Testnet(size: 5)
    let options = HyperDHT.Options(bootstrap: testnet.bootstrap, port: 0, host: .loopback)
    let keyPair = HyperDHT.keyPair()
    let front = try await HyperDHT(options)
    let server = try await front.listen(keyPair: keyPair)
    var members: [(node: HyperDHT, server: HyperDHT.Server)] = []
    var quiet = HyperDHT.ServerOptions()
    quiet.isAnnounced = false
    for _ in 0..<2 {
      let node = try await HyperDHT(options)
      members.append((node, try await node.listen(keyPair: keyPair, options: quiet)))
    }
    try await server.share(with: members.map(\.server))

    let counts = Box([0, 0, 0])
    let acceptors = ([server] + members.map(\.server)).enumerated().map { place, server in
      Task {
        while let connection = try await server.accept() {
          counts.count(place)
          Task {
            while let message = try await connection.read() { try await connection.write([UInt8(place)] + message) }
          }
        }
      }
    }
    let client = try await HyperDHT(options)
    var answers = [0, 0, 0]
    for _ in 0..<24 {
      // Each for the first time: a client that has found the announced node may ask it itself, and stays there.
      let client = try await HyperDHT(options)
      let connection = try await client.connect(to: keyPair.publicKey)
      XCTAssertEqual(connection.remotePublicKey, keyPair.publicKey)
      try await connection.write("x")
      let answer = try await connection.read()
      answers[Int(try XCTUnwrap(answer?.first))] += 1
      await client.destroy(force: true)
    }
    XCTAssertEqual(answers, counts.value)
    XCTAssertEqual(answers.reduce(0, +), 24)
    // The least probable of what would fail a sound sharing: (2/3)^24 for each of three.
    for count in answers { XCTAssertGreaterThan(count, 0, "\(answers)") }

    await members[0].server.close()
    let before = counts.value?[1]
    for _ in 0..<8 { try await client.connect(to: keyPair.publicKey).destroy() }
    XCTAssertEqual(counts.value?[1], before, "a closed member gets nothing")
    for acceptor in acceptors { acceptor.cancel() }
    for node in [client, front] + members.map(\.node) { await node.destroy(force: true) }
    await testnet.destroy()
  }

  func testMembersThatCannotBe() async throws {
    let testnet = try await HyperDHT.Testnet(size: 3)
    let options = HyperDHT.Options(bootstrap: testnet.bootstrap, port: 0, host: .loopback)
    let keyPair = HyperDHT.keyPair()
    let a = try await HyperDHT(options)
    let b = try await HyperDHT(options)
    let server = try await a.listen(keyPair: keyPair)
    var quiet = HyperDHT.ServerOptions()
    quiet.isAnnounced = false
    let other = try await b.listen(options: quiet)
    let announced = try await b.listen(keyPair: keyPair)
    for (members, reason) in [
      ([other], "a member has another key"), ([announced], "a member is announced itself"),
      ([server], "a member is announced itself"),
    ] {
      do {
        try await server.share(with: members)
        XCTFail("no error: \(reason)")
      } catch {
        XCTAssertTrue("\(error)".contains(reason), "\(error)")
      }
    }
    try await server.share(with: [])
    await a.destroy(force: true)
    await b.destroy(force: true)
    await testnet.destroy()
  }
}

extension Box where Value == [Int] {
  fileprivate func count(_ place: Int) { change { $0[place] += 1 } }
}
