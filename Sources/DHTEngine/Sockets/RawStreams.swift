import HyperEncoding
import HyperEnvironment

/// Transport streams of one node, by their ids (hyperdht.md 14.4).
final class RawStreams {
  private struct Entry {
    weak var stream: (any TransportStream)?
  }

  private let environment: any Environment
  private var live: [UInt32: Entry] = [:]
  /// Entries at which those of closed streams are dropped: twice what the last time left, so that the walk costs a
  /// constant per stream, and never above the bound, so that dead entries do not use it up.
  private(set) var pruneAt = RawStreams.leastPrune
  private static let leastPrune = 64

  init(environment: any Environment) { self.environment = environment }

  /// A new unconnected stream with a random id that no live stream of this node uses; `nil` at the bound.
  func make() -> (any TransportStream)? {
    if live.count >= pruneAt {
      live = live.filter { $0.value.stream.map { !$0.isClosed } ?? false }
      pruneAt = min(max(RawStreams.leastPrune, live.count * 2), Limits.rawStreams)
    }
    guard live.count < Limits.rawStreams else { return nil }
    var id = environment.randomUInt32()
    // Id 0 stands for "no stream" in handshakes.
    while id == 0 || live[id]?.stream.map({ !$0.isClosed }) ?? false { id = environment.randomUInt32() }
    let stream = environment.makeStream(localID: id)
    live[id] = Entry(stream: stream)
    return stream
  }

  /// Live streams, connected or not.
  var all: [any TransportStream] {
    live.values.compactMap { $0.stream }.filter { !$0.isClosed }.sorted { $0.localID < $1.localID }
  }

  /// Where some of the connected streams lead, in the order of the ids.
  func remoteHosts(atMost limit: Int) -> [IPv4Address] {
    var hosts: [IPv4Address] = []
    for stream in all where hosts.count < limit {
      if let host = stream.remote?.host, !hosts.contains(host) { hosts.append(host) }
    }
    return hosts
  }

  var count: Int { live.values.reduce(0) { $0 + ($1.stream.map { $0.isClosed ? 0 : 1 } ?? 0) } }

  func destroyAll() {
    for stream in all { stream.destroy() }
  }
}
