import ArgumentParser
import Foundation
import HyperDHT
import HyperEncoding
import Hyperswarm
import Synchronization

struct TraceOptions: ParsableArguments {
  @Flag(help: "Say on standard error how each connection comes about, step by step with milliseconds.")
  var trace = false

  /// `nil` when it is not wanted.
  func start() -> Trace? { trace ? Trace() : nil }
}

/// The steps of connections, as they happen.
struct Trace: Sendable {
  /// Between two looks at a dial that is under way: the steps have times of their own.
  private static let interval = Duration.milliseconds(20)

  private let start = ContinuousClock.now

  // MARK: One dial

  /// Times count from the beginning of the dial.
  func connect(
    to key: Bytes32, on dht: HyperDHT, _ options: HyperDHT.ConnectOptions
  ) async throws -> HyperDHT.Connection {
    let dial = dht.dial(key, options: options)
    let steps = Steps(key)
    let telling = Task {
      while (try? await Task.sleep(for: Trace.interval)) != nil { steps.tell(await dial.pathTimeline()) }
    }
    do {
      let connection = try await withTaskCancellationHandler {
        try await dial.connection()
      } onCancel: {
        dial.cancel()
      }
      telling.cancel()
      Task { await follow(connection, steps) }
      return connection
    } catch {
      telling.cancel()
      await telling.value
      steps.tell(await dial.pathTimeline())
      throw error
    }
  }

  /// Tells the steps of a connection until it is closed.
  func follow(_ connection: HyperDHT.Connection) async {
    await follow(connection, Steps(connection.remotePublicKey))
  }

  private func follow(_ connection: HyperDHT.Connection, _ steps: Steps) async {
    let states = connection.states
    for await state in states {
      steps.tell(await connection.pathTimeline())
      switch state {
      case .connecting, .closing: break
      case .open(let path): tell(connection.remotePublicKey, "open, \(Trace.text(path))")
      case .moved(let path): tell(connection.remotePublicKey, "moved, \(Trace.text(path))")
      case .closed(let error):
        tell(connection.remotePublicKey, "closed" + (error.map { ", \($0.code)" } ?? ""), code: error?.code)
      }
    }
  }

  private static func text(_ path: HyperDHT.Connection.Path) -> String {
    "\(path.isRelayed ? "relayed" : "direct"), \(path.endpoint)"
  }

  // MARK: A swarm

  /// Tells the dials of the swarm until it is destroyed. Times count from the making of the trace.
  func follow(_ swarm: Hyperswarm) async {
    for await event in swarm.events() {
      switch event {
      case .attempt(let attempt): tell(attempt)
      case .banned(let key, let reason): tell(key, "banned, \(reason)")
      case .network(let isOnline): tell(nil, isOnline ? "the network answers" : "the network does not answer")
      case .topic(let key, let topic): tell(key, "also under \(topic.hex.prefix(8))")
      case .update: break
      }
    }
  }

  private func tell(_ attempt: Hyperswarm.Attempt) {
    let retry = attempt.nextRetry.map { ", next try in \($0.wholeMilliseconds) ms" } ?? ""
    switch attempt.stage {
    case .started: tell(attempt.publicKey, "dial started")
    case .opened: tell(attempt.publicKey, "dial opened")
    case .failed(let code, let description):
      tell(attempt.publicKey, "dial failed, \(description)" + retry, code: code)
    case .closed(let code): tell(attempt.publicKey, "dialled connection closed" + retry, code: code)
    case .skipped: tell(attempt.publicKey, "dial skipped")
    }
  }

  private func tell(_ key: Bytes32?, _ text: String, code: String? = nil) {
    Trace.tell(key, (ContinuousClock.now - start).milliseconds, text, isStep: false, code: code)
  }

  /// Steps of a path are set in, with times from the beginning of its dial or of the peer's.
  fileprivate static func tell(
    _ key: Bytes32?, _ milliseconds: Int?, _ text: String, isStep: Bool, code: String? = nil
  ) {
    let time = milliseconds.map { "+\($0) ms" } ?? ""
    let peer = key.map { $0.hex.prefix(8) + "  " } ?? ""
    Console.note(
      "trace", String(repeating: " ", count: max(0, 10 - time.count)) + time + "  \(peer)\(isStep ? "  " : "")\(text)",
      [
        ("publicKey", key.map { .string($0.hex) } ?? .null),
        ("milliseconds", milliseconds.map { .integer($0) } ?? .null),
        ("step", .bool(isStep)), ("text", .string(text)), ("code", code.map { .string($0) } ?? .null),
      ])
  }
}

/// Those of one connection that have been told.
private final class Steps: Sendable {
  private let key: Bytes32
  private let told = Mutex(0)

  init(_ key: Bytes32) { self.key = key }

  /// Tells those that are new.
  func tell(_ lines: [String]) {
    // Under the lock, so that they come in their order.
    told.withLock { told in
      guard lines.count > told else { return }
      for line in lines[told...] {
        let parts = line.components(separatedBy: " ms  ")
        let time = parts.count > 1 ? Int(parts[0].dropFirst()) : nil
        Trace.tell(key, time, time == nil ? line : parts.dropFirst().joined(separator: " ms  "), isStep: true)
      }
      told = lines.count
    }
  }
}
