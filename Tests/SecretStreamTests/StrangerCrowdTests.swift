import HyperEncoding
import HyperEnvironment
import HyperswarmTesting
import XCTest

@testable import HyperSecretStream

/// A thousand strangers at one server, over the real transport on a network with delays and loss.
final class StrangerCrowdTests: XCTestCase {
  /// One server's host, and ten that the strangers come from.
  private final class World {
    let network: VirtualNetwork
    let server: VirtualHost
    let memory: StrangerMemory
    private let hosts: [VirtualHost]
    private let serverSocket: any DatagramSocket
    private let sockets: [any DatagramSocket]
    private var lastID: UInt32 = 0

    init(seed: UInt64) throws {
      network = VirtualNetwork(seed: seed)
      network.conditions = LinkConditions(latency: .milliseconds(20), jitter: .milliseconds(5), loss: 0.01)
      server = network.makeHost()
      memory = StrangerMemory(environment: server)
      serverSocket = server.makeSocket()
      try serverSocket.bind(host: .any, port: 2_000)
      hosts = (0..<10).map { [network] _ in network.makeHost() }
      sockets = hosts.map { $0.makeSocket() }
      for socket in sockets { try socket.bind(host: .any, port: 1_000) }
    }

    func connect(proves: Bool, keepAlive: UInt64 = 0) throws -> Stranger {
      lastID += 1
      let index = Int(lastID) % hosts.count
      let near = server.makeStream(localID: 2 * lastID)
      let far = hosts[index].makeStream(localID: 2 * lastID + 1)
      try near.connect(
        socket: serverSocket, remoteID: far.localID, to: Endpoint(host: hosts[index].address, port: 1_000))
      try far.connect(
        socket: sockets[index], remoteID: near.localID, to: Endpoint(host: server.address, port: 2_000))
      let (ours, theirs) = StreamPair.keys()
      let accepted = EncryptedStream(environment: server, isInitiator: false)
      accepted.strangers = memory
      let stream = EncryptedStream(environment: hosts[index], isInitiator: true)
      stream.sendsConfirmation = proves
      stream.keepAlive = keepAlive
      let made = Stranger(stream: stream, far: far, accepted: accepted, network: network)
      accepted.start(transport: near, keys: theirs)
      stream.start(transport: far, keys: ours)
      return made
    }

    func run(_ milliseconds: UInt64) { network.advance(by: milliseconds) }
  }

  private final class Stranger {
    let stream: EncryptedStream
    let far: any TransportStream
    let accepted: EncryptedStream
    let record: Recorder
    let peer: Recorder

    init(stream: EncryptedStream, far: any TransportStream, accepted: EncryptedStream, network: VirtualNetwork) {
      self.stream = stream
      self.far = far
      self.accepted = accepted
      record = Recorder(accepted)
      record.keepsMessages = false
      peer = Recorder(stream)
    }

    /// A frame of the largest size, as much of it as the server lets in.
    func beginFrame(_ bytes: OwnedBuffer) { far.write(bytes, nil) }

    var isGone: Bool { accepted.isClosed }
  }

  /// Every other one proves the key that it has made up.
  func testAThousandStrangers() throws {
    let world = try World(seed: 3)
    let reader = try world.connect(proves: true)
    let silent = try world.connect(proves: false, keepAlive: 5_000)
    world.run(6_000)
    let start = world.network.now
    var crowd: [Stranger] = []
    let bytes = OwnedBuffer([0xff, 0xff, 0xff] + [UInt8](repeating: 1, count: 512 << 10))
    for index in 0..<1_000 {
      let stranger = try world.connect(proves: index % 2 == 0)
      stranger.beginFrame(bytes)
      crowd.append(stranger)
      if index % 20 == 19 { world.run(10) }
    }
    world.run(2_000)
    XCTAssertGreaterThan(world.memory.waitingCount, 200, "at the bound")
    // Deployed peers: the first message is 65,553 bytes with its overhead, and there is no confirmation before it.
    let asked = world.network.now
    let honest = try (0..<10).map { _ in try world.connect(proves: false) }
    for peer in honest { peer.stream.write([UInt8](repeating: 2, count: 65_536)) }
    world.network.run(within: 10_000) { honest.allSatisfy { $0.record.messageBytes == 65_536 } }
    let served = (world.network.now - asked) / 1_000
    XCTAssertEqual(honest.map(\.record.messageBytes), [Int](repeating: 65_536, count: 10))
    XCTAssertLessThan(served, 2_000)
    XCTAssertFalse(reader.isGone || silent.isGone)
    reader.accepted.write([1, 2, 3])
    silent.accepted.write([1, 2, 3])
    world.run(500)
    XCTAssertEqual([reader, silent].map(\.peer.messages.count), [1, 1], "readers are served")

    world.network.run(within: 60_000) { crowd.allSatisfy(\.isGone) }
    let gone = (world.network.now - start) / 1_000
    XCTAssertTrue(crowd.allSatisfy(\.isGone))
    // Some give up themselves.
    XCTAssertTrue(
      crowd.allSatisfy { [.evicted, .messageTimedOut, .transport(.reset)].contains($0.accepted.closeError) })
    XCTAssertLessThan(crowd.filter { $0.accepted.closeError == .transport(.reset) }.count, 50)
    XCTAssertLessThan(gone, 60_000)
    XCTAssertLessThanOrEqual(world.memory.peak, Limits.Stranger.memory)
    XCTAssertEqual(world.memory.used, 0)
    XCTAssertFalse(reader.isGone || silent.isGone || honest.contains(where: \.isGone))
    print(
      "attack: 1,000 strangers begin a 16 MiB frame | bound: 64 MiB, gone in 60 s, others served | measured:"
        + " \(world.memory.peak >> 20) MiB, gone in \(gone / 1_000) s, 10 first messages of 64 KiB in \(served) ms")
  }

  /// The narrow window of a stranger costs an honest peer with a large first message next to nothing.
  func testLargeFirstMessageIsAsQuick() throws {
    var times: [UInt64] = []
    for isStranger in [true, false] {
      let world = try World(seed: 4)
      world.network.conditions = LinkConditions(latency: .milliseconds(20), jitter: .zero)
      let peer = try world.connect(proves: false)
      if !isStranger { peer.accepted.becomeAcquainted() }
      world.run(100)
      let start = world.network.now
      peer.stream.write([UInt8](repeating: 2, count: 4 << 20))
      world.network.run(within: 60_000) { peer.record.messageBytes == 4 << 20 }
      XCTAssertEqual(peer.record.messageBytes, 4 << 20)
      times.append((world.network.now - start) / 1_000)
    }
    print("a first message of 4 MiB over 40 ms: \(times[0]) ms from a stranger, \(times[1]) ms without the bound")
    XCTAssertLessThan(times[0], times[1] * 3 / 2)
  }
}
