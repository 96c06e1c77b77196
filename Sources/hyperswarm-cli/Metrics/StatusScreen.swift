import Foundation

/// The screen of `status`: what the counters are, and what they have grown by since the look before.
struct StatusScreen {
  /// Looks that the chart of traffic goes back.
  private static let history = 60

  let target: String
  let showsAll: Bool
  /// Each screen takes the place of the one before.
  let isDrawn: Bool
  private var former: Scrape?
  private var isFirst = true
  /// Bytes a second, both directions together.
  private var traffic: [Double] = []

  init(target: String, showsAll: Bool, isDrawn: Bool) {
    self.target = target
    self.showsAll = showsAll
    self.isDrawn = isDrawn
  }

  /// Redraws from the top left corner, each line to its end, and clears what is below.
  private func draw(_ lines: [String]) -> String {
    guard isDrawn else { return (isFirst ? "" : "\n") + lines.joined(separator: "\n") }
    return (isFirst ? "\u{1b}[2J" : "") + "\u{1b}[H" + lines.map { $0 + "\u{1b}[K" }.joined(separator: "\n")
      + "\u{1b}[J"
  }

  mutating func show(_ error: Failure) {
    let fields: [(String, JSON)] = [("code", .string(error.code)), ("message", .string(error.description))]
    Console.note("failed", error.description, fields)
    former = nil
    // What was written may have moved the screen.
    isFirst = true
  }

  mutating func show(_ scrape: Scrape) {
    let view = View(now: scrape, before: former)
    if let received = view.rate("udx_total_bytes_received"), let sent = view.rate("udx_total_bytes_transmitted") {
      traffic = Array((traffic + [received + sent]).suffix(StatusScreen.history))
    }
    var lines = [title(scrape)] + StatusScreen.sections(view)
    if isDrawn, !traffic.isEmpty { lines.insert(StatusScreen.line("", Chart.sparks(traffic)), at: min(3, lines.count)) }
    if showsAll {
      lines += [""] + scrape.values.map { "\($0.name) \(View.number($0.value))" }
    }
    Console.event("status", draw(lines), fields(scrape, view))
    former = scrape
    isFirst = false
  }

  private func title(_ scrape: Scrape) -> String {
    let command = scrape.label("command", of: "hyperswarm_build_info").map { " \($0)" } ?? ""
    let version = scrape.label("version", of: "hyperswarm_build_info").map { " \($0)" } ?? ""
    var text = "hyperswarm\(Join.printable(command))\(Join.printable(version)) at \(target)"
    if let start = scrape["process_start_time_seconds"] {
      text += ", up \(StatusScreen.age(Date().timeIntervalSince1970 - start))"
    }
    return text
  }

  private static func age(_ seconds: Double) -> String {
    let seconds = Int(max(0, min(seconds, 1e9)))
    switch seconds {
    case ..<60: return "\(seconds) s"
    case ..<3600: return "\(seconds / 60) min \(seconds % 60) s"
    case ..<86_400: return "\(seconds / 3600) h \(seconds % 3600 / 60) min"
    default: return "\(seconds / 86_400) d \(seconds % 86_400 / 3600) h"
    }
  }

  private static func line(_ name: String, _ text: String) -> String {
    name + String(repeating: " ", count: max(1, 13 - name.count)) + text
  }

  /// One line for each kind of counter that the node has.
  private static func sections(_ view: View) -> [String] {
    var lines: [String] = []
    func add(_ name: String, _ parts: [String?]) {
      let known = parts.compactMap { $0 }
      if !known.isEmpty { lines.append(line(name, known.joined(separator: ", "))) }
    }
    for (name, direction) in [("received", "received"), ("sent", "transmitted")] {
      add(
        name,
        [
          view.bytes("udx_total_bytes_\(direction)"), view.count("udx_total_packets_\(direction)", "packets"),
          direction == "transmitted" ? view.count("udx_retransmits", "sent again") : nil,
          direction == "received" ? view.count("udx_packets_dropped_total", "dropped by the kernel") : nil,
        ])
    }
    add(
      "network",
      [
        view.level("hyperswarm_testnet_nodes", "nodes here"),
        view["hyperswarm_testnet_nodes"] == nil ? view.flag("dht_is_online", "online", "offline") : nil,
        view["hyperswarm_testnet_nodes"] == nil
          ? view.flag("dht_is_firewalled", "not reachable for all", "reachable for all") : nil,
        view.level("dht_nr_nodes", "nodes known"), view.level("dht_streams", "streams"),
      ])
    add(
      "requests",
      [
        view.level("dht_active_requests", "under way"), view.count("dht_total_requests", "made"),
        view.count("dht_total_responses", "answered"), view.count("dht_total_timeouts", "timed out"),
      ])
    add(
      "connects",
      [
        view.count("dht_connects_started", "begun"), view.count("dht_connects_opened", "opened"),
        view.count("dht_connects_failed", "failed"),
        view.count("dht_handshakes_received", "handshakes received"),
        view.count("dht_connections_moved", "moved"),
      ])
    add(
      "punches",
      [
        view.level("dht_open_punches", "open"), view.level("dht_consistent_punches", "consistent"),
        view.level("dht_random_punches", "random"),
      ])
    add(
      "relay",
      [
        view.level("hyperswarm_relay_sessions", "clients"), view.level("hyperswarm_relay_links", "connections"),
        view.bytes("hyperswarm_relay_bytes_total"), view.count("hyperswarm_relay_pairings_matched_total", "paired"),
        view.count("hyperswarm_relay_packets_dropped_total", "packets dropped"),
      ])
    add(
      "swarm",
      [
        view.level("hyperswarm_nr_peers", "peers"),
        view.count("hyperswarm_client_connections_opened", "connections dialled"),
        view.count("hyperswarm_server_connections_opened", "accepted"),
        view.bytes("hyperswarm_total_bytes_received_over_swarm_streams"),
      ])
    return lines
  }

  private func fields(_ scrape: Scrape, _ view: View) -> [(String, JSON)] {
    let values = scrape.values.map { ($0.name, JSON.number($0.value)) }
    let rates = scrape.values.compactMap { value in view.rate(value.name).map { (value.name, JSON.number($0)) } }
    return [
      ("target", .string(target)), ("seconds", view.seconds.map { .number($0) } ?? .null),
      ("values", .object(values)), ("perSecond", .object(rates)),
    ]
  }
}

/// Two looks at the same node.
private struct View {
  let now: Scrape
  let before: Scrape?

  var seconds: Double? { before.map { (now.time - $0.time).seconds } }

  subscript(_ name: String) -> Double? { now[name] }

  /// `nil` without an earlier look, or when the counter has begun anew.
  func rate(_ name: String) -> Double? {
    guard let value = now[name], let old = before?[name], let seconds, seconds > 0, value >= old else { return nil }
    return (value - old) / seconds
  }

  func level(_ name: String, _ word: String) -> String? { now[name].map { "\(View.number($0)) \(word)" } }

  func flag(_ name: String, _ yes: String, _ no: String) -> String? { now[name].map { $0 == 0 ? no : yes } }

  func count(_ name: String, _ word: String) -> String? {
    guard let value = now[name] else { return nil }
    let rate = rate(name).map { " (\(View.number(($0 * 10).rounded() / 10))/s)" } ?? ""
    return "\(View.number(value)) \(word)\(rate)"
  }

  func bytes(_ name: String) -> String? {
    guard let value = now[name] else { return nil }
    return Chart.bytes(value) + (rate(name).map { " (\(Chart.bytes($0))/s)" } ?? "")
  }

  static func number(_ value: Double) -> String {
    value == value.rounded() && abs(value) < 1e15 ? String(Int64(value)) : String(value)
  }
}
