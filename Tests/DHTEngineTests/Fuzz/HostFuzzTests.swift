import HyperCrypto
import HyperEncoding
import HyperSecretStream
import HyperTestVectors
import HyperswarmTesting
import XCTest

@testable import HyperDHTEngine
@testable import HyperRPC

/// Bytes of strangers for whole hosts: what they send, hold and remember for them stays within bounds.
final class HostFuzzTests: XCTestCase {
  /// A storing node with a server: each input is a datagram, or several with two bytes of length each.
  func testDatagramsToANode() throws {
    let node = try PassiveNode(table: (1...40).map { Endpoint(host: IPv4Address(99, UInt8($0), 1, 1), port: 1000) })
    let server = FakeServer()
    server.handshakeReply = HandshakeReply(noise: [UInt8](repeating: 1, count: 100))
    server.holepunchReply = HolepunchReply(payload: [UInt8](repeating: 1, count: 100))
    var seeds: [[UInt8]] = []
    for session in try Vectors.cases("session-connect").map({ Fields($0) }) {
      for datagram in try session.objects("datagrams") {
        let bytes = try datagram.bytes("hex")
        seeds.append([UInt8(bytes.count & 0xff), UInt8(bytes.count >> 8)] + bytes)
        guard case .request(let request)? = bytes.withUnsafeBytes({ Datagram($0) }), let target = request.target else {
          continue
        }
        node.router.pin(target: target, record: PeerRecord(publicKey: target), server: server)
      }
    }
    var serial: UInt32 = 0
    let inputs = try Fuzzer(name: "node", mutations: 5000, allocates: (1 << 20, 512), seeds: seeds) { bytes in
      serial += 1
      let source = Endpoint(host: IPv4Address(value: 0x5000_0000 | serial & 0xffff), port: 1 + UInt16(serial & 0xff))
      var kind: [Int] = []
      var rest = bytes[...]
      while rest.count > 2, kind.count < 8 {
        let count = Int(rest.removeFirst()) | Int(rest.removeFirst()) << 8
        let datagram = Array(rest.prefix(count))
        rest = rest.dropFirst(count)
        let sent = node.deliver(datagram, from: source)
        // One answer, and one ping to a node that is new; hole-punch probes have no size to speak of.
        XCTAssertLessThanOrEqual(sent.count, 2, Hex.encode(datagram))
        let answered = sent.reduce(0) { $0 + $1.bytes.count }
        XCTAssertLessThanOrEqual(answered, 30 * datagram.count + 300, Hex.encode(datagram))
        kind += [sent.count, answered.bitWidth - answered.leadingZeroBitCount]
      }
      if serial % 16 == 0 { node.network.advance(by: 1000) }
      XCTAssertLessThanOrEqual(node.router.pendingReplies, Limits.Router.pendingReplies)
      XCTAssertEqual(node.storage.recordCount, 0, "nothing is stored without a signature")
      server.handshakes = []
      server.holepunches = []
      return kind
    }.test()
    report(
      attack: "bytes of strangers for a storing node",
      bound: "no trap, 2 s for each input; at most 2 packets, 30 times the bytes and 300", measured: inputs)
  }

  /// A listening server: each input is the payload of a first message that is otherwise right.
  func testPayloadsToAServer() throws {
    let net = Net(4, seed: 44)
    let node = net.makeNode(firewalled: false)
    let (server, accepted) = net.listen(on: node)
    let client = RawClient(net)
    net.network.isLogging = true
    let address = try XCTUnwrap(node.rpc.localAddress)
    let target = Target.of(publicKey: try XCTUnwrap(server.publicKey))
    let seeds = [
      NoisePayload(addresses4: [], udx: .init(id: 4711), secretStream: .init()),
      NoisePayload(addresses4: [address], udx: .init(id: 1), secretStream: .init(), relayAddresses: [address]),
    ].map(\.encoded)
    let inputs = try Fuzzer(name: "server", mutations: 150, allocates: (8 << 20, 512), seeds: seeds) { bytes in
      client.replies = []
      net.network.log = []
      let (_, message) = client.noise(server, raw: bytes)
      client.send(HandshakeMessage(mode: .fromClient, noise: message), to: address, target: target)
      net.network.advance(by: 200)
      let packets = net.network.log.count { $0.source == address && $0.destination.host == client.host.address }
      XCTAssertLessThanOrEqual(client.replies.count, 1)
      XCTAssertLessThanOrEqual(packets, 6)
      XCTAssertLessThanOrEqual(server.handshakeCount, Limits.Server.waitingHandshakes)
      for peer in accepted.peers { peer.stream.destroy() }
      accepted.peers = []
      return [client.replies.count, min(packets, 8), min(bytes.count, 40) / 8]
    }.test()
    report(
      attack: "bytes of strangers for a server, in the payload of message 1",
      bound: "no trap, 2 s for each input; at most 6 packets; sessions within their bound", measured: inputs)
    client.socket.close()
    net.destroy()
  }

  /// A blind relay: each input is what a client writes on its control connection, frames with a byte of length each.
  func testFramesToARelay() throws {
    let net = Net(4, seed: 45)
    let service = RelayService(node: net.makeNode(firewalled: false))
    let _: Result<Void, DHTError>? = net.settle { service.listen(completion: $0) }
    let key = try XCTUnwrap(service.server.publicKey)
    let node = net.makeNode()
    let mux = RelayMux()
    var frames: [UInt8] = []
    mux.send = { frames += [UInt8(truncatingIfNeeded: $0.count)] + $0 }
    let channel = mux.open(BlindRelay.channel, id: node.defaultKeyPair.publicKey.bytes)
    let opening = frames
    for isInitiator in [true, false] {
      channel?.send(
        RelayPairMessage.type, RelayPairMessage(isInitiator: isInitiator, token: Bytes32(repeating: 4), id: 5))
    }
    let inputs = try Fuzzer(name: "relay", mutations: 60, allocates: (64 << 20, 1024), seeds: [opening, frames]) {
      bytes in
      let stream = node.connect(to: key)
      var isClosed = false
      stream.onClose = { _ in isClosed = true }
      XCTAssertTrue(net.network.run(within: 10_000) { stream.isOpen })
      var rest = bytes[...]
      while let count = rest.popFirst() {
        stream.write(Array(rest.prefix(Int(count))))
        rest = rest.dropFirst(Int(count))
      }
      net.network.advance(by: 500)
      let relay = service.relay
      XCTAssertLessThanOrEqual(relay.sessionCount, 2)
      XCTAssertLessThanOrEqual(relay.pendingCount, Limits.Relay.pendingTokensPerSession)
      let kind = [isClosed ? 1 : 0, min(relay.pendingCount, 3), min(relay.linkCount, 3)]
      stream.destroy()
      net.network.advance(by: 1000)
      XCTAssertEqual(relay.sessionCount + relay.pendingCount + relay.linkCount, 0, "all is given back")
      return kind
    }.test()
    report(
      attack: "bytes of strangers for a blind relay, on its control connection",
      bound: "no trap, 2 s for each input; all is given back at the end", measured: inputs)
    net.settle { done in service.close { done(()) } }
    net.destroy()
  }
}
