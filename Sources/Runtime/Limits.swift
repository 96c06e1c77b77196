/// Bounds of the event loop and of the helpers between threads.
package enum Limits {
  // MARK: Event loop

  /// Rounds of jobs that enqueue further jobs before sockets and timers get their turn.
  static let drainRounds = 8
  /// Turns that an own loop waits for handles of others to finish closing before it lets the thread go.
  static let closingTurns = 1000
  /// Name look-ups at a time, each with a thread; further ones fail at once. More than a bootstrap list has names.
  static let lookups = 16
  /// Bytes of stack of such a thread: resolvers keep whole answers of 64 KB on it.
  static let lookupStack = 512 << 10
  /// Longest host name (RFC 1035 section 2.3.4).
  static let hostName = 253
  /// Addresses that are taken from one look-up.
  static let addressesPerLookup = 32
  /// Milliseconds between two looks at the interfaces at least: each is a walk through a table of the kernel.
  static let interfaceInterval: UInt64 = 100

  /// Milliseconds of a duration that a program gives, at most, 35,000 years: what it takes for "never" can still be
  /// added to the clock, and counted in microseconds.
  static let longestDuration: UInt64 = 1 << 50

  /// Milliseconds between two looks where the system tells of changes: for what an event did not say.
  static let interfaceRecheck: UInt64 = 5000

  // MARK: Writing, per connection

  /// Bytes that `write` takes before it suspends the caller: enough for a loop turn of bulk data (about a millisecond
  /// at 1 GB/s), so that a hop between threads costs only once per half of it.
  package static let writeWindow = 1 << 20
  /// Bytes down to which suspended writers wait: the loop has the other half to work on while they wake up.
  package static let writeResume = writeWindow / 2
  /// Bytes handed from the write queue to the stream before they are counted off, so that writer and loop run in
  /// parallel.
  package static let writeStep = 128 << 10

  // MARK: Reading, per connection

  /// Bytes received and not yet read: above this the stream is paused and the window towards the peer closes.
  package static let readWindow = 2 << 20
  /// Bytes until the application first reads: what a peer can fill that the application does not know yet.
  package static let unreadWindow = 64 << 10
  /// Bytes down to which a paused stream waits: as `writeResume`.
  package static let readResume = readWindow / 2
  /// Bytes received in one turn of the loop before the reader is told.
  package static let readStep = 128 << 10
  /// Datagrams or messages not yet read; further ones are dropped, like everywhere on their way.
  package static let datagrams = 256

  /// Bytes that each message counts more than its own, for its memory: an array of few bytes takes about this.
  package static let messageCost = 64

  /// What the constants must be to each other. Called by every loop that is made.
  static func check() {
    precondition(writeResume < writeWindow && readResume < readWindow, "a resumed side has room before it stops again")
    precondition(writeStep <= writeResume, "a waiting writer sees progress before the queue is empty")
    precondition(unreadWindow <= readResume, "the first read opens the window")
    precondition(readStep <= readWindow, "one delivery fits the window")
    precondition(messageCost > 0, "empty messages count")
    precondition(drainRounds > 0 && closingTurns > 0 && lookups > 0 && addressesPerLookup > 0)
  }
}
