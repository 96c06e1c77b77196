import CHyperswarm
import HyperProtomuxEngine
import HyperRuntime

/// What stands behind a `hyperswarm_channel_t`.
///
/// Everything but constants is confined to the lock of the mux, callbacks to the loop.
final class ChannelHandle: @unchecked Sendable {
  /// Of a type of messages.
  struct Handler {
    let onMessage: hyperswarm_message_cb?
    let userData: UnsafeMutableRawPointer?
  }

  let mux: MuxHandle
  let link: MuxChannel
  let callbacks: hyperswarm_channel_options_t
  private(set) var pointer: OpaquePointer?
  /// By type; types above go to the callback of the options.
  private var handlers: [Handler] = []

  init(mux: MuxHandle, link: MuxChannel, callbacks: hyperswarm_channel_options_t) {
    self.mux = mux
    self.link = link
    self.callbacks = callbacks
    pointer = Handles.channels.add(self)
  }

  // MARK: Under the lock

  /// The number of the type; `nil` when there is no room for one more.
  func add(_ handler: Handler) -> Int? {
    guard handlers.count < Limits.messageTypes else { return nil }
    handlers.append(handler)
    return handlers.count - 1
  }

  func handler(_ type: UInt32) -> Handler {
    guard type < handlers.count else { return Handler(onMessage: callbacks.on_message, userData: callbacks.user_data) }
    return handlers[Int(type)]
  }

  // MARK: On the loop

  func opened(_ handshake: [UInt8]) {
    handshake.withUnsafeBytes {
      callbacks.on_open?(pointer, Empty.address(of: $0), $0.count, callbacks.user_data)
    }
  }

  func received(_ type: UInt32, _ body: [UInt8], _ handler: Handler) {
    body.withUnsafeBytes { handler.onMessage?(pointer, type, Empty.address(of: $0), $0.count, handler.userData) }
  }

  /// Last act.
  func closed(_ status: Int32) {
    callbacks.on_close?(pointer, status, callbacks.user_data)
    Handles.channels.remove(pointer)
  }
}
