import HyperDHT
import HyperEncoding

/// The way that the packets of a connection take, for people and programs.
struct PathDescription: Sendable {
  let isRelayed: Bool
  let address: Endpoint?

  init(_ connection: HyperDHT.Connection) async {
    isRelayed = connection.path?.isRelayed ?? false
    address = await connection.remoteAddress()
  }

  private var kind: String { isRelayed ? "relayed" : "direct" }
  var text: String { address.map { "\(kind), \($0)" } ?? kind }
  var fields: [(String, JSON)] {
    [("path", .string(kind)), ("remoteAddress", address.map { .string($0.description) } ?? .null)]
  }

  /// Says how the connection came about, and every change of its way until it is closed.
  static func follow(_ connection: HyperDHT.Connection) async {
    for line in await connection.pathTimeline() { Console.detail(2, "step", "  " + line, [("text", .string(line))]) }
    for await _ in connection.pathChanges {
      let path = await PathDescription(connection)
      Console.note(
        "moved", ofOne: .moved, "moved: \(path.text)",
        [("remotePublicKey", .string(connection.remotePublicKey.hex))] + path.fields)
    }
  }
}
