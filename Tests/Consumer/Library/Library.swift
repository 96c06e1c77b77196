import HyperProtomux
import HyperUDX
import Hyperswarm

// A library that uses what the products have in its own interface, as one that is built with library evolution: the
// compiler writes that interface as text, and has to understand it again. No target: Tests/Scripts/test_consumer.

public struct Room: Sendable {
  public var swarm: Hyperswarm
  public var node: HyperDHT?
  public var options: Hyperswarm.Options
  public var topics: [Bytes32: Hyperswarm.Discovery]
  public var place: UDXAddress?
  public let other: Swarm?
  public let otherNode: HyperDHTNode?

  public func join() async throws(HyperswarmError) -> Hyperswarm.Discovery { try await swarm.join(topics.keys.first!) }
  public func read(_ connection: HyperDHT.Connection) async throws(ConnectionError) -> [UInt8]? {
    try await connection.read()
  }
  public func dial(_ key: Bytes32) async throws(DHTError) -> HyperDHT.Connection { try await node!.connect(to: key) }
  public func talk(_ channel: Protomux.Channel) async throws(ProtomuxError) { try await channel.opened() }
}

extension Hyperswarm {
  public var room: Room? { nil }
}

extension HyperDHT.Connection {
  public var isInRoom: Bool { peer != nil }
}

// The names with their modules, in the source, too.
public typealias Errors = (Hyperswarm.HyperswarmError, HyperDHT.ConnectionError, Hyperswarm.Hyperswarm.Options)
