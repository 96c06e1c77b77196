import Foundation
import HyperDHT
import Hyperswarm

/// The text format of Prometheus, version 0.0.4.
enum MetricsText {
  static let contentType = "text/plain; version=0.0.4; charset=utf-8"

  enum Kind: String {
    case counter
    case gauge
  }

  static func family(_ name: String, _ kind: Kind, _ help: String, _ value: UInt64, labels: String = "") -> String {
    "# HELP \(name) \(help)\n# TYPE \(name) \(kind)\n\(name)\(labels) \(value)\n"
  }

  /// The same with a help before each type: the library's text has none.
  static func explained(_ text: String, _ help: String) -> String {
    text.split(separator: "\n").map { line in
      let words = line.split(separator: " ")
      return line.hasPrefix("# TYPE ") && words.count > 2 ? "# HELP \(words[2]) \(help)\n\(line)\n" : "\(line)\n"
    }.joined()
  }

  // MARK: What the tool's nodes tell

  /// Seconds since 1970.
  private static let start = UInt64(Date().timeIntervalSince1970)

  static func process(_ command: String) -> String {
    family(
      "hyperswarm_build_info", .gauge, "The program, by its labels.", 1,
      labels: "{version=\"\(Hyperswarm.version)\",command=\"\(command)\"}")
      + family("process_start_time_seconds", .gauge, "Start of the process since 1970 in seconds.", start)
  }

  static func node(_ dht: HyperDHT) async -> String {
    explained(await dht.metrics(), "Of this node: its part in the DHT, its sockets and its transport.")
  }

  static func testnet(_ testnet: HyperDHT.Testnet) async -> String {
    explained(await testnet.metrics(), "The sum over all nodes of the private network.")
  }

  static func relay(_ numbers: HyperDHT.RelayServer.Statistics) -> String {
    let counts: [(String, Kind, String, UInt64)] = [
      ("sessions", .gauge, "Clients now.", UInt64(numbers.activeSessions)),
      ("links", .gauge, "Relayed connections now.", UInt64(numbers.activeLinks)),
      ("pending_pairings", .gauge, "Requests whose other side has not come yet.", UInt64(numbers.pendingTokens)),
      ("sessions_accepted_total", .counter, "Clients that were admitted.", numbers.sessionsAccepted),
      ("sessions_refused_total", .counter, "Clients above a limit.", numbers.sessionsRefused),
      ("sessions_evicted_total", .counter, "Clients that have made room for others.", numbers.sessionsEvicted),
      ("pairings_matched_total", .counter, "Requests whose other side has come.", numbers.pairingsMatched),
      ("pairings_expired_total", .counter, "Requests whose other side has not come in time.", numbers.pairingsExpired),
      ("pairings_refused_total", .counter, "Requests above a limit.", numbers.pairingsRefused),
      ("packets_dropped_total", .counter, "Packets above a limit on bytes.", numbers.packetsDropped),
      ("bytes_total", .counter, "Bytes received to be forwarded.", numbers.bytesRelayed),
    ]
    return counts.map { family("hyperswarm_relay_" + $0.0, $0.1, $0.2, $0.3) }.joined()
  }
}
