import Foundation
import HyperProtomux
import Hyperswarm
import InMemoryLogging
import InMemoryTracing
import Logging
import Metrics
import MetricsTestKit
import ServiceLifecycle
import Tracing

// What the traits add, on a network of loopback: "ok NAME" or "FAILED NAME" for each check.

nonisolated(unsafe) var failures = 0

func check(_ name: String, _ holds: Bool) {
  print(holds ? "ok operations \(name)" : "FAILED operations \(name)")
  if !holds { failures += 1 }
}

/// Whether something comes true within ten seconds.
func eventually(_ holds: () async -> Bool) async -> Bool {
  for _ in 0..<1000 {
    if await holds() { return true }
    try? await Task.sleep(for: .milliseconds(10))
  }
  return false
}

let lines = InMemoryLogHandler()
var logger = Logger(label: "swarm", factory: { _ in lines })
logger.logLevel = .trace
let tracer = InMemoryTracer()
InstrumentationSystem.bootstrap(tracer)
let gauges = TestMetrics()

let testnet = try await HyperDHT.Testnet(size: 3)
var options = Hyperswarm.Options(bootstrap: testnet.bootstrap)
check("a logger is not there by itself", options.logger == nil)
options.logger = logger
let server = try await Hyperswarm(options)
let client = try await Hyperswarm(Hyperswarm.Options(bootstrap: testnet.bootstrap))

// A group runs the swarm, and what copies its gauges.
let reporter = server.metricsReporter(every: .milliseconds(100), to: gauges, dimensions: [("swarm", "server")])
let group = ServiceGroup(services: [server, reporter], logger: Logger(label: "group", factory: { _ in lines }))
let running = Task { try await group.run() }

let topic = Hyperswarm.topic("operations")
_ = try await server.join(topic, client: false).flushed()
try await client.join(topic, server: false)
let key = client.keyPair.publicKey
check("peers meet", await eventually { !server.openConnections.isEmpty && !client.openConnections.isEmpty })

// MARK: Logging

func line(_ text: String, _ key: String? = nil, _ value: String = "") -> InMemoryLogHandler.Entry? {
  lines.entries.first { entry in
    guard entry.message.description.hasPrefix(text) else { return false }
    guard let key else { return true }
    return entry.metadata[key] == .string(value)
  }
}
let opened = line("connection: open", HyperDHT.LogKey.peer, key.hex)
check("a connection is logged with its peer", opened != nil)
check("and with its role", opened?.metadata[HyperDHT.LogKey.role] == .string("server"))
check("the node is logged", await eventually { line("node: entering the network has ended") != nil })
check("levels are what they should be", lines.entries.allSatisfy { $0.level < .warning } && opened?.level == .debug)

// MARK: Metrics

func gauge(_ name: String) -> Double? { try? gauges.expectGauge(name, [("swarm", "server")]).lastValue }
check("gauges of the swarm", await eventually { gauge("hyperswarm_server_connections") == 1 })
check("gauges of the node", gauge("dht_nr_nodes") ?? 0 > 0)
check("gauges of the transport", gauge("udx_total_packets_received") ?? 0 > 0)
let text = await server.metrics()
let names = text.split(separator: "\n").filter { !$0.hasPrefix("#") }.compactMap { $0.split(separator: " ").first }
check("the names are those of the text", names.count > 60 && names.allSatisfy { gauge(String($0)) != nil })

// MARK: Tracing

func span(_ name: String, _ target: Bytes32? = nil) -> FinishedInMemorySpan? {
  tracer.finishedSpans.first { span in
    guard let target else { return span.operationName == name }
    return span.operationName == name
      && span.attributes.get("hyper.target")?.toSpanAttribute() == .string(target.hex)
  }
}
func code(_ span: FinishedInMemorySpan?) -> SpanAttribute? { span?.attributes.get("hyper.code")?.toSpanAttribute() }
func hasFailed(_ name: String, with reason: String) -> Bool {
  tracer.finishedSpans.contains { $0.operationName == name && code($0) == .string(reason) }
}
func isUnder(_ name: String, _ span: FinishedInMemorySpan?) -> Bool {
  guard let span, let parent = tracer.finishedSpans.first(where: { $0.operationName == name }) else { return false }
  return span.parentSpanID == parent.spanID
}
check("a dial of a swarm is a span", span("hyperswarm.dial", server.keyPair.publicKey) != nil)
let listener = try await client.dht.listen(keyPair: HyperDHT.keyPair())
check("listening is a span", span("hyperdht.listen", listener.publicKey) != nil)
let other = try await withSpan("a request") { _ in try await server.dht.connect(to: listener.publicKey) }
let connect = span("hyperdht.connect", listener.publicKey)
let request = tracer.finishedSpans.first { $0.operationName == "a request" }
check("connecting is a span of the task's", connect?.parentSpanID == request?.spanID && request != nil)
check("that has not failed", connect?.status == nil)
other.destroy()

// A dial goes on after its call.
let dial = withSpan("a dial") { _ in server.dht.dial(listener.publicKey) }
_ = try await dial.connection()
let dialled = span("hyperdht.dial", listener.publicKey)
check("a dial is a span of the task's", isUnder("a dial", dialled))
check("that ends with the connection, without an answer to count", dialled?.attributes.get("hyper.answers") == nil)
dial.cancel()
let unknown = HyperDHT.hash([4, 5])
_ = try? await server.dht.dial(unknown).connection()
check("a dial that fails has a code", code(span("hyperdht.dial", unknown)) == .string("PEER_NOT_FOUND"))
let forgotten = HyperDHT.hash([5, 6])
server.dht.dial(forgotten).cancel()
check("and one that is given up", await eventually { code(span("hyperdht.dial", forgotten)) != nil })
let pool = server.dht.pool()
let pooled = try await withSpan("a call of a pool") { _ in try await pool.connect(to: listener.publicKey) }
check("a call of a pool is a span", isUnder("a call of a pool", span("hyperdht.pool_connect", listener.publicKey)))
_ = try? await pool.connect(to: unknown)
check("also one that fails", code(span("hyperdht.pool_connect", unknown)) == .string("PEER_NOT_FOUND"))

// Channels.
pooled.destroy()
let answering = Task {
  for await connection in listener.connections {
    Task {
      let mux = Protomux(connection)
      mux.pair(protocol: "operations") { mux, _ in
        try? mux.createChannel(protocol: "operations").open()
      }
      mux.start()
      _ = try? await mux.closed()
    }
  }
}
let muxed = try await server.dht.connect(to: listener.publicKey)
let mux = Protomux(muxed)
let channel = try mux.createChannel(protocol: "operations")
try channel.open()
_ = try await withSpan("a channel") { _ in try await channel.opened() }
check("the opening of a channel is a span", isUnder("a channel", span("hyperprotomux.opened")))
let refused = try mux.createChannel(protocol: "of no use")
try refused.open()
_ = try? await refused.opened()
check("also one that is rejected", hasFailed("hyperprotomux.opened", with: "CHANNEL_REJECTED"))
mux.destroy()
answering.cancel()
await listener.close()
check("closing a server is a span", span("hyperdht.server_close", listener.publicKey) != nil)

// Topics.
let room = Hyperswarm.topic("a room")
let discovery = try await client.join(room)
_ = try await withSpan("an announcement") { _ in try await discovery.flushed() }
check("an announcement is a span of the task's", isUnder("an announcement", span("hyperswarm.flushed", room)))
_ = try await discovery.refresh()
check("and one that is repeated", span("hyperswarm.refresh", room) != nil)
_ = try await client.flush()
check("and the wait for all", span("hyperswarm.flush") != nil)
try await client.leave(room)
check("and leaving", span("hyperswarm.leave", room) != nil)
_ = try? await discovery.flushed()
check("that of a topic that was left has a code", hasFailed("hyperswarm.flushed", with: "SESSION_DESTROYED"))
let missing = HyperDHT.hash([1, 2, 3])
let failed = await Task { try await server.dht.connect(to: missing) }.result
let failure = span("hyperdht.connect", missing)
check("a call that fails is a span with a code", failure?.status?.code == .error && failure?.errors.count == 1)
check("of the error", failure?.attributes.get("hyper.code")?.toSpanAttribute() == .string("PEER_NOT_FOUND"))
if case .success = failed { check("no peer has that key", false) }

// That of the swarm is under it.
let search = topic
let answers = try await withSpan("a search") { _ in
  var answers = 0
  for try await _ in server.dht.lookup(search) { answers += 1 }
  return answers
}
func answersOf(_ span: FinishedInMemorySpan?) -> SpanAttribute? {
  span?.attributes.get("hyper.answers")?.toSpanAttribute()
}
let searched = await eventually { span("hyperdht.lookup", search) != nil } ? span("hyperdht.lookup", search) : nil
check(
  "a search is a span of the task's",
  searched?.parentSpanID == tracer.finishedSpans.first { $0.operationName == "a search" }?.spanID)
check("with the number of its answers", answers > 0 && answersOf(searched) == .int64(Int64(answers)))
let query = server.dht.findNodes(search)
_ = try await query.finished()
check("a query is a span", await eventually { span("hyperdht.find_nodes", search) != nil })
let released = HyperDHT.hash([6, 7])
for try await _ in server.dht.lookup(released) { break }
check("a search that is let go of ends its span", await eventually { span("hyperdht.lookup", released) != nil })
check("without an error", span("hyperdht.lookup", released)?.status == nil)

// Requests of an application's own protocol.
let command: UInt64 = 77
try await client.dht.onRequest(command) { $0.reply([1]) }
let about = HyperDHT.hash([8, 9])
guard let place = await client.dht.localAddress() else { fatalError("no socket") }
_ = try await withSpan("a question") { _ in
  try await server.dht.request(.init(command, target: about), to: place)
}
let asked = span("hyperdht.request", about)
check(
  "a request is a span of the task's",
  asked?.parentSpanID == tracer.finishedSpans.first { $0.operationName == "a question" }?.spanID && asked != nil)
check("with its command", asked?.attributes.get("hyper.command")?.toSpanAttribute() == .int64(Int64(command)))
check("that has not failed, either", asked?.status == nil)
let unanswered = HyperDHT.hash([10])
let nobody = Endpoint(host: .loopback, port: 9)
_ = try? await server.dht.request(.init(command, target: unanswered), to: nobody, retries: 0)
check(
  "a request without an answer is a span with a code",
  span("hyperdht.request", unanswered)?.attributes.get("hyper.code")?.toSpanAttribute() == .string("REQUEST_TIMEOUT"))

// MARK: ServiceLifecycle

await group.triggerGracefulShutdown()
let ended = await running.result
if case .failure(let error) = ended { print(error) }
check("a graceful shutdown ends the group", (try? ended.get()) != nil)
check("the swarm is destroyed by it", server.isDestroyed && line("node: destroyed") != nil)
check("its connections were closed", line("connection: closed", HyperDHT.LogKey.peer, key.hex) != nil)
let node = try await HyperDHT(HyperDHT.Options(bootstrap: testnet.bootstrap, port: 0))
let service = Task { await node.run() }
service.cancel()
await service.value
check("cancellation destroys a node", await node.status().isDestroyed)
await client.destroy()
check("the end of a swarm is a span", span("hyperswarm.destroy") != nil)
await testnet.destroy()
exit(failures > 0 ? 1 : 0)
