import HyperCrypto
import HyperEncoding
import HyperRPC
import HyperSecretStream
import HyperTestVectors
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine

/// The recorded sessions of `session-connect.json`, one side played by our node.
final class ReplayTests: XCTestCase {
  private func server() throws -> Replay {
    try Replay(
      role: "server", startCase: "ses-5", host: "127.0.0.2", port: 49_910, clientPort: 51_166, keyPair: "serverNode",
      firewalled: true)
  }

  private func client() throws -> Replay {
    try Replay(
      role: "client", startCase: "ses-7", host: "127.0.0.3", port: 49_920, clientPort: 45_337, keyPair: "clientNode",
      firewalled: true)
  }

  private func openServer() throws -> Replay {
    try Replay(
      role: "openServer", startCase: "ses-4", host: "127.0.0.7", port: 49_950, clientPort: 36_246,
      keyPair: "openHost", firewalled: false)
  }

  private func openClient() throws -> Replay {
    try Replay(
      role: "openClient", startCase: "ses-12", host: "127.0.0.6", port: 49_930, clientPort: 36_879,
      keyPair: "openClient", firewalled: false)
  }

  private func listen(_ replay: Replay, _ session: String, _ key: String, options: ServerOptions = .init()) -> DHTServer
  {
    replay.load(session)
    let server = replay.node.makeServer(options: options)
    var isListening = false
    server.listen(keyPair: replay.keyPair(key)) { isListening = isSuccess($0) }
    replay.network.run(within: 10_000) { isListening }
    XCTAssertTrue(isListening)
    replay.network.advance(by: 5)
    return server
  }

  func testSession_b_listen() throws {
    let replay = try server()
    let server = listen(replay, "ses-6", "server")
    replay.finish()
    let result = replay.result("ses-6")
    XCTAssertEqual(server.publicKey?.hex, result["publicKey"] as? String)
    XCTAssertEqual(server.target?.hex, result["target"] as? String)
    let relays = (result["relays"] as! [[String: Any]]).map {
      NoisePayload.Relay(
        relayAddress: replay.endpoint($0["relayAddress"]), peerAddress: replay.endpoint($0["peerAddress"]))
    }
    XCTAssertEqual(Set(server.announcer?.relays ?? []), Set(relays))
    XCTAssertEqual(
      Set(server.relayAddresses), Set((result["relayAddresses"] as! [[String: Any]]).map { replay.endpoint($0) }))
    print("session b: \(replay.matched) datagrams")
    XCTAssertGreaterThanOrEqual(replay.matched, 9)
    replay.destroy()
  }

  func testSession_c5_unknownKey() throws {
    let replay = try client()
    let peer = fail(replay, "ses-21", to: "nobody")
    XCTAssertEqual(peer.closeError?.code, "PEER_NOT_FOUND")
    replay.destroy()
  }

  // MARK: c3, c4, c6: connections

  func testSession_c3_openServer() throws {
    let replay = try openServer()
    let server = listen(replay, "ses-10", "openServer")
    replay.finish()
    XCTAssertEqual(server.relayAddresses.first, replay.endpoint(["host": "127.0.0.7", "port": 49_950]))
    XCTAssertEqual(server.relayAddresses.count, 3)
    try serve(replay, server, "ses-11", peer: "client")
    replay.destroy()
  }

  func testSession_c3_client() throws {
    let replay = try client()
    try connect(replay, "ses-11", to: "openServer", role: "openServer")
    replay.destroy()
  }

  func testSession_c4_server() throws {
    let replay = try server()
    let server = listen(replay, "ses-6", "server")
    replay.finish()
    try fillIndices(replay, server, below: 2)
    try serve(replay, server, "ses-13", peer: "openClient")
    replay.destroy()
  }

  func testSession_c4_openClient() throws {
    let replay = try openClient()
    try connect(replay, "ses-13", to: "server", role: "server")
    replay.destroy()
  }

  func testSession_c6_server_twoRounds() throws {
    let replay = try server()
    let server = listen(replay, "ses-6", "server")
    replay.finish()
    try fillIndices(replay, server, below: 3)
    try serve(replay, server, "ses-14", peer: "client")
    replay.destroy()
  }

  func testSession_c6_client_twoRounds() throws {
    let replay = try client()
    var options = ConnectOptions()
    options.fastOpen = false
    // What the recorded client remembered of its first connection.
    options.relayAddresses = [49_801, 49_802, 49_803].map { Endpoint(host: .loopback, port: $0) }
    // The recorded query asks every node twice and then repeats the handshake through nodes that were tried: ours does
    // not, because the same message 1 through them can bring nothing new.
    try connect(replay, "ses-14", to: "server", role: "server", options: options) {
      ["FIND_PEER", "PEER_HANDSHAKE"].contains($0)
    }
    replay.destroy()
  }

  // MARK: x1 to x3: refusals

  func testSession_x1_client() throws {
    let replay = try client()
    let peer = fail(replay, "ses-18", to: "denyServer")
    XCTAssertEqual(peer.closeError?.code, "PEER_CONNECTION_FAILED")
    replay.destroy()
  }

  func testSession_x1_serverIsSilent() throws {
    let replay = try server()
    var options = ServerOptions()
    var asked = 0
    options.firewall = { _, _, _, verdict in
      asked += 1
      verdict(.reject)
    }
    let server = refuser(replay, "denyServer", options)
    replay.load("ses-18")
    replay.deliverRest()
    replay.network.advance(by: 100)
    replay.finish()
    XCTAssertEqual(asked, 1)
    XCTAssertEqual(server.handshakeCount, 0)
    replay.destroy()
  }

  func testSession_x2_clientRefuses() throws {
    let replay = try client()
    var options = ConnectOptions()
    options.fastOpen = false
    options.holepunch = { _, _, _, _ in false }
    options.relayAddresses = [49_801, 49_802, 49_803].map { Endpoint(host: .loopback, port: $0) }
    // Here the answer came while the query was still running.
    replay.handshakeDelay = 1
    let peer = fail(replay, "ses-19", to: "server", options: options) { $0 == "FIND_PEER" }
    XCTAssertEqual(peer.closeError?.code, "HOLEPUNCH_ABORTED")
    replay.destroy()
  }

  func testSession_x2_serverIsTold() throws {
    let replay = try server()
    let server = listen(replay, "ses-6", "server")
    replay.finish()
    refused(replay, server, "ses-19")
    replay.destroy()
  }

  func testSession_x3_client() throws {
    let replay = try client()
    var options = ConnectOptions()
    options.fastOpen = false
    let peer = fail(replay, "ses-20", to: "noPunchServer", options: options)
    // The recorded client reports HOLEPUNCH_ABORTED here; the specification (hyperdht.md 8.4) names the peer's part in
    // it.
    XCTAssertEqual(peer.closeError?.code, "REMOTE_ABORTED")
    replay.destroy()
  }

  func testSession_x3_serverRefuses() throws {
    let replay = try server()
    var options = ServerOptions()
    options.holepunch = { _, _, _, _ in false }
    let server = refuser(replay, "noPunchServer", options)
    refused(replay, server, "ses-20")
    replay.destroy()
  }

  // MARK: d, e, f, h: queries

  private func fresh() throws -> Replay {
    try Replay(
      role: "fresh10", startCase: "ses-3", host: "127.0.0.50", port: 49_900, clientPort: 43_965, keyPair: "fresh10",
      firewalled: true, quickFirewall: true, isStrict: false)
  }

  /// Runs one session to its end and compares everything.
  private func play<T>(
    _ replay: Replay, _ session: String, keepsPings: Bool = false, line: UInt = #line,
    _ body: (@escaping (T) -> Void) -> Void
  ) -> T? {
    replay.load(session, keepsPings: keepsPings)
    var result: T?
    body { result = $0 }
    replay.network.run(within: 20_000) { result != nil }
    XCTAssertNotNil(result, session, line: line)
    replay.network.advance(by: 20)
    replay.finish(line: line)
    return result
  }

  private func run<Item>(
    _ replay: Replay, _ session: String, _ query: DHTQuery<Item>, line: UInt = #line
  ) -> [Item] {
    var items: [Item] = []
    query.onReply = { items.append($0) }
    let result: Result<Void, DHTError>? = play(replay, session, line: line) { done in
      query.onFinished = { done($0) }
      query.start()
    }
    XCTAssertEqual(result.map(isSuccess), true, session, line: line)
    return items
  }

  private func value(_ session: String, _ command: String) throws -> Any {
    let item = try Vectors.cases("session-connect").first { $0["id"] as? String == session }!
    return (item["datagrams"] as! [[String: Any]]).first { $0["command"] as? String == command }!
  }

  func testSession_d_immutable() throws {
    let writer = try fresh()
    let put = try value("ses-25", "IMMUTABLE_PUT") as! [String: Any]
    let bytes = Vectors.bytes((put["decoded"] as! [String: Any])["value"] as! String)
    guard case .success(let stored) = play(writer, "ses-25", { writer.node.immutablePut(bytes, completion: $0) }) else {
      return XCTFail("put")
    }
    XCTAssertEqual(stored.target.hex, writer.result("ses-25")["hash"] as? String)
    XCTAssertEqual(stored.stored, 3)
    XCTAssertEqual(stored.closestNodes.map(\.description), writer.result("ses-25")["closest"] as? [String])
    let reader = try client()
    // The first good answer ends our query; the recorded one goes on in the background.
    reader.load("ses-26")
    var got: Result<ImmutableGetResult?, DHTError>?
    reader.node.immutableGet(stored.target) { got = $0 }
    reader.network.run(within: 10_000) { got != nil }
    reader.finish()
    guard case .success(let found?) = got else { return XCTFail("get") }
    XCTAssertEqual(found.value, bytes)
    let nothing = try value("ses-27", "IMMUTABLE_GET") as! [String: Any]
    let target = Bytes32(hex: (nothing["decoded"] as! [String: Any])["target"] as! String)!
    guard case .success(nil) = play(reader, "ses-27", { reader.node.immutableGet(target, completion: $0) }) else {
      return XCTFail("get of nothing")
    }
    print("sessions d, immutable: \(writer.matched + reader.matched) datagrams")
    writer.destroy()
    reader.destroy()
  }

  func testSession_d_mutable() throws {
    let writer = try fresh()
    let keyPair = writer.keyPair("mutable")
    func put(_ session: String, _ sequence: UInt64) throws -> Result<MutablePutResult, DHTError>? {
      let put = try value(session, "MUTABLE_PUT") as! [String: Any]
      let bytes = Vectors.bytes((put["valueDecoded"] as! [String: Any])["value"] as! String)
      return play(writer, session) {
        writer.node.mutablePut(keyPair: keyPair, value: bytes, sequence: sequence, completion: $0)
      }
    }
    guard case .success(let stored) = try put("ses-28", 4) else { return XCTFail("put") }
    XCTAssertEqual(stored.signature.hex, writer.result("ses-28")["signature"] as? String)
    // The recorded implementation claims success here although no node stored anything.
    guard case .failure(.sequenceTooLow) = try put("ses-30", 3) else { return XCTFail("stale put") }
    let reader = try client()
    let get = play(reader, "ses-29") { reader.node.mutableGet(keyPair.publicKey, completion: $0) }
    XCTAssertEqual(try get?.get()?.value, Vectors.bytes(reader.result("ses-29")["value"] as! String))
    XCTAssertEqual(try get?.get()?.sequence, 4)
    var options = MutableGetOptions()
    options.sequence = 5
    guard
      case .success(nil) = play(
        reader, "ses-31",
        {
          reader.node.mutableGet(keyPair.publicKey, options: options, completion: $0)
        })
    else { return XCTFail("get above the stored sequence") }
    print("sessions d, mutable: \(writer.matched + reader.matched) datagrams")
    writer.destroy()
    reader.destroy()
  }

  func testSession_e_f_topic() throws {
    let topic = Bytes32(hex: try Vectors.root("session-connect")["topic"] as! String)!
    let first = try server()
    _ = run(
      first, "ses-32",
      first.node.announce(
        topic, keyPair: first.keyPair("ann1"),
        relayAddresses: [49_801, 49_802].map { Endpoint(host: .loopback, port: $0) }))
    let second = try client()
    var options = AnnounceOptions()
    let bump = (try value("ses-33", "ANNOUNCE") as! [String: Any])["valueDecoded"] as! [String: Any]
    options.bump = UInt64(bump["bump"] as! Int)
    _ = run(
      second, "ses-33",
      second.node.announce(
        topic, keyPair: second.keyPair("ann2"), relayAddresses: [Endpoint(host: .loopback, port: 49_803)],
        options: options))
    let reader = try fresh()
    let found = run(reader, "ses-34", reader.node.lookup(topic))
    check(found, reader.result("ses-34"), reader)
    let peers = run(reader, "ses-35", reader.node.findPeer(first.keyPair("server").publicKey))
    XCTAssertEqual(peers.count, 3)
    XCTAssertTrue(peers.allSatisfy { $0.peer == PeerRecord(publicKey: first.keyPair("server").publicKey) })
    _ = run(first, "ses-36", first.node.lookupAndUnannounce(topic, keyPair: first.keyPair("ann1")))
    check(run(reader, "ses-37", reader.node.lookup(topic)), reader.result("ses-37"), reader)
    print("sessions e and f: \(first.matched + second.matched + reader.matched) datagrams")
    first.destroy()
    second.destroy()
    reader.destroy()
  }

  private func check(_ found: [LookupResult], _ result: [String: Any], _ replay: Replay) {
    let recorded = (result["replies"] as! [[String: Any]]).map { reply in
      (
        replay.endpoint(reply["from"]), UInt64(reply["bump"] as! Int),
        Set((reply["peers"] as! [[String: Any]]).map { $0["publicKey"] as! String })
      )
    }
    XCTAssertEqual(found.count, recorded.count)
    for (from, bump, keys) in recorded {
      let own = found.first { $0.from.endpoint == from }
      XCTAssertEqual(own?.bump, bump)
      XCTAssertEqual(own.map { Set($0.peers.map(\.publicKey.hex)) }, keys)
    }
  }

  func testSession_f_serverClose() throws {
    let replay = try server()
    let server = listen(replay, "ses-6", "server")
    replay.finish()
    // As in the recording the tokens of the announcement are too old.
    replay.network.advance(by: Limits.Withdrawal.tokenAge)
    let done: Bool? = play(replay, "ses-38") { done in server.close { done(true) } }
    XCTAssertEqual(done, true)
    print("session f, close: \(replay.matched) datagrams")
    replay.destroy()
  }

  func testSession_h_pingAndFindNode() throws {
    let replay = try client()
    let find = try value("ses-39", "FIND_NODE") as! [String: Any]
    let padded = try Vectors.cases("session-connect").first { $0["id"] as? String == "ses-39" }!
    let size =
      (padded["datagrams"] as! [[String: Any]]).compactMap {
        (($0["decoded"] as? [String: Any])?["value"] as? String)?.count
      }.max()! / 2
    let target = Bytes32(hex: (find["decoded"] as! [String: Any])["target"] as! String)!
    let result: Int? = play(replay, "ses-39", keepsPings: true) { done in
      var answers = 0
      replay.node.rpc.ping(Endpoint(host: .loopback, port: 49_802)) { if isSuccess($0) { answers += 1 } }
      replay.node.rpc.ping(Endpoint(host: .loopback, port: 49_803), size: size) { if isSuccess($0) { answers += 1 } }
      let query = replay.node.rpc.findNode(target: target)
      query.onFinished = { if isSuccess($0) { done(answers) } }
      query.start()
    }
    XCTAssertEqual(result, 2)
    print("session h: \(replay.matched) datagrams")
    replay.destroy()
  }
}
