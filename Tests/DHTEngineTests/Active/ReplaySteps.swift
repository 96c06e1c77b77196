import HyperCrypto
import HyperEncoding
import HyperRPC
import HyperSecretStream
import HyperTestVectors
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine

/// Steps of the recorded sessions.
extension ReplayTests {
  /// Plays a client whose connection fails.
  func fail(
    _ replay: Replay, _ session: String, to key: String, options: ConnectOptions = .init(), line: UInt = #line,
    mayLack: @escaping (String) -> Bool = { _ in false }
  ) -> Peer {
    replay.load(session, mayLack: mayLack)
    let peer = Peer(replay.node.connect(to: replay.keyPair(key).publicKey, options: options))
    replay.network.run(within: 30_000) { peer.isClosed }
    XCTAssertTrue(peer.isClosed, line: line)
    replay.network.advance(by: 20)
    replay.finish(line: line)
    print("\(session), client: \(replay.matched) datagrams so far")
    return peer
  }

  /// Plays a client that gets through, and compares the stream's bytes both ways.
  func connect(
    _ replay: Replay, _ session: String, to key: String, role: String, options: ConnectOptions = .init(),
    line: UInt = #line, mayLack: @escaping (String) -> Bool = { _ in false }
  ) throws {
    replay.load(session, mayLack: mayLack)
    let stream = replay.node.connect(to: replay.keyPair(key).publicKey, options: options)
    // The recorded client does not prove itself before it has something to say.
    stream.sendsConfirmation = false
    let peer = Peer(stream)
    let raw = replay.environment.streams.last!
    let path = replay.streamPath(to: replay.role, session: session)!
    let theirs = replay.streamBytes(to: replay.role, session: session)
    let ours = replay.streamBytes(to: role, session: session)
    replay.network.run(within: 10_000) { peer.opened > 0 || peer.isClosed || replay.isExhausted }
    var delivered = 0
    if peer.opened == 0, let socket = replay.environment.socket(port: path.destination.port) {
      // The server's stream comes to us: its header.
      delivered = 59
      raw.receive(Array(theirs.prefix(delivered)), on: socket, from: path.source)
    }
    replay.network.run(within: 1000) { peer.opened > 0 || peer.isClosed }
    XCTAssertEqual(peer.opened, 1, "\(String(describing: peer.closeError))", line: line)
    for message in replay.secret("plain-out", "hex") { stream.write(message) }
    replay.network.advance(by: 5)
    XCTAssertEqual(Vectors.hex(raw.written), Vectors.hex(ours), "stream bytes", line: line)
    XCTAssertEqual(raw.remote, path.source, line: line)
    XCTAssertEqual(raw.socket?.localEndpoint?.port, path.destination.port, line: line)
    raw.receive(Array(theirs.dropFirst(delivered)), on: raw.socket!, from: path.source)
    replay.network.advance(by: 5)
    XCTAssertEqual(peer.received, replay.secret("plain-in", "hex"), line: line)
    XCTAssertEqual(stream.handshakeHash?.hex, replay.result(session)["handshakeHash"] as? String, line: line)
    replay.finish(line: line)
    print("\(session), client: \(replay.matched) datagrams so far")
    stream.destroy()
  }

  /// Plays a server that gets a connection and echoes, and compares the stream's bytes both ways.
  func serve(
    _ replay: Replay, _ server: DHTServer, _ session: String, peer role: String, line: UInt = #line
  ) throws {
    let count = replay.environment.streams.count
    var accepted: [Peer] = []
    server.onConnection = { stream in
      let peer = Peer(stream)
      peer.onMessage = { [unowned stream] in stream.write(Array("echo:".utf8) + $0) }
      accepted.append(peer)
    }
    replay.load(session)
    replay.network.advance(by: 200)
    XCTAssertEqual(
      replay.environment.streams.count, count + 1, "one handshake, whatever the number of relays", line: line)
    let raw = replay.environment.streams.last!
    let path = replay.streamPath(to: replay.role, session: session)!
    XCTAssertTrue(accepted.isEmpty, "no connection before the client has shown itself", line: line)
    raw.receive(
      replay.streamBytes(to: replay.role, session: session),
      on: replay.environment.socket(port: path.destination.port)!, from: path.source)
    replay.network.advance(by: 5)
    XCTAssertEqual(accepted.count, 1, line: line)
    XCTAssertEqual(accepted.first?.received, replay.secret("plain-in", "hex"), line: line)
    XCTAssertEqual(
      Vectors.hex(raw.written), Vectors.hex(replay.streamBytes(to: role, session: session)), "stream bytes", line: line)
    XCTAssertEqual(raw.remote, path.source, line: line)
    XCTAssertEqual(raw.socket?.localEndpoint?.port, path.destination.port, line: line)
    XCTAssertEqual(
      accepted.first?.stream.handshakeHash?.hex, replay.result(session)["handshakeHash"] as? String, line: line)
    replay.finish(line: line)
    print("\(session), server: \(replay.matched) datagrams so far")
    accepted.first?.stream.destroy()
  }

  /// A second server of the recorded role: its announcement was recorded together with another one's.
  func refuser(_ replay: Replay, _ key: String, _ options: ServerOptions) -> DHTServer {
    replay.load("ses-17")
    let server = replay.node.makeServer(options: options)
    var isListening = false
    server.listen(keyPair: replay.keyPair(key)) { isListening = isSuccess($0) }
    replay.network.run(within: 10_000) { isListening }
    XCTAssertTrue(isListening)
    // Only one of the two servers is played.
    replay.finish(isStrict: false)
    return server
  }

  /// Plays a server whose client gets nowhere.
  func refused(_ replay: Replay, _ server: DHTServer, _ session: String) {
    replay.load(session)
    replay.network.advance(by: 2000)
    replay.finish()
    print("\(session), server: \(replay.matched) datagrams so far")
    replay.network.advance(by: 20_000)
    XCTAssertEqual(server.handshakeCount, 0)
  }

  /// Occupies the session indices that earlier recorded connections still held.
  func fillIndices(_ replay: Replay, _ server: DHTServer, below index: Int) throws {
    for seed in 0..<index {
      var handshake = try NoiseHandshake(
        pattern: .ik, isInitiator: true, keyPair: KeyPair(seed: Bytes32(repeating: UInt8(seed + 1))),
        remotePublicKey: server.publicKey, prologue: Namespaces.peerHandshake.bytes,
        ephemeral: KeyPair(seed: Bytes32(repeating: UInt8(seed + 101))))
      let noise = try handshake.send(payload: NoisePayload().encoded)
      server.handleHandshake(
        HandshakeRequest(
          noise: noise, isDirect: true, clientAddress: Endpoint(host: IPv4Address(9, 9, 9, 9), port: 9),
          from: Endpoint(host: IPv4Address(9, 9, 9, 9), port: 9), to: Endpoint(host: .loopback, port: 1),
          socket: replay.environment.sockets[0])
      ) { _ in }
    }
    XCTAssertEqual(server.handshakeCount, index)
  }
}
