import HyperCrypto
import HyperEncoding
import HyperEnvironment
import HyperRPC
import HyperSecretStream
import HyperTestVectors
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine

/// Plays one role of the recorded sessions against our node: every datagram that the recorded role sent must come from
/// our node byte for byte (transaction ids apart, which we draw at random), and gets the recorded answers.
///
/// The order inside a session is free where the protocol leaves it free: requests are matched by content, and an answer
/// follows its request. What others sent unasked (forwarded handshakes) arrives in the recorded order, after what the
/// role had sent before.
final class Replay {
  let network = VirtualNetwork(seed: 7)
  let environment: ReplayEnvironment
  let role: String
  let node: DHTNode
  private let cases: [String: [String: Any]]
  private let keys: [String: [String: Any]]

  private let ownPorts: Set<UInt16>
  private let ownHost: IPv4Address
  private(set) var matched = 0
  private var script: [Entry] = []
  private var extra: [String] = []
  /// Milliseconds until a handshake is answered: by default two are under way before the first answer comes.
  var handshakeDelay = 20
  /// Commands that our side may leave out.
  private var mayLack: (String) -> Bool = { _ in false }
  private(set) var events: [[String: Any]] = []

  private struct Entry {
    var from: String
    var fromAddress: Endpoint
    var toAddress: Endpoint
    var to: String
    var kind: String
    var command: String
    var bytes: [UInt8]
    var ttl: UInt8
    var isDone = false
    var tid: UInt16? {
      bytes.count >= 4 && (kind == "request" || kind == "response") ? UInt16(bytes[2]) | UInt16(bytes[3]) << 8 : nil
    }
  }

  /// Starts the role's node and plays its recorded start.
  init(
    role: String, startCase: String, host: String, port: UInt16, clientPort: UInt16, keyPair: String,
    firewalled: Bool, quickFirewall: Bool = false, isStrict: Bool = true
  ) throws {
    let root = try Vectors.root("session-connect")
    var byID: [String: [String: Any]] = [:]
    for item in try Vectors.cases("session-connect") { byID[item["id"] as! String] = item }
    cases = byID
    keys = root["keyPairs"] as! [String: [String: Any]]
    self.role = role
    ownHost = IPv4Address(host)!
    ownPorts = [port, clientPort]
    environment = ReplayEnvironment(clock: network.makeHost())
    environment.ports = [clientPort]
    var options = DHTOptions(
      // The recorded nodes were bound to one address each and announced another; bound to all, ours announces the same.
      bootstrap: [.endpoint(Endpoint(host: .loopback, port: 49_801))], host: .any, port: port)
    options.keyPair = KeyPair(seed: Bytes32(hex: keys[keyPair]!["seed"] as! String)!)
    options.firewalled = firewalled
    options.quickFirewall = quickFirewall
    // The recorded bytes are those of peers that do not know these.
    options.migration = false
    options.showsTokens = false
    let start = (byID[startCase]!["events"] as! [[String: Any]]).first { $0["kind"] as? String == "start" }!
    environment.secrets[32] = [Vectors.bytes(start["tableId"] as! String)]
    let socketPorts = environment.ports
    node = DHTNode(environment: environment, options: options)
    node.rpc.checksRequesters = false
    environment.onSend = { [unowned self] in sent($1, by: $0, to: $2, ttl: $3) }
    load(startCase)
    environment.ports = socketPorts
    var isUp = false
    node.start()
    node.whenBootstrapped { isUp = isSuccess($0) }
    network.run(within: 20_000) { isUp }
    XCTAssertTrue(isUp, "start of \(role)")
    finish(isStrict: isStrict)
  }

  func keyPair(_ name: String) -> KeyPair { KeyPair(seed: Bytes32(hex: keys[name]!["seed"] as! String)!) }

  func result(_ id: String) -> [String: Any] { cases[id]?["result"] as? [String: Any] ?? [:] }

  /// Makes a session's datagrams and secrets current. The next steps of the test trigger our side of it.
  func load(_ id: String, keepsPings: Bool = false, mayLack: @escaping (String) -> Bool = { _ in false }) {
    self.mayLack = mayLack
    let item = cases[id]!
    events = (item["events"] as! [[String: Any]]).filter { $0["role"] as? String == role }
    script = (item["datagrams"] as! [[String: Any]]).map { datagram in
      Entry(
        from: datagram["from"] as! String, fromAddress: endpoint(datagram["fromAddress"]),
        toAddress: endpoint(datagram["toAddress"]), to: datagram["to"] as! String, kind: datagram["kind"] as! String,
        command: datagram["command"] as? String ?? "", bytes: Vectors.bytes(datagram["hex"] as! String),
        ttl: UInt8(datagram["ttl"] as? Int ?? 64))
    }
    script.removeAll { ($0.from != role && $0.to != role) || $0.kind == "self-test" || $0.kind == "udx" }
    let punchPorts = Set(script.filter { $0.from == role }.map(\.fromAddress.port)).subtracting(ownPorts)
    environment.ports = punchPorts.sorted()
    if !keepsPings {
      // Announcers, and nodes that check their tables, ping at their own times; pings of a punch socket count.
      script.removeAll { entry in
        entry.command == "PING"
          && !punchPorts.contains(entry.from == role ? entry.fromAddress.port : entry.toAddress.port)
      }
    }
    environment.secrets[32] = ephemeralSeeds + secret("holepunch-secret", "localSecret")
    environment.secrets[4] = streamIDs
    environment.secrets[24] = events.compactMap { event in
      switch event["kind"] as? String {
      case "holepunch-encrypt": Vectors.bytes(event["nonce"] as! String)
      case "secret-stream": Vectors.bytes(event["header"] as! String)
      default: nil
      }
    }
    extra = []
    pump()
  }

  func secret(_ kind: String, _ field: String, _ filter: ([String: Any]) -> Bool = { _ in true }) -> [[UInt8]] {
    events.filter { $0["kind"] as? String == kind && filter($0) }
      .compactMap { ($0[field] as? String).map(Vectors.bytes) }
  }

  /// The seed of the ephemeral key that the role used.
  var ephemeralSeeds: [[UInt8]] {
    events.filter { $0["kind"] as? String == "noise" && $0["op"] as? String == "send" }
      .compactMap { ($0["ephemeral"] as? [String: Any])?["secretKey"] as? String }
      .map { Array(Vectors.bytes($0).prefix(32)) }
  }

  var streamIDs: [[UInt8]] {
    events.filter { $0["kind"] as? String == "udx-stream" }.map { event in
      let id = UInt32(truncatingIfNeeded: event["id"] as! Int)
      return (0..<4).map { UInt8(truncatingIfNeeded: id >> (8 * UInt32($0))) }
    }
  }

  func endpoint(_ value: Any?) -> Endpoint {
    let value = value as! [String: Any]
    return Endpoint(host: IPv4Address(value["host"] as! String)!, port: UInt16(value["port"] as! Int))
  }

  // MARK: Our datagrams

  private func sent(_ bytes: [UInt8], by socket: ReplaySocket, to destination: Endpoint, ttl: UInt8) {
    if destination.host == .loopback, destination == socket.localEndpoint {
      // Self-test of a local address.
      network.makeHost().defer { socket.receive(bytes, from: destination) }
      return
    }
    let index = script.firstIndex { entry in
      !entry.isDone && entry.from == role && entry.toAddress == destination
        && entry.fromAddress.port == socket.localEndpoint?.port && entry.ttl == (ttl == 0 ? 64 : ttl)
        && normalized(entry.bytes, entry.kind) == normalized(bytes, entry.kind)
    }
    guard let index else {
      if isPing(bytes), ownPorts.contains(socket.localEndpoint?.port ?? 0) {
        return answerPing(bytes, socket, destination)
      }
      extra.append("\(socket.localEndpoint!.port) -> \(destination) ttl \(ttl): \(Vectors.hex(bytes.prefix(400)))")
      return
    }
    script[index].isDone = true
    matched += 1
    let recorded = script[index].tid
    if script[index].kind == "request", let recorded, let own = tid(bytes),
      let answer = script.firstIndex(where: {
        !$0.isDone && $0.kind == "response" && $0.to == role && $0.tid == recorded && $0.fromAddress == destination
      })
    {
      script[answer].isDone = true
      var reply = script[answer].bytes
      reply[2] = UInt8(truncatingIfNeeded: own)
      reply[3] = UInt8(truncatingIfNeeded: own >> 8)
      // Answers of one kind come in the recorded order, whatever the order of our questions.
      let rank = script[..<answer].count { $0.kind == "response" && $0.command == script[answer].command }
      let port = script[answer].toAddress.port
      let delay = script[answer].command == "PEER_HANDSHAKE" ? handshakeDelay + 10 * rank : 1 + 2 * rank
      _ = environment.schedule(after: UInt64(delay)) { [unowned self] in
        // PING_NAT is answered to another port than it came from.
        environment.socket(port: port)?.receive(reply, from: destination)
        pump()
      }
    }
    environment.defer { [unowned self] in pump() }
  }

  private func isPing(_ bytes: [UInt8]) -> Bool {
    guard let request = Datagrams.request(bytes) else { return false }
    return request.isInternal && request.command == 0
  }

  private func answerPing(_ bytes: [UInt8], _ socket: ReplaySocket, _ destination: Endpoint) {
    guard let request = Datagrams.request(bytes), let port = socket.localEndpoint?.port else { return }
    let own = Endpoint(host: ownHost, port: port)
    let reply = Datagrams.encodeResponse(tid: request.tid, to: own, value: nil)
    _ = environment.schedule(after: 1) { socket.receive(reply, from: destination) }
  }

  private func tid(_ bytes: [UInt8]) -> UInt16? { bytes.count >= 4 ? UInt16(bytes[2]) | UInt16(bytes[3]) << 8 : nil }

  private func normalized(_ bytes: [UInt8], _ kind: String) -> [UInt8] {
    guard kind == "request" || kind == "response", bytes.count >= 4, !isRelayed(bytes) else { return bytes }
    var copy = bytes
    copy[2] = 0
    copy[3] = 0
    return copy
  }

  /// A server's answer carries the client's transaction id: there it has to fit exactly.
  private func isRelayed(_ bytes: [UInt8]) -> Bool {
    Datagrams.handshake(bytes)?.mode == .fromServer || Datagrams.holepunch(bytes)?.mode == .fromServer
  }

  // MARK: Theirs

  /// Delivers the next requests of others whose turn has come.
  private func pump() {
    for index in script.indices where !script[index].isDone {
      if script[index].from == role {
        if mayLack(script[index].command) { continue }
        return
      }
      guard script[index].kind != "response", script[index].to == role else { continue }
      script[index].isDone = true
      let entry = script[index]
      _ = environment.schedule(after: 1) { [unowned self] in
        environment.socket(port: entry.toAddress.port)?.receive(entry.bytes, from: entry.fromAddress)
        pump()
      }
      return
    }
  }

  /// The reassembled bytes of the session's stream towards a role.
  func streamBytes(to receiver: String, session: String) -> [UInt8] {
    let streams = cases[session]?["streams"] as? [[String: Any]] ?? []
    return streams.first { $0["receiver"] as? String == receiver }.map { Vectors.bytes($0["bytes"] as! String) } ?? []
  }

  /// Where the peer's stream packets of a session came from and went to.
  func streamPath(to receiver: String, session: String) -> (source: Endpoint, destination: Endpoint)? {
    (cases[session]?["datagrams"] as? [[String: Any]])?.first {
      $0["kind"] as? String == "udx" && $0["to"] as? String == receiver
    }.map { (endpoint($0["fromAddress"]), endpoint($0["toAddress"])) }
  }

  /// Delivers everything that is left of others although we have not sent what came before.
  func deliverRest() {
    for index in script.indices
    where !script[index].isDone && script[index].to == role && script[index].kind != "response" {
      script[index].isDone = true
      let entry = script[index]
      environment.socket(port: entry.toAddress.port)?.receive(entry.bytes, from: entry.fromAddress)
      network.advance(by: 2)
    }
  }

  // MARK: Verdict

  /// Nothing recorded is left to happen.
  var isExhausted: Bool { script.allSatisfy { $0.isDone || mayLack($0.command) } }

  /// Everything that the role sent in this session has come from us, and nothing else did.
  func finish(
    isStrict: Bool = true, file: StaticString = #filePath, line: UInt = #line
  ) {
    let missing = script.filter { !$0.isDone && $0.from == role && !mayLack($0.command) && isStrict }
    for entry in missing {
      XCTFail(
        "\(role) did not send \(entry.command) \(entry.kind) \(entry.fromAddress.port) -> \(entry.toAddress) "
          + "ttl \(entry.ttl): " + Vectors.hex(entry.bytes.prefix(400)), file: file, line: line)
    }
    if isStrict {
      for text in extra { XCTFail("\(role) sent also \(text)", file: file, line: line) }
    }
    script = []
    extra = []
  }

  func destroy() {
    var done = false
    node.destroy(force: true) { done = true }
    network.run(within: 10_000) { done }
    XCTAssertTrue(done)
    network.runUntilIdle(within: 60_000)
    environment.onSend = nil
  }
}
