/// What a trial asks for.
enum Bounds {
  /// A connection whose other end is gone or out of reach ends within this: a keep-alive goes out 5 s after the last
  /// packet, 13 s without progress are the time to give up, the timeout that sees it comes up to 2 s later, and the
  /// oracle looks every second. On paths with round trips below a second, as all of these.
  static let lone = Duration.seconds(21)
  /// The same for a member that was disturbed itself meanwhile: on a new path the time to give up starts anew.
  static let loneOnANewPath = Duration.seconds(35)
  /// Every pair is connected this long after the last disturbance.
  static let reunion = Duration.seconds(30)
  /// A message reaches its peer within this while nothing is disturbed.
  static let message = Duration.seconds(10)
  /// `join` and `flush` tell how it went.
  static let join = Duration.seconds(90)
  static let flush = Duration.seconds(61)
  /// The deadline of a teardown over the network, twice for one that follows another, and a second.
  static let destroy = Duration.seconds(11)
  /// Events without any virtual time passing: the whole network makes some hundreds in its busiest microsecond.
  static let eventsAtOnce = 100_000
  /// Datagrams of one swarm each second while nothing is disturbed: 19 connections with a keep-alive every 5 s in each
  /// direction and their acknowledgements are 16, look-ups and pings less than that.
  static let quietDatagrams = 60
}
