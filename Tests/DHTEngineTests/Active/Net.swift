import HyperCrypto
import HyperEncoding
import HyperEnvironment
import HyperRPC
import HyperSecretStream
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine

/// A virtual network of persistent nodes, one host each, and helpers to connect over it.
final class Net {
  let network: VirtualNetwork
  let hosts: [VirtualHost]
  let testnet: Testnet

  /// Started and bootstrapped. `addresses`: of the hosts; `nil` for public ones.
  init(
    _ size: Int = 8, seed: UInt64 = 1, addresses: (Int) -> IPv4Address? = { _ in nil },
    file: StaticString = #filePath, line: UInt = #line
  ) {
    network = VirtualNetwork(seed: seed)
    hosts = (0..<size).map { [network] in network.makeHost(addresses($0)) }
    testnet = Testnet(environments: hosts, size: size, host: nil)
    var result: Result<Void, DHTError>?
    testnet.start { result = $0 }
    network.run(within: 600_000) { result != nil }
    XCTAssertEqual(result.map(isSuccess), true, "network did not come up", file: file, line: line)
  }

  var nodes: [DHTNode] { testnet.nodes }

  /// A node on a fresh host, bootstrapped.
  func makeNode(
    on environment: VirtualHost? = nil, firewalled: Bool = true, adjust: (inout DHTOptions) -> Void = { _ in }
  ) -> DHTNode {
    var options = DHTOptions(bootstrap: nil, host: .any, port: 0)
    // "Ephemeral pair" of hyperdht.md Part A: the quick check is off, so the node goes on believing that it is
    // firewalled.
    options.ephemeral = true
    options.firewalled = firewalled
    options.quickFirewall = false
    adjust(&options)
    let host = environment ?? network.makeHost()
    let node = testnet.createNode(environment: host, options: options)!
    node.start()
    settle { node.whenBootstrapped($0) }
    return node
  }

  /// Runs the network until `body`'s completion has come.
  @discardableResult
  func settle<T>(
    within milliseconds: UInt64 = 60_000, file: StaticString = #filePath, line: UInt = #line,
    _ body: (@escaping (T) -> Void) -> Void
  ) -> T? {
    var result: T?
    var count = 0
    body {
      result = $0
      count += 1
    }
    network.run(within: milliseconds) { result != nil }
    XCTAssertEqual(count, 1, "settles once", file: file, line: line)
    return result
  }

  func wait(
    _ milliseconds: UInt64 = 30_000, _ what: String = "condition", file: StaticString = #filePath, line: UInt = #line,
    until condition: () -> Bool
  ) {
    XCTAssertTrue(network.run(within: milliseconds, until: condition), "\(what) in time", file: file, line: line)
  }

  /// A listening server that echoes every message.
  func listen(
    on node: DHTNode, keyPair: KeyPair? = nil, options: ServerOptions = .init(), echoes: Bool = true,
    file: StaticString = #filePath, line: UInt = #line
  ) -> (DHTServer, Accepted) {
    let server = node.makeServer(options: options)
    let accepted = Accepted(echoes: echoes)
    server.onConnection = { accepted.add($0) }
    let result = settle {
      server.listen(keyPair: keyPair ?? KeyPair(seed: node.environment.random32()), completion: $0)
    }
    XCTAssertEqual(result.map(isSuccess), true, "listens", file: file, line: line)
    XCTAssertTrue(server.isListening, file: file, line: line)
    return (server, accepted)
  }

  func connect(_ node: DHTNode, to server: DHTServer, options: ConnectOptions = .init()) -> Peer {
    Peer(node.connect(to: server.publicKey ?? Bytes32(), options: options))
  }

  /// Sends a message and waits for its echo.
  func assertEcho(
    _ peer: Peer, _ text: String = "hello", within milliseconds: UInt64 = 30_000, file: StaticString = #filePath,
    line: UInt = #line
  ) {
    let message = Array(text.utf8)
    let before = peer.received.count
    peer.stream.write(message)
    network.run(within: milliseconds) { peer.received.count > before || peer.isClosed }
    XCTAssertEqual(
      peer.received.last, message, "echo; close reason \(String(describing: peer.closeError))", file: file, line: line)
  }

  func destroy() {
    settle { done in testnet.destroy { done(()) } }
    // Closures that hold the network must not stay in it.
    network.shouldDrop = nil
    network.runUntilIdle(within: 120_000)
  }
}

func isSuccess<T, E>(_ result: Result<T, E>) -> Bool { if case .success = result { true } else { false } }

/// One encrypted stream and what it has said.
final class Peer {
  let stream: EncryptedStream
  var received: [[UInt8]] = []
  var opened = 0
  var ended = 0
  var closed = 0
  var closeError: EncryptedStreamError?
  var onMessage: (([UInt8]) -> Void)?

  init(_ stream: EncryptedStream) {
    self.stream = stream
    stream.onOpen = { [weak self] in self?.opened += 1 }
    stream.onMessage = { [weak self] bytes in
      self?.received.append(Array(bytes))
      self?.onMessage?(Array(bytes))
    }
    stream.onEnd = { [weak self] in self?.ended += 1 }
    stream.onClose = { [weak self] error in
      self?.closed += 1
      self?.closeError = error
    }
  }

  var isClosed: Bool { closed > 0 }
}

/// Connections of a server.
final class Accepted {
  var peers: [Peer] = []
  let echoes: Bool

  init(echoes: Bool) { self.echoes = echoes }

  func add(_ stream: EncryptedStream) {
    let peer = Peer(stream)
    if echoes {
      peer.onMessage = { [unowned stream] in stream.write($0) }
      stream.onEnd = { [unowned stream, weak peer] in
        peer?.ended += 1
        stream.end()
      }
    }
    peers.append(peer)
  }
}
