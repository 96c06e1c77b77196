// The names are those of hyperswarm.h.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

import CHyperswarm
import HyperCrypto
import HyperDHT
import HyperDHTEngine
import HyperEncoding
import HyperRuntime
import HyperSecretStream
import HyperswarmEngine

@c @implementation
public func hyperswarm_connect(
  _ swarm: OpaquePointer?, _ publicKey: UnsafePointer<UInt8>?,
  _ options: UnsafePointer<hyperswarm_connect_options_t>?,
  _ callbacks: UnsafePointer<hyperswarm_connection_callbacks_t>?,
  _ connection: UnsafeMutablePointer<OpaquePointer?>?
) -> Int32 {
  checked { () throws(Failure) in
    let handle = try find(Handles.swarms, swarm)
    let connection = try require(connection)
    connection.pointee = nil
    let publicKey = try key(publicKey)
    let callbacks = try sized(callbacks)
    var connect = HyperDHT.ConnectOptions()
    connect.keyPair = handle.engineKeyPair
    if options != nil {
      let given = try sized(
        options, from: \.flags, zero: hyperswarm_connect_options_t())
      if let identity = try keyPair(given.secret_key) { connect.keyPair = identity }
      connect.deadline = given.deadline == 0 ? nil : Duration(milliseconds: given.deadline)
      let flags = Int(given.flags)
      guard flags & ~Int(HYPERSWARM_CONNECT_NO_HOLEPUNCH) == 0 else { throw Failure(HYPERSWARM_ERR_INVALID_ARGUMENT) }
      connect.allowsHolepunching = flags == 0
      let relays = try keys(given.relays, given.relay_count)
      if !relays.isEmpty { connect.relayThrough = .oneOf(relays) }
      for address in list(try text(given.relay_addresses) ?? "") {
        connect.relayAddresses.append(try endpoint(address))
      }
    }
    try handle.home.checkThread()
    try handle.begin()
    let made = ConnectionHandle(swarm: handle, isInitiator: true)
    made.shared.withLock {
      $0.remotePublicKey = publicKey
      $0.userData = callbacks.user_data
      $0.changes.callbacks = callbacks
    }
    let connectOptions = connect
    let isPosted = handle.home.run {
      if let node = handle.node, !handle.shared.withLock({ $0.isDestroying }) {
        made.attach(node.connect(to: publicKey, options: .init(connectOptions)))
      } else {
        made.closed(Int32(HYPERSWARM_ERR_SWARM_DESTROYED), "the swarm is destroyed")
      }
      handle.finish()
    }
    guard isPosted else {
      Handles.connections.remove(made.pointer)
      handle.finish()
      throw Failure(HYPERSWARM_ERR_SWARM_DESTROYED)
    }
    connection.pointee = made.pointer
  }
}

private func sized(
  _ callbacks: UnsafePointer<hyperswarm_connection_callbacks_t>?
) throws(Failure) -> hyperswarm_connection_callbacks_t {
  try sized(
    callbacks, from: \.user_data, zero: hyperswarm_connection_callbacks_t())
}

@c @implementation
public func hyperswarm_connection_set_callbacks(
  _ connection: OpaquePointer?, _ callbacks: UnsafePointer<hyperswarm_connection_callbacks_t>?
) -> Int32 {
  checked { () throws(Failure) in
    let handle = try find(Handles.connections, connection)
    let callbacks = try sized(callbacks)
    try handle.change { $0.callbacks = callbacks }
  }
}

// MARK: About it

@c @implementation
public func hyperswarm_connection_user_data(_ connection: OpaquePointer?) -> UnsafeMutableRawPointer? {
  Handles.connections.find(connection)?.shared.withLock { $0.userData }
}

@c @implementation
public func hyperswarm_connection_remote_public_key(
  _ connection: OpaquePointer?, _ publicKey: UnsafeMutablePointer<UInt8>?
) -> Int32 {
  checked { () throws(Failure) in
    let handle = try find(Handles.connections, connection)
    handle.shared.withLock { $0.remotePublicKey }.copy(to: try require(publicKey))
  }
}

@c @implementation
public func hyperswarm_connection_is_peer_proven(_ connection: OpaquePointer?) -> Int32 {
  do throws(Failure) {
    return try find(Handles.connections, connection).shared.withLock { $0.isPeerProven } ? 1 : 0
  } catch {
    return error.code
  }
}

@c @implementation
public func hyperswarm_connection_handshake_hash(
  _ connection: OpaquePointer?, _ hash: UnsafeMutablePointer<UInt8>?
) -> Int32 {
  checked { () throws(Failure) in
    let handle = try find(Handles.connections, connection)
    let hash = try require(hash)
    guard let value = handle.shared.withLock({ $0.handshakeHash }) else { throw Failure(HYPERSWARM_ERR_NOT_OPEN) }
    value.copy(to: hash)
  }
}

@c @implementation
public func hyperswarm_connection_is_initiator(_ connection: OpaquePointer?) -> Int32 {
  do throws(Failure) {
    return try find(Handles.connections, connection).isInitiator ? 1 : 0
  } catch {
    return error.code
  }
}

@c @implementation
public func hyperswarm_connection_reason(
  _ connection: OpaquePointer?, _ buffer: UnsafeMutablePointer<CChar>?, _ capacity: Int
) -> Int32 {
  checked { () throws(Failure) in
    let handle = try find(Handles.connections, connection)
    let buffer = try require(buffer)
    guard capacity > 0 else { throw Failure(HYPERSWARM_ERR_INVALID_ARGUMENT) }
    let reason = handle.shared.withLock { $0.reason }.prefixOfUTF8(capacity - 1)
    for (index, byte) in reason.enumerated() { buffer[index] = CChar(bitPattern: byte) }
    buffer[reason.count] = 0
  }
}

// MARK: Sending

@c @implementation
public func hyperswarm_connection_write(
  _ connection: OpaquePointer?, _ data: UnsafeRawPointer?, _ length: Int, _ written: hyperswarm_write_cb?,
  _ userData: UnsafeMutableRawPointer?
) -> Int64 {
  do throws(Failure) {
    return try find(Handles.connections, connection).write(try bytes(data, length), written, userData)
  } catch {
    return Int64(error.code)
  }
}

@c @implementation
public func hyperswarm_connection_write_borrowed(
  _ connection: OpaquePointer?, _ data: UnsafeRawPointer?, _ length: Int, _ released: hyperswarm_release_cb?,
  _ userData: UnsafeMutableRawPointer?
) -> Int64 {
  do throws(Failure) {
    let handle = try find(Handles.connections, connection)
    return try handle.write(borrowed: try bytes(data, length), try require(released), userData)
  } catch {
    return Int64(error.code)
  }
}

@c @implementation
public func hyperswarm_connection_send_datagram(
  _ connection: OpaquePointer?, _ data: UnsafeRawPointer?, _ length: Int
) -> Int32 {
  checked { () throws(Failure) in
    let handle = try find(Handles.connections, connection)
    let bytes = try bytes(data, length)
    guard bytes.count <= Limits.datagram else { throw Failure(HYPERSWARM_ERR_MESSAGE_TOO_LARGE) }
    try handle.add(.datagram(Array(bytes)))
  }
}

@c @implementation
public func hyperswarm_connection_end(_ connection: OpaquePointer?) -> Int32 {
  checked { () throws(Failure) in try find(Handles.connections, connection).add(.end) }
}

// MARK: Settings

@c @implementation
public func hyperswarm_connection_pause(_ connection: OpaquePointer?) -> Int32 {
  checked { () throws(Failure) in try find(Handles.connections, connection).change { $0.isPaused = true } }
}

@c @implementation
public func hyperswarm_connection_resume(_ connection: OpaquePointer?) -> Int32 {
  checked { () throws(Failure) in try find(Handles.connections, connection).change { $0.isPaused = false } }
}

@c @implementation
public func hyperswarm_connection_destroy(_ connection: OpaquePointer?) -> Int32 {
  checked { () throws(Failure) in try find(Handles.connections, connection).change { $0.destroys = true } }
}

@c @implementation
public func hyperswarm_connection_set_keep_alive(_ connection: OpaquePointer?, _ milliseconds: UInt32) -> Int32 {
  checked { () throws(Failure) in try find(Handles.connections, connection).change { $0.keepAlive = milliseconds } }
}

@c @implementation
public func hyperswarm_connection_set_timeout(_ connection: OpaquePointer?, _ milliseconds: UInt32) -> Int32 {
  checked { () throws(Failure) in try find(Handles.connections, connection).change { $0.timeout = milliseconds } }
}
