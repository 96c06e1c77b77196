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

  /// The families of all texts; of those with the same name the first.
  static func joined(_ texts: [String]) -> String {
    var seen: Set<Substring> = []
    var out = ""
    for text in texts {
      var own: Set<Substring> = []
      for line in text.split(separator: "\n") {
        let name = familyName(line)
        if seen.contains(name) { continue }
        own.insert(name)
        out += line + "\n"
      }
      seen.formUnion(own)
    }
    return out
  }

  private static func familyName(_ line: Substring) -> Substring {
    if line.hasPrefix("# ") {
      let words = line.split(separator: " ", maxSplits: 3)
      return words.count > 2 ? words[2] : line
    }
    return line.prefix { $0 != "{" && $0 != " " }
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
    let numbers = await dht.statistics()
    let status = await dht.status()
    let gauges = numbers.gauges(status).map { family($0.0, .gauge, "Of this node of the DHT.", $0.1) }
    return joined([gauges.joined(), further(numbers, status), transport(await dht.transportCounters())])
  }

  /// Sums over all nodes.
  static func testnet(_ testnet: HyperDHT.Testnet) async -> String {
    let reports = await testnet.reports()
    var sums = Sums()
    var transport = Sums()
    for report in reports {
      sums.add(report.statistics.gauges(report.status))
      transport.add(report.transport)
    }
    let count = family("hyperswarm_testnet_nodes", .gauge, "Nodes of the private network.", UInt64(reports.count))
    let gauges = sums.values.map { family($0.0, .gauge, "The same of all nodes together.", $0.1) }.joined()
    return joined([count, gauges, MetricsText.transport(transport.values)])
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

  private static func further(_ numbers: HyperDHT.Statistics, _ status: HyperDHT.Status) -> String {
    let counts: [(String, Kind, String, UInt64)] = [
      ("dht_is_online", .gauge, "Whether a node of the network has answered lately.", status.isOnline ? 1 : 0),
      ("dht_is_ephemeral", .gauge, "Whether other nodes do not keep this one.", status.isEphemeral ? 1 : 0),
      ("dht_servers", .gauge, "Servers that listen.", UInt64(status.servers)),
      ("dht_responses_total", .counter, "Answers to requests of this node.", numbers.responses),
      ("dht_request_timeouts_total", .counter, "Requests without an answer.", numbers.timeouts),
      ("dht_retransmissions_total", .counter, "Requests that were sent again.", numbers.retransmissions),
      ("dht_connects_started_total", .counter, "Attempts to connect.", status.connectsStarted),
      ("dht_connects_opened_total", .counter, "Attempts that have opened a connection.", status.connectsOpened),
      ("dht_connects_failed_total", .counter, "Attempts that have failed.", status.connectsFailed),
      ("dht_handshakes_received_total", .counter, "First messages of clients.", status.handshakesReceived),
      ("dht_connections_moved_total", .counter, "Connections that have taken another path.", numbers.connectionsMoved),
    ]
    return counts.map { family($0.0, $0.1, $0.2, $0.3) }.joined()
  }

  private static func transport(_ counters: [(String, UInt64)]) -> String {
    counters.map { name, value in
      // The names of the deployed stack are those of gauges.
      family(name, name.hasSuffix("_total") ? .counter : .gauge, "Of all sockets and streams of the nodes.", value)
    }.joined()
  }

  /// Numbers by name, in the order of their first coming.
  private struct Sums {
    private var places: [String: Int] = [:]
    private(set) var values: [(String, UInt64)] = []

    mutating func add(_ numbers: [(String, UInt64)]) {
      for (name, value) in numbers {
        if let place = places[name] {
          values[place].1 &+= value
        } else {
          places[name] = values.count
          values.append((name, value))
        }
      }
    }
  }
}
