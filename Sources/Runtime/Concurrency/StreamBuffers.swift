/// Bounds of the buffers between a stream on its loop and its user elsewhere, per connection. Bytes.
package enum StreamBuffers {
  /// What `write` takes before it suspends the caller: enough for a loop turn of bulk data (about a millisecond at
  /// 1 GB/s), so that a hop between threads costs only once per half of it.
  package static let writeWindow = 1 << 20
  /// Suspended writers go on below this.
  package static let writeResume = writeWindow / 2
  /// Handed from the write queue to the stream before the books are updated, so that writer and loop run in parallel.
  package static let writeStep = 128 << 10

  /// Received and not yet read: above this the stream is paused and the window towards the peer closes.
  package static let readWindow = 2 << 20
  /// Until the application first reads; strangers may fill this much each.
  package static let unreadWindow = 64 << 10
  /// Reading goes on below this.
  package static let readResume = 1 << 20
  /// Small messages count at least this much, for their own memory.
  package static let messageCost = 64
  /// Received in one turn of the loop before the reader is told.
  package static let readStep = 128 << 10

  /// Datagrams or messages not yet read; further ones are dropped, like everywhere on their way.
  package static let datagrams = 256
}
