import Foundation
import HyperDHT
import HyperEncoding
import Hyperswarm
import Synchronization

/// The examination of `doctor`: one check after the other, each of which may fail without the others.
final class Examination: Sendable {
  struct Diagnosis: Sendable {
    var isOnline = false
    var advice: [String] = []
  }

  /// A node, the times of its answers, and our address as it sees it.
  private struct Answers: Sendable {
    var name: String
    var endpoint: Endpoint
    var asked = 0
    var times: [Duration] = []
    var seen: Endpoint?
  }

  /// Requests to each node.
  private static let requests = 3
  /// Nodes of the DHT besides the bootstrap nodes.
  private static let sampleSize = 8
  /// Bytes; below it the kernel drops packets of a fast stream on a busy machine.
  private static let usefulBuffer = 2_000_000
  /// Bytes of an IP packet: what peers of other implementations need.
  private static let usefulMTU = 1200

  private let common: CommonOptions
  private let relays: [Bytes32]
  private let result = Mutex(Diagnosis())

  init(_ common: CommonOptions, relays: [Bytes32]) {
    self.common = common
    self.relays = relays
  }

  var diagnosis: Diagnosis { result.withLock { $0 } }

  /// To be taken once.
  var checks: AsyncThrowingStream<Check, any Error> {
    let (stream, continuation) = AsyncThrowingStream<Check, any Error>.makeStream()
    let work = Task {
      do {
        try await examine { continuation.yield($0) }
        continuation.finish()
      } catch {
        continuation.finish(throwing: error)
      }
    }
    continuation.onTermination = { _ in work.cancel() }
    return stream
  }

  private func advise(_ text: String) { result.withLock { $0.advice.append(text) } }

  private func examine(_ report: @escaping @Sendable (Check) -> Void) async throws {
    let facts = SystemFacts.read()
    report(interfaces(facts))
    let places = await resolve(report)
    report(path(to: places.first?.endpoint))
    let dht: HyperDHT
    do {
      var options = HyperDHT.Options(bootstrap: common.bootstrap?.nodes, port: 0)
      options.host = bindAddress(for: common.bootstrap)
      dht = try await HyperDHT(options)
    } catch {
      report(Check(name: "socket", verdict: .failed, text: "\(error)"))
      report(buffers(facts))
      return
    }
    try await using(dht, until: Interrupt()) { [self] in
      var nodes = await ask(places, dht)
      report(bootstrap(nodes))
      guard nodes.contains(where: { !$0.times.isEmpty }) else {
        advise("nothing comes back from the bootstrap nodes: is a firewall in the way of UDP, or the network down?")
        return
      }
      result.withLock { $0.isOnline = true }
      try? await dht.bootstrapped()
      let sample = await ask(sampled(dht, except: nodes.map(\.endpoint)), dht)
      report(network(sample))
      nodes += sample
      report(address(nodes, facts))
      report(await inbound(dht))
      for key in relays { report(await relay(key, dht)) }
    }
    report(buffers(facts))
  }

  // MARK: The machine

  private func interfaces(_ facts: SystemFacts) -> Check {
    let list = facts.interfaces.map { "\($0.name) \($0.addresses.map(\.description).joined(separator: " "))" }
    let isAlone = !facts.interfaces.contains { $0.addresses.contains { $0.octets.first != 127 } }
    if isAlone { advise("no interface but the loopback has an address: other machines cannot be reached") }
    return Check(
      name: "interfaces", verdict: isAlone ? .warning : .ok,
      text: list.isEmpty ? "none is up" : list.joined(separator: ", "),
      fields: [
        (
          "interfaces",
          .array(
            facts.interfaces.map {
              .object([
                ("name", .string($0.name)), ("addresses", .array($0.addresses.map { .string($0.description) })),
                ("mtu", $0.mtu > 0 ? .integer($0.mtu) : .null),
              ])
            })
        )
      ])
  }

  private func buffers(_ facts: SystemFacts) -> Check {
    func text(_ bytes: Int?) -> String { bytes.map { "\($0 >> 10) KiB" } ?? "unknown" }
    let isSmall = [facts.receiveBuffer, facts.sendBuffer].contains { $0.map { $0 < Examination.usefulBuffer } ?? false }
    if isSmall { advise("sysctl -w net.core.rmem_max=7500000 net.core.wmem_max=7500000 helps fast streams") }
    return Check(
      name: "kernel buffers", verdict: isSmall ? .warning : .ok,
      text: "at most \(text(facts.receiveBuffer)) to receive, \(text(facts.sendBuffer)) to send",
      fields: [
        ("receiveBuffer", facts.receiveBuffer.map { .integer($0) } ?? .null),
        ("sendBuffer", facts.sendBuffer.map { .integer($0) } ?? .null),
      ])
  }

  private func path(to endpoint: Endpoint?) -> Check {
    guard let endpoint, let route = SystemFacts.route(to: endpoint) else {
      return Check(name: "route", verdict: .failed, text: "the system knows no way to a bootstrap node")
    }
    let isNarrow = route.mtu.map { $0 < Examination.usefulMTU } ?? false
    if isNarrow { advise("peers of other implementations need an MTU of \(Examination.usefulMTU) bytes") }
    let mtu = route.mtu.map { "MTU \($0) on the first hop" } ?? "MTU unknown"
    return Check(
      name: "route", verdict: isNarrow ? .warning : .ok, text: "from \(route.source), \(mtu); IPv6 is not used",
      fields: [("source", .string(route.source.description)), ("mtu", route.mtu.map { .integer($0) } ?? .null)])
  }

  // MARK: The network

  /// The bootstrap nodes that have an address.
  private func resolve(_ report: (Check) -> Void) async -> [(name: String, endpoint: Endpoint)] {
    var places: [(name: String, endpoint: Endpoint)] = []
    var failures: [String] = []
    for node in bootstrapNodes(common) {
      // An address before a name is what to use when the name cannot be resolved.
      let parts = node.split(separator: "@").map(String.init)
      let name = parts.last ?? node
      let resolved = await onThread { Result { try HostPort(parsing: name).resolve() } }
      switch resolved {
      case .success(let endpoint): places.append((name, endpoint))
      case .failure(let error):
        let port = name.split(separator: ":").last.map(String.init) ?? ""
        if parts.count == 2, let endpoint = Endpoint("\(parts[0]):\(port)") {
          places.append((node, endpoint))
        } else {
          failures.append("\(error)")
        }
      }
    }
    let isFine = failures.isEmpty
    if !isFine { advise("some names cannot be resolved: is there a name server?") }
    report(
      Check(
        name: "names", verdict: isFine ? .ok : places.isEmpty ? .failed : .warning,
        text: isFine ? "\(counted(places.count, "bootstrap node")) with an address" : failures.joined(separator: ", "),
        fields: [("resolved", .integer(places.count)), ("unresolved", .integer(failures.count))]))
    return places
  }

  /// All nodes at once, each several times in turn.
  private func ask(_ places: [(name: String, endpoint: Endpoint)], _ dht: HyperDHT) async -> [Answers] {
    await withTaskGroup(of: (Int, Answers).self) { group in
      for (index, place) in places.enumerated() {
        group.addTask(executorPreference: dht.loop) {
          var answers = Answers(name: place.name, endpoint: place.endpoint)
          for _ in 0..<Examination.requests {
            let start = ContinuousClock.now
            let pong = try? await dht.ping(place.endpoint)
            answers.asked += 1
            if let pong {
              answers.times.append(ContinuousClock.now - start)
              answers.seen = pong.to
            } else if answers.times.isEmpty {
              // Each silence takes seconds: one is enough of a node that has never answered.
              break
            }
          }
          return (index, answers)
        }
      }
      var all: [(Int, Answers)] = []
      for await answers in group { all.append(answers) }
      return all.sorted { $0.0 < $1.0 }.map(\.1)
    }
  }

  private func sampled(_ dht: HyperDHT, except known: [Endpoint]) async -> [(name: String, endpoint: Endpoint)] {
    let nodes = (try? await dht.findNode(HyperDHT.keyPair().publicKey)) ?? []
    return nodes.map(\.endpoint).filter { !known.contains($0) }.prefix(Examination.sampleSize)
      .map { ($0.description, $0) }
  }

  private func bootstrap(_ nodes: [Answers]) -> Check {
    let silent = nodes.filter(\.times.isEmpty).map(\.name)
    let text = "\(nodes.count - silent.count) of \(nodes.count) bootstrap nodes answer\(Examination.times(nodes))"
    return Check(
      name: "UDP out",
      verdict: nodes.count == silent.count ? .failed : silent.isEmpty ? .ok : .warning,
      text: silent.isEmpty ? text : text + "; not \(silent.joined(separator: ", "))", fields: Examination.fields(nodes))
  }

  private func network(_ nodes: [Answers]) -> Check {
    let asked = nodes.reduce(0) { $0 + $1.asked }
    let answered = nodes.reduce(0) { $0 + $1.times.count }
    return Check(
      name: "DHT", verdict: nodes.isEmpty || answered * 2 < asked ? .warning : .ok,
      text: nodes.isEmpty
        ? "no nodes but the bootstrap nodes"
        : "\(answered) of \(asked) requests to \(nodes.count) nodes were answered"
          + Examination.times(nodes),
      fields: Examination.fields(nodes))
  }

  private static func times(_ nodes: [Answers]) -> String {
    let all = nodes.flatMap(\.times)
    guard let lowest = all.min(), let highest = all.max() else { return "" }
    return ", in \(lowest.readable) to \(highest.readable)"
  }

  private static func fields(_ nodes: [Answers]) -> [(String, JSON)] {
    let list: [JSON] = nodes.map { node in
      .object([
        ("name", .string(node.name)), ("address", .string(node.endpoint.description)), ("asked", .integer(node.asked)),
        ("microseconds", .array(node.times.map { .integer($0.microseconds) })),
        ("seenAs", node.seen.map { .string($0.description) } ?? .null),
      ])
    }
    return [("nodes", .array(list))]
  }

  // MARK: The NAT

  private func address(_ nodes: [Answers], _ facts: SystemFacts) -> Check {
    let samples = nodes.compactMap(\.seen)
    let hosts = Set(samples.map(\.host))
    let ports = Set(samples.map(\.port))
    let own = Set(facts.interfaces.flatMap(\.addresses))
    let host = hosts.count == 1 ? hosts.first : nil
    let kind: String
    var verdict = Check.Verdict.ok
    let text: String
    if samples.count < 2 {
      (kind, verdict, text) = ("unknown", .info, "too few nodes answered to tell")
    } else if let host, own.contains(host) {
      (kind, text) = ("none", "\(host) is an address of this machine: no NAT")
    } else if let host, ports.count == 1, let port = ports.first {
      (kind, text) = ("consistent", "\(host):\(port) for every destination: easy to reach")
    } else if let host {
      (kind, verdict, text) = ("random", .warning, "\(host) with another port for every destination")
      advise("peers behind such a NAT, too, can be reached over a relay only: --relay KEY")
    } else {
      (kind, verdict, text) = ("several", .warning, "\(hosts.map(\.description).sorted().joined(separator: " and "))")
      advise("connections leave by several public addresses: a relay helps where hole punching fails")
    }
    return Check(
      name: "public address", verdict: verdict, text: "\(text) (\(samples.count) samples)",
      fields: [
        ("nat", .string(kind)), ("host", host.map { .string($0.description) } ?? .null),
        ("samples", .array(samples.map { .string($0.description) })),
      ])
  }

  /// Entering the network, a node has others answer to a port that it has sent nothing from.
  private func inbound(_ dht: HyperDHT) async -> Check {
    let status = await dht.status()
    let text =
      status.isFirewalled
      ? "only answers come in: a forwarded UDP port would make this machine reachable for all"
      : "packets that were not asked for come in: reachable for all"
    return Check(
      name: "inbound UDP", verdict: status.isFirewalled ? .info : .ok, text: text,
      fields: [("reachable", .bool(!status.isFirewalled))])
  }

  private func relay(_ key: Bytes32, _ dht: HyperDHT) async -> Check {
    let start = ContinuousClock.now
    do {
      let connection = try await dht.connect(to: key)
      let time = ContinuousClock.now - start
      await connection.close()
      return Check(
        name: "relay", verdict: .ok, text: "\(key.hex.prefix(8)) connected in \(time.readable)",
        fields: [("key", .string(key.hex)), ("microseconds", .integer(time.microseconds))])
    } catch {
      return Check(
        name: "relay", verdict: .failed, text: "\(key.hex.prefix(8)): \(error)", fields: [("key", .string(key.hex))])
    }
  }
}
