import ArgumentParser
import Foundation
import HyperDHT
import HyperEncoding
import HyperFileTransfer

struct Send: Command {
  static let configuration = CommandConfiguration(
    abstract: "Send files and folders to those who have the code.",
    discussion: """
      Prints a code to read out, which the receiver gives to 'receive'. One wrong guess ends it. With --key the public \
      key takes the place of the code: every peer that knows it may receive, or those of --allow.

      Ends when a receiver has everything and no other is being served; a receiver that was interrupted goes on where \
      it was. Links are followed where they are named, and left out inside of folders.
      """)

  @OptionGroup var common: CommonOptions
  @OptionGroup var identity: IdentityOptions
  @OptionGroup var relay: RelayOptions
  @Flag(help: "Let receivers in by the public key instead of a code.")
  var key = false
  @Option(help: ArgumentHelp("Let only this key in; several are possible.", valueName: "key"))
  var allow: [KeyArgument] = []
  @Flag(help: "Serve receivers until Ctrl-C.")
  var many = false
  @Flag(inversion: .prefixedNo, help: "Show code or key as a QR code, too; without either, on a terminal only.")
  var qr: Bool?
  @Argument(help: "Files and folders.")
  var paths: [String]

  func validate() throws {
    if paths.isEmpty { throw ValidationError("what is to be sent?") }
  }

  func execute() async throws {
    let tree = try SourceTree(paths: paths)
    for left in tree.skipped {
      Console.note(
        "skipped", "left out, \(left.reason): \(left.path)",
        [("path", .string(left.path)), ("reason", .string(left.reason))])
    }
    let keyPair = identity.keyPair
    let dht = try await enterNetwork(
      common, keyPair: keyPair, entirely: true, maximumMessageSize: HyperFileTransfer.Limits.message)
    let service = SendService(dht: dht, tree: tree, gate: key ? nil : CodeGate(.random()), isEndless: many)
    var options = relay.listening
    if !allow.isEmpty {
      let allowed = Set(allow.map(\.key))
      options.firewall = { allowed.contains($0.publicKey) }
    }
    try await using(dht, until: Interrupt()) { [options] in
      let server = try await dht.listen(keyPair: keyPair, options: options)
      if let gate = service.gate { try await dht.announce(gate.code.topic, keyPair: keyPair) }
      introduce(tree, server.publicKey, service.gate?.code)
      try await service.run(server, keyPair)
      if let gate = service.gate { try? await dht.unannounce(gate.code.topic, keyPair: keyPair) }
    }
  }

  private func introduce(_ tree: SourceTree, _ publicKey: Bytes32, _ code: TransferCode?) {
    let files = tree.entries.count { $0.kind == .file }
    let folders = tree.entries.count - files
    let what = [
      "\(files) file\(files == 1 ? "" : "s")", folders > 0 ? "\(folders) folder\(folders == 1 ? "" : "s")" : nil,
      ByteCount.text(tree.bytes),
    ].compactMap { $0 }
    let source = code?.text ?? publicKey.hex
    let instruction =
      code.map { Secret.instruction("receive --ask", "code", $0.text) } ?? "hyperswarm receive \(publicKey.hex)"
    Console.event(
      "offer",
      "\(what.joined(separator: ", ")). On the other machine:\n    \(instruction)" + picture(of: source),
      [
        ("files", .integer(files)), ("folders", .integer(folders)), ("bytes", .integer(Int(tree.bytes))),
        ("code", code.map { .string($0.text) } ?? .null), ("publicKey", .string(publicKey.hex)),
      ])
  }
}

extension Send {
  /// Readers take capitals, too, which need less room.
  private func picture(of text: String) -> String {
    guard qr ?? (isatty(1) == 1), let code = QRCode(text.uppercased()) else { return "" }
    return "\n\n" + code.lines(inColour: Console.isColourful(1)).joined(separator: "\n")
  }
}

/// Serves receivers.
struct SendService: Sendable {
  let dht: HyperDHT
  let tree: SourceTree
  let gate: CodeGate?
  let isEndless: Bool
  private let display = ProgressDisplay()

  init(dht: HyperDHT, tree: SourceTree, gate: CodeGate?, isEndless: Bool) {
    self.dht = dht
    self.tree = tree
    self.gate = gate
    self.isEndless = isEndless
  }

  private static let codeEnded = Failure(
    "a wrong code was tried, which has ended this one: send again for another", code: "WRONG_CODE")

  private enum Event: Sendable {
    case connection(HyperDHT.Connection)
    /// Time has passed.
    case look
    case end(of: Bytes32, Result<UInt64, any Error>)
  }

  func run(_ server: HyperDHT.Server, _ keyPair: KeyPair) async throws {
    let (events, continuation) = AsyncStream<Event>.makeStream()
    let helpers = [
      Task { for await connection in server.connections { continuation.yield(.connection(connection)) } },
      Task { await display.run() },
      Task { await announce(keyPair) },
      Task { while (try? await Task.sleep(for: FileLimits.look)) != nil { continuation.yield(.look) } },
    ]
    let places = Places(FileLimits.sessions, idle: FileLimits.idle)
    defer { for helper in helpers { helper.cancel() } }
    try await withThrowingDiscardingTaskGroup { group in
      var active = 0
      var failures: UInt64?
      for await event in events {
        switch event {
        case .connection(let connection):
          guard let place = places.enter(PlaceGroup(connection), giveWay: { connection.destroy() }) else {
            connection.destroy()
            continue
          }
          active += 1
          group.addTask(executorPreference: BlockingExecutor()) {
            let result = await serve(connection, place)
            places.leave(place)
            continuation.yield(.end(of: connection.remotePublicKey, result))
          }
        case .look: await server.setBusy(!places.hasRoom())
        case .end(let peer, let result):
          active -= 1
          if case .success(let count) = result { failures = (failures ?? 0) + count }
          report(peer, result)
        }
        if case .look = event { continue }
        // Receivers that are served, and no others, are a reason to send a newcomer away in the answer to its
        // handshake.
        await server.setBusy(!places.hasRoom())
        guard active == 0 else { continue }
        if isEndless {
          if gate?.isOver == true { throw SendService.codeEnded }
          continue
        }
        if let failures {
          if failures > 0 { throw Failure("a receiver did not get everything", code: "INCOMPLETE") }
          return
        }
        if let gate, gate.isOver, !gate.hasAdmitted { throw SendService.codeEnded }
      }
    }
  }

  private func serve(
    _ connection: HyperDHT.Connection, _ place: Places.Place
  ) async -> Result<UInt64, any Error> {
    let progress = TransferProgress()
    display.add(progress)
    defer { display.remove(progress) }
    do {
      let channel = ConnectionChannel(connection, place: place)
      let sender = Sender(tree: tree, channel: channel, gate: gate, progress: progress)
      return .success(try await sender.run())
    } catch {
      return .failure(error)
    }
  }

  private func report(_ peer: Bytes32, _ result: Result<UInt64, any Error>) {
    Console.endProgress()
    let name = "\(peer.hex.prefix(8))"
    let key = [("publicKey", JSON.string(peer.hex))]
    switch result {
    case .success(0): Console.note("sent", ofOne: .served, "\(name) has everything", key)
    case .success(let count):
      Console.note(
        "sent", ofOne: .served, "\(name) has all but \(count) files", key + [("failures", .integer(Int(count)))])
    case .failure(let error):
      let isLost = error is ConnectionError || error as? TransferError == .ended
      let text = isLost ? "\(name) is gone: \(error); it may come back" : "\(name): \(error)"
      Console.note("lost", ofOne: .failed, text, key + [("message", .string("\(error)"))])
    }
  }

  /// Keeps the announcement of the code fresh.
  private func announce(_ keyPair: KeyPair) async {
    guard let gate else { return }
    while (try? await Task.sleep(for: FileLimits.announcing)) != nil {
      _ = try? await dht.announce(gate.code.topic, keyPair: keyPair)
    }
  }
}
