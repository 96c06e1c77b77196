import CHyperSodium
import HyperCrypto

/// Bounds and constants of handshakes and secret streams; bytes unless said otherwise (secret-stream.md 2).
package enum Limits {
  /// Noise handshakes.
  package enum Noise {
    /// One encrypted item of a message with its tag: a Noise message is at most this long (secret-stream.md 3).
    package static let maximumCiphertext = 65_535
  }

  /// The ordered, encrypted stream.
  package enum Stream {
    /// Little-endian length before every frame; does not count itself.
    package static let prefixCount = 3
    /// The largest length that fits into the prefix.
    package static let maximumBody = 1 << (8 * prefixCount) - 1
    /// Encrypted tag (1) and MAC of a message.
    package static let messageOverhead = 1 + HyperCrypto.Limits.mac
    package static let maximumMessage = maximumBody - messageOverhead
    /// Header of libsodium's secretstream: the sender's random bytes.
    package static let streamHeader = 24
    /// Stream id (32) and secretstream header.
    package static let headerBody = 32 + streamHeader
    /// Prefix and message overhead.
    package static let frameOverhead = prefixCount + messageOverhead

    /// Queued bytes from which `write` asks the writer to wait, before the keys exist: a first flight.
    package static let highWaterMark = 16_384
    /// Bytes of messages that may wait for the keys. A writer that ignores back-pressure for this long is broken.
    package static let maximumQueuedBeforeKeys = 64 << 20

    /// Small messages of one loop turn share a buffer of this size at first; it doubles within a turn up to the
    /// maximum. 2 KiB holds a dozen protocol messages and is no loss for a single one.
    package static let firstBatch = 2 << 10
    package static let maximumBatch = 64 << 10

    /// Bytes that may wait for a paused reader: what the transport had in its hands when it was told to pause, at most
    /// one frame of the largest size and as much again.
    package static let maximumUnread = 2 * maximumBody
    /// Reassembly buffers above this size are given back once they are empty.
    package static let keptBuffer = 256 << 10
    /// First size of a reassembly buffer; it then doubles with what really arrives.
    package static let firstBuffer = 4 << 10

    /// The largest frame whose rest, from a new address, shows that the peer has moved: a message of 64 KiB. Each
    /// attempt costs its authentication, and the transport holds about as many bytes.
    package static let provingBody = (64 << 10) + messageOverhead

    /// Milliseconds from `start` to the peer's verified stream header.
    package static let handshakeTimeout: UInt64 = 30_000
    /// Milliseconds of a keepalive interval from which on its end may come early (`SharedTicks.slack`): by 15 %.
    package static let sharedKeepAlive: UInt64 = 5_000
    /// Milliseconds by which a timer of a loop that runs may be late; one that is later says that the loop was blocked.
    package static let punctualTimer: UInt64 = 100
    /// Milliseconds for the sockets of a loop that was blocked: each turn reads a share of what waits in them.
    package static let readingBeforeTimeout: UInt64 = 100
  }

  /// Peers that have dialled us and have not yet sent a message with content: anyone can make any number of them.
  package enum Stranger {
    /// Bytes of memory for all strangers of a node together.
    package static let memory = 64 << 20
    /// Bytes of it for what small frames take beyond their places: no number of large ones takes their room.
    package static let smallMemory = 16 << 20
    /// Bytes of it for what larger frames take: one of the largest size with the widest window.
    package static let largeMemory = 24 << 20
    /// Strangers that have not proved their keys or have begun a frame: the rest of the memory.
    package static let places = (memory - smallMemory - largeMemory) / place
    /// Of these, what a host keeps when all are taken: hosts that share an address dial a few times a second, and prove
    /// their keys within one.
    package static let placesPerHost = places / 8
    /// Bytes with the prefix: a first message of 64 KiB, as deployed peers send, with its overhead and room to spare.
    package static let smallFrame = 128 << 10
    /// Bytes that a stranger may have under way at first: the ten packets that every sender sends before the first
    /// answer. It grows with what has arrived.
    package static let window = 16 << 10
    /// Bytes: from here on the transport's own window is as narrow.
    package static let widestWindow = 4 << 20
    /// Memory per byte of the window: a packet of 1,200 bytes waits in a block of 1,516.
    package static let memoryPerWindow = 2
    /// Bytes of the objects behind a stream, roughly.
    package static let objects = 4 << 10
    /// Bytes that a stranger costs before it has sent anything.
    package static let place = objects + Stream.firstBuffer + window * memoryPerWindow
    /// Bytes that are free in a reassembly buffer before more may arrive: a packet of the largest size.
    package static let roomAhead = 2 << 10
    /// Milliseconds without a byte, while it may send, after which a stranger's begun frame ends; without memory for it
    /// the largest one ends.
    package static let stall: UInt64 = 30_000
    /// Milliseconds in which a stranger's begun frame is complete or gets on by `progress`: half a minute and half of
    /// that, so that all strangers that begin together are gone within a minute.
    package static let deadline: UInt64 = 45_000
    /// Bytes: 16 KiB/s, a modem.
    package static let progress = 720 << 10
  }

  /// Encrypted datagrams beside the stream (secret-stream.md 11).
  package enum Datagram {
    /// Counter before every box.
    package static let counter = 8
    package static let overhead = counter + HyperCrypto.Limits.mac
    /// Positions behind the highest accepted counter that are still accepted, once each.
    package static let replayWindow = 1_024
    /// Path MTU until the transport has found one.
    package static let assumedMTU = 1_200
    /// Headers of IPv4 (20), UDP (8) and UDX (20), and the overhead.
    package static let pathOverhead = 48 + overhead
  }

  /// Asserts the relations between the limits, once per process.
  package static func check() { _ = checked }

  private static let checked: Void = {
    HyperCrypto.Limits.check()
    precondition(Stream.streamHeader == crypto_secretstream_xchacha20poly1305_headerbytes())
    precondition(Stream.messageOverhead == crypto_secretstream_xchacha20poly1305_abytes())
    precondition(Noise.maximumCiphertext + Stream.prefixCount <= Stream.maximumBody, "a frame carries a Noise message")
    precondition(Stream.highWaterMark <= Stream.maximumQueuedBeforeKeys)
    precondition(Stream.maximumMessage <= Stream.maximumQueuedBeforeKeys, "the largest message may wait for the keys")
    precondition(Stream.firstBatch <= Stream.maximumBatch)
    precondition(Stream.firstBuffer <= Stream.keptBuffer && Stream.keptBuffer <= Stream.maximumUnread)
    precondition(Stream.firstBuffer > Stranger.roomAhead, "the first buffer takes the first packets")
    precondition(Stranger.window <= Stranger.widestWindow && Stranger.smallFrame < Stranger.smallMemory)
    precondition(
      Stranger.largeMemory
        >= Stream.prefixCount + Stream.maximumBody - Stream.firstBuffer
        + Stranger.memoryPerWindow * (Stranger.widestWindow - Stranger.window),
      "a frame of any legal length fits, with the widest window")
    precondition(Stranger.places > 0 && Stranger.places * Stranger.place <= Stranger.memory)
    precondition(Stranger.stall < Stranger.deadline, "what waits for memory is judged before its deadline")
    precondition(Datagram.replayWindow % 64 == 0, "the window is an array of 64-bit words")
    precondition(Datagram.pathOverhead < Datagram.assumedMTU)
  }()
}
