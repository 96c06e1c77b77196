// The names are those of hyperswarm.h.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

import CHyperswarm
import HyperDHTEngine
import HyperEncoding
import HyperEnvironment
import HyperRPC
import HyperRuntime
import Hyperswarm
import HyperswarmEngine

@c @implementation
public func hyperswarm_statistics(
  _ swarm: OpaquePointer?,
  _ callback: (
    @convention(c) (OpaquePointer?, UnsafePointer<hyperswarm_statistics_t>?, UnsafeMutableRawPointer?) -> Void
  )?, _ userData: UnsafeMutableRawPointer?
) -> Int32 {
  checked { () throws(Failure) in
    let handle = try find(Handles.swarms, swarm)
    let callback = try require(callback)
    try handle.operation(
      failed: { _ in SwarmNumbers() },
      report: { statistics in
        statistics.withC { callback(handle.pointer, $0, userData) }
      }
    ) { engine, node, settle in settle(SwarmNumbers(engine, node)) }
  }
}

/// Numbers, and the texts among them.
private struct SwarmNumbers {
  var numbers = hyperswarm_statistics_t()
  var remote: String?
  var local: String?

  init() {}

  init(_ engine: SwarmEngine, _ node: DHTNode) {
    numbers = hyperswarm_statistics_t(engine, node)
    remote = node.rpc.remoteAddress?.description
    guard let bound = node.rpc.serverSocket?.localEndpoint else { return }
    local = (bound.host == .any ? Endpoint(host: .loopback, port: bound.port) : bound).description
  }

  func withC(_ body: (UnsafePointer<hyperswarm_statistics_t>) -> Void) {
    var numbers = numbers
    numbers.size = MemoryLayout<hyperswarm_statistics_t>.size
    (remote ?? "").withCString { remote in
      (local ?? "").withCString { local in
        numbers.remote_address = self.remote == nil ? nil : remote
        numbers.local_address = self.local == nil ? nil : local
        body(&numbers)
      }
    }
  }
}

extension hyperswarm_statistics_t {
  fileprivate init(_ engine: SwarmEngine, _ node: DHTNode) {
    self.init()
    let swarm = engine.statistics
    nodes = UInt64(node.rpc.nodeCount)
    topics = UInt64(swarm.topics)
    peers = UInt64(swarm.known)
    connecting = UInt64(swarm.connecting)
    client_connections = UInt64(swarm.liveClients)
    server_connections = UInt64(swarm.liveServers)
    streams = UInt64(node.rawStreamCount)
    is_bootstrapped = node.rpc.isBootstrapped ? 1 : 0
    is_online = node.rpc.isOnline ? 1 : 0
    is_ephemeral = node.rpc.isEphemeral ? 1 : 0
    is_firewalled = node.rpc.isFirewalled ? 1 : 0
    is_suspended = node.isSuspended ? 1 : 0
    is_offline = node.rpc.isOffline ? 1 : 0
    dials_attempted = swarm.client.attempted
    dials_opened = swarm.client.opened
    accepted = swarm.server.opened
    refused_by_firewall = swarm.refusedByFirewall
    refused_by_limit = swarm.refusedByLimit
    bytes_sent = swarm.bytesTransmitted
    bytes_received = swarm.bytesReceived
    packets_sent = swarm.packetsTransmitted
    packets_received = swarm.packetsReceived
    retransmissions = swarm.retransmissions
    is_randomized = node.rpc.isRandomized ? 1 : 0
    is_degraded = node.rpc.isDegraded ? 1 : 0
    queued = UInt64(swarm.queued)
    waiting = UInt64(swarm.waiting)
    servers = UInt64(node.servers.count)
    active_requests = node.rpc.statistics.requestsActive
    active_queries = node.rpc.statistics.queriesActive
    connections_closed = swarm.client.closed &+ swarm.server.closed
    connects_started = node.statistics.connects.started
    connects_opened = node.statistics.connects.opened
    connects_failed = node.statistics.connects.failed
    handshakes_received = node.statistics.handshakes.received
  }
}

@c @implementation
public func hyperswarm_metrics(
  _ swarm: OpaquePointer?,
  _ callback: (@convention(c) (OpaquePointer?, UnsafePointer<CChar>?, UnsafeMutableRawPointer?) -> Void)?,
  _ userData: UnsafeMutableRawPointer?
) -> Int32 {
  checked { () throws(Failure) in
    let handle = try find(Handles.swarms, swarm)
    let callback = try require(callback)
    try handle.operation(
      failed: { _ in "" }, report: { text in text.withCString { callback(handle.pointer, $0, userData) } }
    ) { engine, node, settle in settle(engine.metrics(with: node).prometheusText) }
  }
}
