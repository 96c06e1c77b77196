import HyperswarmTesting

/// The application: peers that join one topic and tell each other the names they know, until every peer knows every
/// name. All of it is the application's own code; only the network is virtual.
final class ChatPeer {
  let name: String
  let swarm: VirtualSwarm
  private(set) var names: Set<String>
  private(set) var messagesReceived = 0

  init(name: String, swarm: VirtualSwarm) {
    self.name = name
    self.swarm = swarm
    names = [name]
    swarm.onConnection = { [unowned self] connection in greet(connection) }
  }

  private func greet(_ connection: VirtualConnection) {
    connection.onMessage = { [unowned self] bytes in heard(String(decoding: bytes, as: UTF8.self)) }
    // Sorted: the order of a set differs from run to run, and the order of messages is part of the run.
    for name in names.sorted() { connection.write(Array(name.utf8)) }
  }

  private func heard(_ name: String) {
    messagesReceived += 1
    guard names.insert(name).inserted else { return }
    for connection in swarm.connections { connection.write(Array(name.utf8)) }
  }
}

/// A run: what it simulates, and what came of it.
struct ChatRoom {
  var seed: UInt64
  var peers = 100
  /// Probability that a packet is lost.
  var loss = 0.03

  struct Outcome: Equatable {
    /// Every peer knows every name.
    var everyoneMet: Bool
    var virtualTime: Duration
    var connections: Int
    var messages: Int
    /// Of all packets; equal seeds give equal digests.
    var digest: UInt64
  }

  func run() throws(VirtualSwarmError) -> Outcome {
    let network = VirtualNetwork(seed: seed)
    let testnet = try VirtualTestnet(network: network, size: 20)
    network.conditions = LinkConditions(
      latency: .milliseconds(20), jitter: .milliseconds(30), loss: loss, duplication: 0.005, reordering: 0.01)

    // Every peer sits behind a NAT box of its own, of several kinds.
    let kinds: [(VirtualNAT.Mapping, VirtualNAT.Filter)] = [
      (.portPreserving, .addressAndPortDependent), (.endpointIndependent, .addressDependent),
      (.endpointIndependent, .addressAndPortDependent), (.portPreserving, .endpointIndependent),
    ]
    let topic = VirtualSwarm.topic("a room of many")
    var room: [ChatPeer] = []
    for number in 0..<peers {
      let (mapping, filter) = kinds[number % kinds.count]
      let nat = network.makeNAT(mapping: mapping, filter: filter)
      let host = network.makeHost(IPv4Address(10, 0, UInt8(number / 250), UInt8(number % 250 + 2)), behind: nat)
      let peer = ChatPeer(name: "peer \(number)", swarm: testnet.makeSwarm(on: host, maxPeers: 8))
      room.append(peer)
      try peer.swarm.join(topic)
      // One after another, as people come in.
      network.advance(by: .milliseconds(200))
    }
    let met = network.run(within: .seconds(1800)) { room.allSatisfy { $0.names.count == peers } }
    let outcome = Outcome(
      everyoneMet: met, virtualTime: network.elapsed,
      connections: room.reduce(0) { $0 + $1.swarm.connections.count } / 2,
      messages: room.reduce(0) { $0 + $1.messagesReceived }, digest: network.traceDigest)
    for peer in room { peer.swarm.destroy() }
    network.advance(by: .seconds(10))
    return outcome
  }
}
