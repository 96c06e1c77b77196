import HyperEnvironment

/// Transport streams of one node, by their ids (hyperdht.md 14.4).
final class RawStreams {
  private struct Entry {
    weak var stream: (any TransportStream)?
  }

  private let environment: any Environment
  private var live: [UInt32: Entry] = [:]
  private var pruneAt = 64

  init(environment: any Environment) { self.environment = environment }

  /// A new unconnected stream with a random id that no live stream of this node uses; `nil` at the bound.
  func make() -> (any TransportStream)? {
    if live.count >= pruneAt {
      live = live.filter { $0.value.stream.map { !$0.isClosed } ?? false }
      pruneAt = max(64, live.count * 2)
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

  var count: Int { live.values.reduce(0) { $0 + ($1.stream.map { $0.isClosed ? 0 : 1 } ?? 0) } }

  func destroyAll() {
    for stream in all { stream.destroy() }
  }
}
