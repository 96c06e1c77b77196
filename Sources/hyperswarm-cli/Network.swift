import Foundation
import HyperCrypto
import HyperDHT
import HyperEncoding
import Hyperswarm

/// How long a command says nothing while it waits for others: then a person begins to wonder.
private let silence = Duration.seconds(1)

/// Makes a client of the tool one that echoes no tokens, as deployed ones: for `Tests/Attacks` (docs/attacks.md).
private let tokenVariable = "HYPERSWARM_TEST_NO_TOKENS"

/// Runs `body` and says on standard error what it waits for when that takes long.
func telling<T>(
  _ text: String, _ fields: [(String, JSON)], _ body: () async throws -> T
) async throws -> T {
  let note = Task {
    try await Task.sleep(for: silence)
    Console.note("waiting", text, fields)
  }
  defer { note.cancel() }
  return try await body()
}

/// A node that has entered the network. For the commands that only use the network one answer is enough: the rest of
/// entering it (`entirely`) goes on beside their own work.
func enterNetwork(
  _ common: CommonOptions, keyPair: KeyPair? = nil, entirely: Bool = false, maximumMessageSize: Int? = nil
) async throws -> HyperDHT {
  var options = HyperDHT.Options(bootstrap: common.bootstrap?.nodes, port: 0, keyPair: keyPair)
  if let maximumMessageSize { options.maximumMessageSize = maximumMessageSize }
  options.host = bindAddress(for: common.bootstrap)
  options.showsTokens = environment(tokenVariable) == nil
  let dht = try await HyperDHT(options)
  do {
    if entirely {
      try await requireNetwork(dht, common)
    } else {
      guard try await entering(common, { try await dht.reached() }) else { throw await noBootstrap(common) }
    }
  } catch {
    await dht.destroy(force: true)
    throw error
  }
  if Console.verbosity > 0 { await describe(dht) }
  return dht
}

private func describe(_ dht: HyperDHT) async {
  let status = await dht.status()
  let address = await dht.remoteAddress()
  Console.detail(
    1, "network",
    "entered the network: \(status.nodeCount) nodes known, "
      + (address.map { "reachable at \($0)" } ?? status.host.map { "seen at \($0)" } ?? "own address not known yet"),
    [
      ("nodes", .integer(status.nodeCount)), ("host", status.host.map { .string($0.description) } ?? .null),
      ("address", address.map { .string($0.description) } ?? .null),
    ])
}

/// Fails when no bootstrap node has answered.
func requireNetwork(_ dht: HyperDHT, _ common: CommonOptions) async throws {
  try await entering(common) { try await dht.bootstrapped() }
  guard await dht.status().isOnline else { throw await noBootstrap(common) }
}

private func entering<T>(_ common: CommonOptions, _ body: () async throws -> T) async throws -> T {
  let nodes = bootstrapText(common)
  return try await telling(
    "entering the network: no answer from \(nodes) yet", [("bootstrap", .string(nodes))], body)
}

/// Names that the system cannot resolve are not said to be silent.
private func noBootstrap(_ common: CommonOptions) async -> Failure {
  let nodes = bootstrapNodes(common)
  let unresolved = await onThread {
    nodes.compactMap { node -> String? in
      guard !node.contains("@"), let place = try? HostPort(parsing: node), (try? place.resolve()) == nil else {
        return nil
      }
      return place.host
    }
  }
  let names = unresolved.isEmpty ? "" : "; cannot resolve \(unresolved.joined(separator: ", "))"
  return Failure(
    "no bootstrap node answered (\(bootstrapText(common)))\(names); 'hyperswarm doctor' looks for the reason",
    code: "NO_BOOTSTRAP")
}

/// Runs what blocks off the cooperative threads.
func onThread<T: Sendable>(_ body: @escaping @Sendable () -> T) async -> T {
  await withCheckedContinuation { continuation in
    DispatchQueue.global().async { continuation.resume(returning: body()) }
  }
}

func bootstrapNodes(_ common: CommonOptions) -> [String] { common.bootstrap?.nodes ?? HyperDHT.publicBootstrap }

/// Of `address@name:port` what people know it by.
private func bootstrapText(_ common: CommonOptions) -> String {
  bootstrapNodes(common).map { $0.split(separator: "@").last.map(String.init) ?? $0 }.joined(separator: ", ")
}

/// A network on this machine is spoken to from the loopback address, so that nothing listens outside.
func bindAddress(for bootstrap: BootstrapList?) -> IPv4Address {
  guard let nodes = bootstrap?.nodes else { return .any }
  return nodes.allSatisfy { Endpoint($0)?.host.octets.first == 127 } ? .loopback : .any
}

/// Runs `body` and destroys the node whatever happens; servers withdraw their announcements unless it failed.
func using(_ dht: HyperDHT, _ body: () async throws -> Void) async throws {
  do {
    try await body()
  } catch {
    await dht.destroy(force: true)
    throw error
  }
  await dht.destroy()
}

/// Names the port in the error when the sockets cannot be opened.
func opening<T>(_ port: UInt16, on host: IPv4Address, _ body: () async throws -> T) async throws -> T {
  do {
    return try await body()
  } catch let error as DHTError {
    guard case .bindFailed(_, let reason) = error else { throw error }
    throw Failure("cannot open UDP port \(port) on \(host): \(reason)", code: error.code)
  }
}
