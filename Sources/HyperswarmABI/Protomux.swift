// The names are those of hyperswarm_protomux.h.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

import CHyperswarm
import HyperProtomuxEngine
import HyperRuntime

// MARK: The channels of a connection

@c @implementation
public func hyperswarm_mux_create(
  _ connection: OpaquePointer?, _ options: UnsafePointer<hyperswarm_mux_options_t>?,
  _ mux: UnsafeMutablePointer<OpaquePointer?>?
) -> Int32 {
  checked { () throws(Failure) in
    let handle = try find(Handles.connections, connection)
    let mux = try require(mux)
    mux.pointee = nil
    var given = hyperswarm_mux_options_t()
    if options != nil { given = try sized(options, from: \.user_data, zero: given) }
    guard given.max_channels <= Limits.channels, given.reserved == 0 else {
      throw Failure(HYPERSWARM_ERR_INVALID_ARGUMENT)
    }
    try handle.swarm.home.checkThread()
    let made = MuxHandle(connection: handle, callbacks: given)
    do throws(Failure) {
      try handle.adopt(made)
    } catch {
      Handles.muxes.remove(made.pointer)
      throw error
    }
    mux.pointee = made.pointer
  }
}

@c @implementation
public func hyperswarm_mux_start(_ mux: OpaquePointer?) -> Int32 {
  checked { () throws(Failure) in try find(Handles.muxes, mux).start() }
}

@c @implementation
public func hyperswarm_mux_close(_ mux: OpaquePointer?) -> Int32 {
  checked { () throws(Failure) in try find(Handles.muxes, mux).close() }
}

@c @implementation
public func hyperswarm_mux_user_data(_ mux: OpaquePointer?) -> UnsafeMutableRawPointer? {
  Handles.muxes.find(mux)?.callbacks.user_data
}

@c @implementation
public func hyperswarm_mux_connection(_ mux: OpaquePointer?) -> OpaquePointer? {
  Handles.muxes.find(mux)?.connection.pointer
}

@c @implementation
public func hyperswarm_mux_cork(_ mux: OpaquePointer?) -> Int32 {
  checked { () throws(Failure) in try find(Handles.muxes, mux).call { $0.engine.cork() } }
}

@c @implementation
public func hyperswarm_mux_uncork(_ mux: OpaquePointer?) -> Int32 {
  checked { () throws(Failure) in try find(Handles.muxes, mux).call { $0.engine.uncork() } }
}

// MARK: Offers

@c @implementation
public func hyperswarm_mux_pair(
  _ mux: OpaquePointer?, _ name: UnsafePointer<CChar>?, _ id: UnsafeRawPointer?, _ idLength: Int,
  _ onOffer: hyperswarm_offer_cb?, _ userData: UnsafeMutableRawPointer?
) -> Int32 {
  checked { () throws(Failure) in
    let handle = try find(Handles.muxes, mux)
    let name = try channelName(name, id, idLength)
    let offer = MuxHandle.Offer(ask: try require(onOffer), userData: userData)
    try handle.call { state in
      state.engine.pair(name)
      state.offers[name] = offer
    }
  }
}

@c @implementation
public func hyperswarm_mux_unpair(
  _ mux: OpaquePointer?, _ name: UnsafePointer<CChar>?, _ id: UnsafeRawPointer?, _ idLength: Int
) -> Int32 {
  checked { () throws(Failure) in
    let handle = try find(Handles.muxes, mux)
    let name = try channelName(name, id, idLength)
    let wasPaired = try handle.call { state in
      state.engine.unpair(name)
      return state.offers.removeValue(forKey: name) != nil
    }
    guard wasPaired else { throw Failure(HYPERSWARM_ERR_NOT_FOUND) }
  }
}

@c @implementation
public func hyperswarm_mux_is_opened(
  _ mux: OpaquePointer?, _ name: UnsafePointer<CChar>?, _ id: UnsafeRawPointer?, _ idLength: Int
) -> Int32 {
  do throws(Failure) {
    let handle = try find(Handles.muxes, mux)
    let name = try channelName(name, id, idLength)
    return handle.state.withLock { $0.engine.isOpened(name) } ? 1 : 0
  } catch {
    return error.code
  }
}

private func channelName(
  _ name: UnsafePointer<CChar>?, _ id: UnsafeRawPointer?, _ idLength: Int
) throws(Failure) -> ChannelName {
  let id = try bytes(id, idLength)
  guard id.count <= Limits.channelName else { throw Failure(HYPERSWARM_ERR_INVALID_ARGUMENT) }
  return ChannelName(try require(try text(name)), id: Array(id))
}

// MARK: One channel

@c @implementation
public func hyperswarm_channel_create(
  _ mux: OpaquePointer?, _ options: UnsafePointer<hyperswarm_channel_options_t>?,
  _ channel: UnsafeMutablePointer<OpaquePointer?>?
) -> Int32 {
  checked { () throws(Failure) in
    let handle = try find(Handles.muxes, mux)
    let channel = try require(channel)
    channel.pointee = nil
    var given = try sized(options, from: \.user_data, zero: hyperswarm_channel_options_t())
    let name = try channelName(given.protocol, given.id, given.id_length)
    guard given.alias_count <= Limits.aliases, given.aliases != nil || given.alias_count == 0,
      Int(given.flags) & ~Int(HYPERSWARM_CHANNEL_SHARED) == 0
    else { throw Failure(HYPERSWARM_ERR_INVALID_ARGUMENT) }
    var aliases: [ChannelName] = []
    for index in 0..<Int(given.alias_count) {
      aliases.append(try channelName(given.aliases[index], given.id, given.id_length))
    }
    // Only good during this call.
    given.protocol = nil
    given.id = nil
    given.aliases = nil
    let isUnique = given.flags == 0
    let callbacks = given
    channel.pointee = try handle.call { state throws(MuxRefusal) in
      let link = try state.engine.create(name, aliases: aliases, isUnique: isUnique)
      let made = ChannelHandle(mux: handle, link: link, callbacks: callbacks)
      link.owner = made
      return made.pointer
    }
  }
}

@c @implementation
public func hyperswarm_channel_add_message(
  _ channel: OpaquePointer?, _ onMessage: hyperswarm_message_cb?, _ userData: UnsafeMutableRawPointer?
) -> Int32 {
  do throws(Failure) {
    let handle = try find(Handles.channels, channel)
    let handler = ChannelHandle.Handler(onMessage: onMessage, userData: userData)
    let type = try handle.mux.call { _ throws(MuxRefusal) -> Int? in
      guard handle.link.stage != .closed else { throw .closed }
      return handle.add(handler)
    }
    return Int32(try require(type))
  } catch {
    LastError.set(error.detail)
    return error.code
  }
}

@c @implementation
public func hyperswarm_channel_open(
  _ channel: OpaquePointer?, _ handshake: UnsafeRawPointer?, _ length: Int
) -> Int32 {
  checked { () throws(Failure) in
    let handle = try find(Handles.channels, channel)
    let handshake = try messageBody(handshake, length)
    let isSent = try handle.mux.call { state throws(MuxRefusal) in
      guard state.mayWrite else { return false }
      try state.engine.open(handle.link, handshake: handshake)
      return true
    }
    guard isSent else { throw Failure(HYPERSWARM_ERR_QUEUE_FULL) }
    // The peer may have been first.
    handle.mux.pumpSoon()
  }
}

@c @implementation
public func hyperswarm_channel_send(
  _ channel: OpaquePointer?, _ type: UInt32, _ data: UnsafeRawPointer?, _ length: Int
) -> Int64 {
  do throws(Failure) {
    let handle = try find(Handles.channels, channel)
    let body = try messageBody(data, length)
    let queued = try handle.mux.call { state throws(MuxRefusal) -> Int? in
      guard state.mayWrite else { return nil }
      try state.engine.send(handle.link, type: UInt64(type), body: body)
      return state.output.queued
    }
    guard let queued else { throw Failure(HYPERSWARM_ERR_QUEUE_FULL) }
    return Int64(queued)
  } catch {
    return Int64(error.code)
  }
}

@c @implementation
public func hyperswarm_channel_close(_ channel: OpaquePointer?) -> Int32 {
  checked { () throws(Failure) in
    let handle = try find(Handles.channels, channel)
    try handle.mux.call { state throws(MuxRefusal) in
      guard handle.link.stage != .closed else { throw .closed }
      state.engine.close(handle.link)
      handle.link.owner = nil
      state.closed.append(handle)
    }
    handle.mux.pumpSoon()
  }
}

@c @implementation
public func hyperswarm_channel_user_data(_ channel: OpaquePointer?) -> UnsafeMutableRawPointer? {
  Handles.channels.find(channel)?.callbacks.user_data
}

@c @implementation
public func hyperswarm_channel_mux(_ channel: OpaquePointer?) -> OpaquePointer? {
  Handles.channels.find(channel)?.mux.pointer
}

private func messageBody(_ data: UnsafeRawPointer?, _ length: Int) throws(Failure) -> [UInt8] {
  let bytes = try bytes(data, length)
  // The engine refuses it too; this spares the copy.
  guard bytes.count <= Limits.message else { throw Failure(HYPERSWARM_ERR_MESSAGE_TOO_LARGE) }
  return Array(bytes)
}

extension MuxHandle.State {
  /// The write queue is not full.
  fileprivate var mayWrite: Bool {
    mutating get {
      guard output.queued >= Limits.writeLimit else { return true }
      output.queued = output.connection.pump.queuedBytes
      return output.queued < Limits.writeLimit
    }
  }
}
