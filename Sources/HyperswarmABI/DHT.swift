// The names are those of hyperswarm.h.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

import CHyperswarm
import HyperCrypto
import HyperDHT
import HyperDHTEngine
import HyperEncoding
import HyperRuntime
import Hyperswarm
import HyperswarmEngine

// MARK: Peers

@c @implementation
public func hyperswarm_announce(
  _ swarm: OpaquePointer?, _ topic: UnsafePointer<UInt8>?, _ secretKey: UnsafePointer<UInt8>?,
  _ done: hyperswarm_done_cb?, _ userData: UnsafeMutableRawPointer?
) -> Int32 {
  checked { () throws(Failure) in
    let handle = try find(Handles.swarms, swarm)
    let topic = try key(topic)
    let identity = try require(try keyPair(secretKey) ?? handle.engineKeyPair)
    try handle.announce(topic, identity, [], done, userData)
  }
}

@c @implementation
public func hyperswarm_announce_with(
  _ swarm: OpaquePointer?, _ topic: UnsafePointer<UInt8>?, _ options: UnsafePointer<hyperswarm_announce_options_t>?,
  _ done: hyperswarm_done_cb?, _ userData: UnsafeMutableRawPointer?
) -> Int32 {
  checked { () throws(Failure) in
    let handle = try find(Handles.swarms, swarm)
    let topic = try key(topic)
    let given = try sized(options, from: \.relay_addresses, zero: hyperswarm_announce_options_t())
    let identity = try require(try keyPair(given.secret_key) ?? handle.engineKeyPair)
    var relays: [Endpoint] = []
    for address in list(try text(given.relay_addresses) ?? "") { relays.append(try endpoint(address)) }
    try handle.announce(topic, identity, relays, done, userData)
  }
}

extension SwarmHandle {
  fileprivate func announce(
    _ topic: Bytes32, _ identity: KeyPair, _ relays: [Endpoint], _ done: hyperswarm_done_cb?,
    _ userData: UnsafeMutableRawPointer?
  ) throws(Failure) {
    try operation(done, userData) { [self] _, node, settle in
      let query = node.announce(topic, keyPair: identity, relayAddresses: relays)
      query.onFinished = { settle(status($0)) }
      query.start()
      whenCancelled { query.destroy() }
    }
  }
}

@c @implementation
public func hyperswarm_unannounce(
  _ swarm: OpaquePointer?, _ topic: UnsafePointer<UInt8>?, _ secretKey: UnsafePointer<UInt8>?,
  _ done: hyperswarm_done_cb?, _ userData: UnsafeMutableRawPointer?
) -> Int32 {
  checked { () throws(Failure) in
    let handle = try find(Handles.swarms, swarm)
    let topic = try key(topic)
    let identity = try require(try keyPair(secretKey) ?? handle.engineKeyPair)
    try handle.operation(done, userData) { _, node, settle in
      node.unannounce(topic, keyPair: identity) { settle(status($0)) }
    }
  }
}

@c @implementation
public func hyperswarm_lookup(
  _ swarm: OpaquePointer?, _ topic: UnsafePointer<UInt8>?, _ each: hyperswarm_record_cb?, _ done: hyperswarm_done_cb?,
  _ userData: UnsafeMutableRawPointer?
) -> Int32 {
  checked { () throws(Failure) in
    let handle = try find(Handles.swarms, swarm)
    let topic = try key(topic)
    let each = try require(each)
    try handle.operation(done, userData) { _, node, settle in
      handle.run(node.lookup(topic), settle) { reply in
        reply.peers.allSatisfy {
          withRecord($0, from: reply.from.endpoint) { each(handle.pointer, $0, userData) } == 0
        }
      }
    }
  }
}

@c @implementation
public func hyperswarm_find_peer(
  _ swarm: OpaquePointer?, _ publicKey: UnsafePointer<UInt8>?, _ each: hyperswarm_record_cb?,
  _ done: hyperswarm_done_cb?, _ userData: UnsafeMutableRawPointer?
) -> Int32 {
  checked { () throws(Failure) in
    let handle = try find(Handles.swarms, swarm)
    let publicKey = try key(publicKey)
    let each = try require(each)
    try handle.operation(done, userData) { _, node, settle in
      handle.run(node.findPeer(publicKey), settle) { reply in
        withRecord(reply.peer, from: reply.from.endpoint) { each(handle.pointer, $0, userData) } == 0
      }
    }
  }
}

extension SwarmHandle {
  /// Runs a query until it is done, cancelled, or `goesOn` says no, which is a success.
  fileprivate func run<Item>(
    _ query: DHTQuery<Item>, _ settle: @escaping (Int32) -> Void, _ goesOn: @escaping (Item) -> Bool
  ) {
    var isEnough = false
    query.onReply = { [unowned query] item in
      guard !isEnough, !goesOn(item) else { return }
      isEnough = true
      query.destroy()
    }
    query.onFinished = { settle(isEnough ? Int32(HYPERSWARM_OK) : status($0)) }
    query.start()
    whenCancelled {
      query.onReply = nil
      query.destroy()
    }
  }
}

private func withRecord(
  _ record: PeerRecord, from: Endpoint, _ body: (UnsafePointer<hyperswarm_record_t>?) -> Int32
) -> Int32 {
  record.publicKey.withUnsafePointer { key in
    record.relayAddresses.map(\.description).joined(separator: ",").withCString { relays in
      from.description.withCString { from in
        var value = hyperswarm_record_t()
        value.size = MemoryLayout<hyperswarm_record_t>.size
        value.public_key = key
        value.relay_addresses = relays
        value.from = from
        return body(&value)
      }
    }
  }
}

// MARK: Values

/// What a put or a get has brought.
private struct Value {
  var key: Bytes32
  var data: [UInt8]?
  var sequence: UInt64 = 0
  var signature: Bytes64?
  var stored = 0

  func report(_ body: (UnsafePointer<hyperswarm_value_t>?) -> Void) {
    var value = hyperswarm_value_t()
    value.size = MemoryLayout<hyperswarm_value_t>.size
    value.sequence = sequence
    value.stored = UInt32(clamping: stored)
    key.withUnsafePointer { key in
      value.key = key
      (signature ?? Bytes64()).withUnsafePointer { signature in
        value.signature = self.signature == nil ? nil : signature
        guard let data else { return body(&value) }
        value.length = data.count
        // Never NULL for a value that is there.
        (data.isEmpty ? [0] : data).withUnsafeBufferPointer {
          value.data = $0.baseAddress
          body(&value)
        }
      }
    }
  }
}

extension SwarmHandle {
  fileprivate func valueOperation(
    _ done: hyperswarm_value_cb?, _ userData: UnsafeMutableRawPointer?,
    _ start: @escaping (DHTNode, _ settle: @escaping (Result<Value?, DHTError>) -> Void) -> () -> Void
  ) throws(Failure) {
    let report: (Result<Value, Failure>) -> Void = { [pointer] result in
      switch result {
      case .success(let value): value.report { done?(pointer, Int32(HYPERSWARM_OK), $0, userData) }
      case .failure(let failure): done?(pointer, failure.code, nil, userData)
      }
    }
    let failed: (Int32) -> Result<Value, Failure> = { .failure(Failure($0)) }
    try operation(failed: failed, report: report) { [self] _, node, settle in
      let giveUp = start(node) { result in
        switch result {
        case .success(.some(let value)): settle(.success(value))
        case .success(.none): settle(.failure(Failure(HYPERSWARM_ERR_NOT_FOUND)))
        case .failure(let error): settle(.failure(Failure(status(error))))
        }
      }
      whenCancelled(giveUp)
    }
  }
}

private func value(_ data: UnsafeRawPointer?, _ length: Int) throws(Failure) -> [UInt8] {
  let bytes = try bytes(data, length)
  // The engine refuses it too; this spares the copy.
  guard bytes.count <= Int(HYPERSWARM_MAX_VALUE) else { throw Failure(HYPERSWARM_ERR_VALUE_TOO_LARGE) }
  return Array(bytes)
}

@c @implementation
public func hyperswarm_immutable_put(
  _ swarm: OpaquePointer?, _ data: UnsafeRawPointer?, _ length: Int, _ done: hyperswarm_value_cb?,
  _ userData: UnsafeMutableRawPointer?
) -> Int32 {
  checked { () throws(Failure) in
    let handle = try find(Handles.swarms, swarm)
    let data = try value(data, length)
    try handle.valueOperation(done, userData) { node, settle in
      node.immutablePut(data) { settle($0.map { Value(key: $0.target, stored: $0.stored) }) }
    }
  }
}

@c @implementation
public func hyperswarm_immutable_get(
  _ swarm: OpaquePointer?, _ hash: UnsafePointer<UInt8>?, _ done: hyperswarm_value_cb?,
  _ userData: UnsafeMutableRawPointer?
) -> Int32 {
  checked { () throws(Failure) in
    let handle = try find(Handles.swarms, swarm)
    let hash = try key(hash)
    try handle.valueOperation(done, userData) { node, settle in
      node.immutableGet(hash) { settle($0.map { $0.map { Value(key: hash, data: $0.value) } }) }
    }
  }
}

@c @implementation
public func hyperswarm_mutable_put(
  _ swarm: OpaquePointer?, _ secretKey: UnsafePointer<UInt8>?, _ sequence: UInt64, _ data: UnsafeRawPointer?,
  _ length: Int, _ done: hyperswarm_value_cb?, _ userData: UnsafeMutableRawPointer?
) -> Int32 {
  checked { () throws(Failure) in
    let handle = try find(Handles.swarms, swarm)
    let data = try value(data, length)
    let identity = try require(try keyPair(secretKey) ?? handle.engineKeyPair)
    try handle.valueOperation(done, userData) { node, settle in
      node.mutablePut(keyPair: identity, value: data, sequence: sequence) {
        settle($0.map { Value(key: $0.publicKey, sequence: $0.sequence, stored: $0.stored) })
      }
    }
  }
}

@c @implementation
public func hyperswarm_mutable_get(
  _ swarm: OpaquePointer?, _ publicKey: UnsafePointer<UInt8>?, _ sequence: UInt64, _ done: hyperswarm_value_cb?,
  _ userData: UnsafeMutableRawPointer?
) -> Int32 {
  checked { () throws(Failure) in
    let handle = try find(Handles.swarms, swarm)
    let publicKey = try key(publicKey)
    var options = MutableGetOptions()
    options.sequence = sequence
    let getOptions = options
    try handle.valueOperation(done, userData) { node, settle in
      node.mutableGet(publicKey, options: getOptions) {
        settle(
          $0.map {
            $0.map { Value(key: publicKey, data: $0.value, sequence: $0.sequence, signature: $0.signature) }
          })
      }
    }
  }
}
