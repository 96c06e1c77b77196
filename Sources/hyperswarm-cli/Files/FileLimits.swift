/// Bounds of `send` and `receive` beside those of their protocol.
enum FileLimits {
  /// Time without anything from the peer after which a connection counts as lost: several keepalives.
  static let silence = Duration.seconds(20)
  /// For a peer to take why this side gives up.
  static let farewell = Duration.seconds(3)
  /// For a receiver to say what it wants, its code included: then strangers make room for others.
  static let greeting = Duration.seconds(30)
  /// Receivers served at a time; further ones take the places of others (`Places`), or are refused in the answer to
  /// their handshake.
  static let sessions = 32
  /// Without a message for so long, a receiver gives way to one of a host with fewer.
  static let idle = Duration.seconds(30)
  /// From one look at whether some may give way to the next.
  static let look = Duration.seconds(2)
  /// How long a lost connection is dialled again without a byte of progress.
  static let reconnecting = Duration.seconds(120)
  /// Longest pause between two attempts.
  static let pause = Duration.seconds(8)
  /// How long a sender is looked for under a code.
  static let search = Duration.seconds(30)
  /// For one candidate under a code: several may be there, the dead ones included.
  static let candidate = Duration.seconds(15)
  /// Candidates that a code is tried with: each gets one guess at it.
  static let guesses = 3
  /// Announcements last 20 minutes.
  static let announcing = Duration.seconds(480)
  /// Names that are shown before the question whether to receive.
  static let shownNames = 10
  /// Files that could not be had, of which each is named; the others are counted.
  static let shownFailures = 100
  /// Bytes after which a file on its way begins to be written to the disk.
  static let writeBack: UInt64 = 8 << 20
  /// Small files that go to the disk, and get their names, together: a journal is written once for all of them.
  static let named = 64
  /// Bytes of such a file at most.
  static let smallFile: UInt64 = 1 << 20
  /// Bytes of one read of a file whose beginning is hashed again.
  static let rereading = 1 << 20
}
