import CHyperswarm
import HyperswarmABI

#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// The same through the C interface, on a loop that this thread runs.
enum CSide {
  private final class State {
    var loop: UnsafeMutablePointer<uv_loop_t>?
    var network: OpaquePointer?
    var swarms: [OpaquePointer?] = [nil, nil]
    var server: OpaquePointer?
    var own: OpaquePointer?
    var theirs: OpaquePointer?
    var isOpen = false
    var received = 0
    var returned = 0
    var gone = 0
    var echoes = false
  }

  /// Used by the thread of the loop only.
  private nonisolated(unsafe) static let state = State()

  static func run(_ messages: Int, _ bytes: Int, echoes: Int) {
    guard hyperswarm_loop_create(&state.loop) == HYPERSWARM_OK else { return print("no loop") }
    hyperswarm_testnet_create(
      state.loop, 2, { _, _, bootstrap, _ in CSide.connect(bootstrap) }, nil, &state.network)
    while !state.isOpen || state.theirs == nil { turn() }
    bulk(messages, bytes)
    if echoes > 0 { echo(echoes) }
    for swarm in state.swarms { hyperswarm_destroy(swarm, 1, { _ in CSide.state.gone += 1 }, nil) }
    while state.gone < 2 { turn() }
    hyperswarm_testnet_destroy(state.network, nil, nil)
    while hyperswarm_process(state.loop) > 0 { turn() }
    hyperswarm_loop_destroy(state.loop)
  }

  private static func turn() {
    var ready = pollfd(fd: hyperswarm_loop_fd(state.loop), events: Int16(POLLIN), revents: 0)
    poll(&ready, 1, hyperswarm_loop_timeout(state.loop))
    hyperswarm_process(state.loop)
  }

  private static func connect(_ bootstrap: UnsafePointer<CChar>?) {
    var options = hyperswarm_options_t()
    options.size = MemoryLayout<hyperswarm_options_t>.size
    options.loop = state.loop
    options.bootstrap = bootstrap
    "127.0.0.1".withCString { host in
      options.host = host
      for index in 0..<2 { hyperswarm_create(&options, &state.swarms[index]) }
    }
    var server = hyperswarm_server_options_t()
    server.size = MemoryLayout<hyperswarm_server_options_t>.size
    server.on_listening = { server, _, _ in CSide.dial(server) }
    server.on_connection = { _, connection, _ in
      CSide.state.theirs = connection
      var callbacks = hyperswarm_connection_callbacks_t()
      callbacks.size = MemoryLayout<hyperswarm_connection_callbacks_t>.size
      callbacks.on_message = { connection, data, length, _ in
        CSide.state.received += 1
        if CSide.state.echoes { hyperswarm_connection_write(connection, data, length, nil, nil) }
      }
      hyperswarm_connection_set_callbacks(connection, &callbacks)
    }
    hyperswarm_server_listen(state.swarms[0], &server, &state.server)
  }

  private static func dial(_ server: OpaquePointer?) {
    var key = [UInt8](repeating: 0, count: Int(HYPERSWARM_KEY_SIZE))
    hyperswarm_server_public_key(server, &key)
    var callbacks = hyperswarm_connection_callbacks_t()
    callbacks.size = MemoryLayout<hyperswarm_connection_callbacks_t>.size
    callbacks.on_open = { _, _ in CSide.state.isOpen = true }
    callbacks.on_message = { _, _, _, _ in CSide.state.returned += 1 }
    hyperswarm_connect(state.swarms[1], key, nil, &callbacks, &state.own)
  }

  private static func bulk(_ messages: Int, _ bytes: Int) {
    let message = [UInt8](repeating: 7, count: bytes)
    var report = Report("C, hyperswarm_connection_write", messages)
    var sent = 0
    while sent < messages {
      if sent >= InterfaceBenchmark.batch * 10 { report.begin(sent) }
      for _ in 0..<InterfaceBenchmark.batch { hyperswarm_connection_write(state.own, message, bytes, nil, nil) }
      sent += InterfaceBenchmark.batch
      while state.received < sent { turn() }
    }
    report.end(sent)
  }

  private static func echo(_ count: Int) {
    let message = [UInt8](repeating: 1, count: 64)
    state.echoes = true
    var report = Report("C, there and back, 64 bytes", count)
    report.begin(0)
    for index in 1...count {
      hyperswarm_connection_write(state.own, message, message.count, nil, nil)
      while state.returned < index { turn() }
    }
    report.end(count)
  }
}
