// The names are those of hyperswarm.h.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

import CHyperswarm
import HyperDHT
import HyperDHTEngine
import HyperEncoding
import HyperRuntime
import HyperSecretStream

@c @implementation
public func hyperswarm_connection_statistics(
  _ connection: OpaquePointer?,
  _ callback: (
    @convention(c) (
      OpaquePointer?, UnsafePointer<hyperswarm_connection_statistics_t>?, UnsafeMutableRawPointer?
    ) -> Void
  )?, _ userData: UnsafeMutableRawPointer?
) -> Int32 {
  checked { () throws(Failure) in
    let handle = try find(Handles.connections, connection)
    let callback = try require(callback)
    try handle.swarm.operation(
      failed: { _ in () }, report: { handle.report(callback, userData) }, { _, _, settle in settle(()) })
  }
}

extension ConnectionHandle {
  fileprivate func report(
    _ callback:
      @convention(c) (
        OpaquePointer?, UnsafePointer<hyperswarm_connection_statistics_t>?, UnsafeMutableRawPointer?
      ) -> Void, _ userData: UnsafeMutableRawPointer?
  ) {
    var statistics = hyperswarm_connection_statistics_t()
    statistics.size = MemoryLayout<hyperswarm_connection_statistics_t>.size
    statistics.bytes_queued = UInt64(pump.queuedBytes)
    guard let stream else { return callback(pointer, &statistics, userData) }
    statistics.messages_sent = stream.statistics.messagesWritten
    statistics.messages_received = stream.statistics.messagesRead
    statistics.is_relayed = stream.isRelayed ? 1 : 0
    statistics.path_changes = stream.statistics.pathChanges
    guard let transport = stream.transport else { return callback(pointer, &statistics, userData) }
    let numbers = transport.statistics
    statistics.round_trip_time = UInt32(clamping: numbers.roundTripTime.wholeMilliseconds)
    statistics.mtu = UInt32(numbers.mtu)
    statistics.congestion_window = numbers.congestionWindow
    statistics.bytes_in_flight = UInt64(max(numbers.bytesInFlight, 0))
    statistics.bytes_sent = numbers.bytesSent
    statistics.bytes_received = numbers.bytesReceived
    statistics.packets_sent = numbers.packetsSent
    statistics.packets_received = numbers.packetsReceived
    statistics.retransmissions = numbers.retransmissions
    guard let remote = transport.remote else { return callback(pointer, &statistics, userData) }
    remote.description.withCString {
      statistics.remote_address = $0
      callback(pointer, &statistics, userData)
    }
  }
}

@c @implementation
public func hyperswarm_connection_timeline(
  _ connection: OpaquePointer?,
  _ callback: (@convention(c) (OpaquePointer?, UnsafePointer<CChar>?, UnsafeMutableRawPointer?) -> Void)?,
  _ userData: UnsafeMutableRawPointer?
) -> Int32 {
  checked { () throws(Failure) in
    let handle = try find(Handles.connections, connection)
    let callback = try require(callback)
    let pointer = handle.pointer
    try handle.swarm.operation(
      failed: { _ in "" }, report: { text in text.withCString { callback(pointer, $0, userData) } }
    ) { _, _, settle in settle(handle.timeline.joined(separator: "\n")) }
  }
}

@c @implementation
public func hyperswarm_connections(
  _ swarm: OpaquePointer?,
  _ each: (@convention(c) (OpaquePointer?, OpaquePointer?, UnsafeMutableRawPointer?) -> Void)?,
  _ done: hyperswarm_done_cb?, _ userData: UnsafeMutableRawPointer?
) -> Int32 {
  checked { () throws(Failure) in
    let handle = try find(Handles.swarms, swarm)
    let each = try require(each)
    try handle.operation(done, userData) { _, _, settle in
      // `each` may end any of them.
      for connection in Array(handle.connections.values) where connection.isLive {
        each(handle.pointer, connection.pointer, userData)
      }
      settle(Int32(HYPERSWARM_OK))
    }
  }
}
