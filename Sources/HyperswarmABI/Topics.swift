// The names are those of hyperswarm.h.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

import CHyperswarm
import HyperEncoding
import HyperRuntime
import HyperswarmEngine

@c @implementation
public func hyperswarm_join(
  _ swarm: OpaquePointer?, _ topic: UnsafePointer<UInt8>?, _ roles: UInt32, _ done: hyperswarm_done_cb?,
  _ userData: UnsafeMutableRawPointer?
) -> Int32 {
  checked { () throws(Failure) in
    try find(Handles.swarms, swarm).join(try key(topic), try JoinOptions(roles: roles, limit: 0), done, userData)
  }
}

@c @implementation
public func hyperswarm_join_with(
  _ swarm: OpaquePointer?, _ topic: UnsafePointer<UInt8>?, _ options: UnsafePointer<hyperswarm_join_options_t>?,
  _ done: hyperswarm_done_cb?, _ userData: UnsafeMutableRawPointer?
) -> Int32 {
  checked { () throws(Failure) in
    let handle = try find(Handles.swarms, swarm)
    let given = try sized(options, from: \.limit, zero: hyperswarm_join_options_t())
    try handle.join(try key(topic), try JoinOptions(roles: given.roles, limit: given.limit), done, userData)
  }
}

extension JoinOptions {
  fileprivate init(roles: UInt32, limit: UInt32) throws(Failure) {
    let known = UInt32(HYPERSWARM_SERVER) | UInt32(HYPERSWARM_CLIENT)
    guard roles & ~known == 0 else { throw Failure(HYPERSWARM_ERR_INVALID_ARGUMENT) }
    guard roles != 0 else { throw Failure(HYPERSWARM_ERR_NO_ROLES) }
    self.init(
      server: roles & UInt32(HYPERSWARM_SERVER) != 0, client: roles & UInt32(HYPERSWARM_CLIENT) != 0,
      limit: limit == 0 ? nil : Int(limit))
  }
}

extension SwarmHandle {
  fileprivate func join(
    _ topic: Bytes32, _ options: JoinOptions, _ done: hyperswarm_done_cb?, _ userData: UnsafeMutableRawPointer?
  ) throws(Failure) {
    try operation(done, userData) { [self] engine, _, settle in
      if let session = sessions[topic], !session.isDestroyed {
        session.refresh(options) { settle(roundStatus($0, engine, session)) }
        return
      }
      do throws(SwarmError) {
        let session = try engine.join(topic: topic, options: options)
        sessions[topic] = session
        session.flushed { settle(roundStatus($0, engine, session)) }
      } catch {
        settle(status(error))
      }
    }
  }
}

/// What became of a round of announcing and looking up: of one topic, or of all.
func roundStatus(_ result: Result<Bool, SwarmError>, _ engine: SwarmEngine, _ session: DiscoverySession?) -> Int32 {
  guard case .success(false) = result else { return status(result) }
  if engine.isDestroyed { return Int32(HYPERSWARM_ERR_SWARM_DESTROYED) }
  if session?.isDestroyed == true { return Int32(HYPERSWARM_ERR_SESSION_DESTROYED) }
  return Int32(engine.isSuspended ? HYPERSWARM_ERR_SUSPENDED : HYPERSWARM_ERR_REFRESH_FAILED)
}

@c @implementation
public func hyperswarm_refresh(
  _ swarm: OpaquePointer?, _ topic: UnsafePointer<UInt8>?, _ done: hyperswarm_done_cb?,
  _ userData: UnsafeMutableRawPointer?
) -> Int32 {
  checked { () throws(Failure) in
    let handle = try find(Handles.swarms, swarm)
    let topic = try key(topic)
    try handle.operation(done, userData) { engine, _, settle in
      guard let session = handle.sessions[topic] else { return settle(Int32(HYPERSWARM_ERR_SESSION_DESTROYED)) }
      session.refresh { settle(roundStatus($0, engine, session)) }
    }
  }
}

@c @implementation
public func hyperswarm_leave(
  _ swarm: OpaquePointer?, _ topic: UnsafePointer<UInt8>?, _ done: hyperswarm_done_cb?,
  _ userData: UnsafeMutableRawPointer?
) -> Int32 {
  checked { () throws(Failure) in
    let handle = try find(Handles.swarms, swarm)
    let topic = try key(topic)
    try handle.operation(done, userData) { engine, _, settle in
      handle.sessions[topic] = nil
      engine.leave(topic) { settle(Int32(HYPERSWARM_OK)) }
    }
  }
}

@c @implementation
public func hyperswarm_clear(
  _ swarm: OpaquePointer?, _ done: hyperswarm_done_cb?, _ userData: UnsafeMutableRawPointer?
) -> Int32 {
  checked { () throws(Failure) in
    let handle = try find(Handles.swarms, swarm)
    try handle.operation(done, userData) { engine, _, settle in
      handle.sessions = [:]
      engine.clear { settle(Int32(HYPERSWARM_OK)) }
    }
  }
}

@c @implementation
public func hyperswarm_topics(
  _ swarm: OpaquePointer?,
  _ each: (@convention(c) (OpaquePointer?, UnsafePointer<hyperswarm_topic_info_t>?, UnsafeMutableRawPointer?) -> Void)?,
  _ done: hyperswarm_done_cb?, _ userData: UnsafeMutableRawPointer?
) -> Int32 {
  checked { () throws(Failure) in
    let handle = try find(Handles.swarms, swarm)
    let each = try require(each)
    try handle.operation(done, userData) { engine, _, settle in
      let connected = Set(engine.connections.compactMap(\.remotePublicKey))
      var known: [Bytes32: (peers: UInt32, connections: UInt32)] = [:]
      for peer in engine.peers.values {
        for topic in peer.topics {
          known[topic, default: (0, 0)].peers += 1
          if connected.contains(peer.publicKey) { known[topic, default: (0, 0)].connections += 1 }
        }
      }
      for discovery in engine.topics {
        let session = handle.sessions[discovery.topic]
        var info = hyperswarm_topic_info_t()
        info.size = MemoryLayout<hyperswarm_topic_info_t>.size
        if session?.isServer == true { info.roles |= UInt32(HYPERSWARM_SERVER) }
        if session?.isClient == true { info.roles |= UInt32(HYPERSWARM_CLIENT) }
        info.limit = UInt32(clamping: session?.options.limit ?? 0)
        info.peers = known[discovery.topic]?.peers ?? 0
        info.connections = known[discovery.topic]?.connections ?? 0
        info.is_announced = discovery.isAnnounced ? 1 : 0
        discovery.topic.withUnsafePointer {
          info.topic = $0
          each(handle.pointer, &info, userData)
        }
      }
      settle(Int32(HYPERSWARM_OK))
    }
  }
}
