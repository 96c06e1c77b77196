/// Bounds of one multiplexed connection: what a peer can cause at most, whatever the program above does.
package enum Limits {
  /// Channels of one connection that are open or on their way, both sides' together: a store of thousands of feeds
  /// fits, at about a kilobyte each. Further ones of the peer are rejected.
  package static let channels = 16_384
  /// Bytes held for channels that the peer has opened and this side has not: above it nothing more is taken from the
  /// stream (secret-stream.md Annex A).
  package static let pendingBytes = 32_768
  /// Bytes that each message held counts more than its own (secret-stream.md Annex A).
  package static let pendingMessageCost = 512
  /// Channels of the peer that the program is considering at a time: each is a task of the program. From it on nothing
  /// more is taken from the stream.
  package static let offers = 4096
  /// Bytes of names and ids of those, and what each counts more than its own: the same for programs that take long.
  package static let offerBytes = 4 << 20
  package static let offerCost = 512
  /// Bytes of a batch from which on it is sent although the connection is corked (secret-stream.md Annex A).
  package static let batch = 8 << 20
  /// Bytes of a frame more than the body of its message: a batch of one, with the largest integers.
  package static let frameOverhead = 2 + 4 * 9
  /// Bytes of rejections that may wait behind a stream without room: a peer that opens and does not read waits, too.
  package static let replyBytes = 64 << 10

  /// What the constants must be to each other. Called by every multiplexer that is made.
  static func check() {
    precondition(offers <= channels, "what is considered can be opened")
    precondition(offers * offerCost < offerBytes, "short names are bounded by their number")
    precondition(pendingMessageCost < pendingBytes && replyBytes > 0, "something can be held")
  }
}
