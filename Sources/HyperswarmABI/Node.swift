// The names are those of hyperswarm.h.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

import CHyperswarm
import HyperDHT
import HyperDHTEngine
import HyperEncoding
import HyperRPC
import HyperRuntime

/// An address of the caller, with numbers.
func endpoint(_ text: String) throws(Failure) -> Endpoint {
  guard let endpoint = Endpoint(text) else { throw Failure(HYPERSWARM_ERR_INVALID_ADDRESS) }
  return endpoint
}

@c @implementation
public func hyperswarm_ping(
  _ swarm: OpaquePointer?, _ address: UnsafePointer<CChar>?,
  _ done: (
    @convention(c) (OpaquePointer?, Int32, UnsafePointer<hyperswarm_pong_t>?, UnsafeMutableRawPointer?) -> Void
  )?, _ userData: UnsafeMutableRawPointer?
) -> Int32 {
  checked { () throws(Failure) in
    let handle = try find(Handles.swarms, swarm)
    let target = try endpoint(try require(try text(address)))
    let failed: (Int32) -> Result<Response, Failure> = { .failure(Failure($0)) }
    let report: (Result<Response, Failure>) -> Void = { result in
      switch result {
      case .success(let response): response.withPong { done?(handle.pointer, Int32(HYPERSWARM_OK), $0, userData) }
      case .failure(let failure): done?(handle.pointer, failure.code, nil, userData)
      }
    }
    try handle.operation(failed: failed, report: report) { _, node, settle in
      let session = node.rpc.makeSession()
      handle.whenCancelled { session.destroy() }
      node.rpc.ping(target, options: RequestOptions(session: session)) { result in
        settle(result.mapError { Failure(status(DHTError($0))) })
      }
    }
  }
}

extension Response {
  fileprivate func withPong(_ body: (UnsafePointer<hyperswarm_pong_t>) -> Void) {
    from.withNode { node in
      to.description.withCString { seen in
        var pong = hyperswarm_pong_t()
        pong.size = MemoryLayout<hyperswarm_pong_t>.size
        pong.id = node.pointee.id
        pong.address = node.pointee.address
        pong.seen_address = seen
        pong.round_trip_time = roundTripTime
        body(&pong)
      }
    }
  }
}

extension NodeAddress {
  fileprivate func withNode(_ body: (UnsafePointer<hyperswarm_node_t>) -> Void) {
    (id ?? Bytes32()).withUnsafePointer { id in
      endpoint.description.withCString { address in
        var node = hyperswarm_node_t()
        node.size = MemoryLayout<hyperswarm_node_t>.size
        node.id = self.id == nil ? nil : id
        node.address = address
        body(&node)
      }
    }
  }
}

@c @implementation
public func hyperswarm_find_node(
  _ swarm: OpaquePointer?, _ target: UnsafePointer<UInt8>?,
  _ each: (@convention(c) (OpaquePointer?, UnsafePointer<hyperswarm_node_t>?, UnsafeMutableRawPointer?) -> Void)?,
  _ done: hyperswarm_done_cb?, _ userData: UnsafeMutableRawPointer?
) -> Int32 {
  checked { () throws(Failure) in
    let handle = try find(Handles.swarms, swarm)
    let target = try key(target)
    let each = try require(each)
    try handle.operation(done, userData) { _, node, settle in
      let query = node.rpc.findNode(target: target, options: .init())
      query.onFinished = { [unowned query] result in
        let outcome = query.outcome(result)
        if case .success = outcome {
          for reply in query.closestReplies { reply.from.withNode { each(handle.pointer, $0, userData) } }
        }
        settle(status(outcome))
      }
      query.start()
      handle.whenCancelled {
        query.onFinished = nil
        query.destroy()
      }
    }
  }
}

@c @implementation
public func hyperswarm_add_node(_ swarm: OpaquePointer?, _ address: UnsafePointer<CChar>?) -> Int32 {
  checked { () throws(Failure) in
    let handle = try find(Handles.swarms, swarm)
    let added = try endpoint(try require(try text(address)))
    try handle.operation(nil, nil) { _, node, settle in
      node.rpc.addNode(added)
      settle(Int32(HYPERSWARM_OK))
    }
  }
}
