import ArgumentParser
import Foundation
import HyperDHT
import HyperEncoding
import HyperFileTransfer

struct Receive: Command {
  static let variable = "HYPERSWARM_CODE"

  static let configuration = CommandConfiguration(
    abstract: "Receive what 'send' offers.",
    discussion: """
      On a terminal the command asks first. Files get their names when they are complete, verified and on the disk, \
      and replace nothing without --force. A lost connection is made again; after an interruption the same command \
      goes on where it was, with a new code, too.

      A code is a secret until it has been used, and other users of the machine see arguments: --ask asks for it on \
      the terminal, '-' reads it from standard input, and \(variable) may hold it.
      """)

  @OptionGroup var common: CommonOptions
  @OptionGroup var identity: IdentityOptions
  @OptionGroup var relay: RelayOptions
  @Option(name: .shortAndLong, help: ArgumentHelp("Where to put it.", valueName: "folder"))
  var output = "."
  @Flag(name: .shortAndLong, help: "Do not ask.")
  var yes = false
  @Flag(help: "Replace files that are there.")
  var force = false
  @Flag(help: "Do not wait until what is received is on the disk.")
  var noSync = false
  @Flag(help: "Ask for the code on the terminal.")
  var ask = false
  @Argument(
    help: ArgumentHelp("The code, or a public key; with '-' the line of standard input.", valueName: "code|key"))
  var source: [String] = []

  enum Source: Sendable {
    case code(TransferCode)
    case key(Bytes32)
  }

  func validate() throws {
    if ask, !source.isEmpty { throw ValidationError("an argument and --ask exclude each other") }
    guard !ask, source != ["-"] else { return }
    if !source.isEmpty {
      _ = try Receive.parse(source)
    } else if let text = environment(Receive.variable) {
      do { _ = try Receive.parse([text]) } catch { throw ValidationError("\(Receive.variable): \(error)") }
    } else {
      throw ValidationError("what is to be received? the code that 'send' has printed is wanted, or a public key")
    }
  }

  private static func parse(_ words: [String]) throws -> Source {
    if words.count == 1, let key = KeyArgument(argument: words[0]) { return .key(key.key) }
    do throws(TransferCode.Flaw) {
      return .code(try TransferCode(words.joined(separator: " ")))
    } catch {
      throw ValidationError("\(error)")
    }
  }

  private func given() throws -> Source {
    if ask { return try Receive.parse([Secret.prompt(for: "code")]) }
    if source == ["-"] {
      guard let line = Secret.inputLine(), !line.isEmpty else {
        throw Failure("standard input has no code and no key", code: "INPUT_FAILED")
      }
      return try Receive.parse([line])
    }
    guard source.isEmpty else {
      let source = try Receive.parse(source)
      if case .code = source { Secret.warnOfArgument("a code", "--ask and '-' keep it to you") }
      return source
    }
    return try Receive.parse([environment(Receive.variable) ?? ""])
  }

  func execute() async throws {
    let source = try given()
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: output, isDirectory: &isFolder), isFolder.boolValue else {
      throw Failure("there is no folder \(output)", code: "FILE")
    }
    let dht = try await enterNetwork(
      common, keyPair: identity.keyPair, maximumMessageSize: HyperFileTransfer.Limits.message)
    let options = relay.connecting
    let asks = !yes && StandardInput.isTerminal && !Console.isJSON
    let storing = Destination.Options(replaces: force, synchronizes: !noSync)
    let settings = Receiver.Settings(output: output, storing: storing) { try await Receive.accepts($0, asking: asks) }
    let service = ReceiveService(dht: dht, options: options, settings: settings)
    let (ends, end) = AsyncStream<Void>.makeStream()
    do {
      try await using(dht, until: Interrupt()) {
        defer { end.finish() }
        try await withTaskExecutorPreference(BlockingExecutor()) { try await service.run(source) }
      }
    } catch let code as ExitCode {
      // Time to remove what nothing can go on from; a question that waits for a terminal does not end.
      let deadline = Task {
        try await Task.sleep(for: FileLimits.farewell)
        end.finish()
      }
      for await _ in ends {}
      deadline.cancel()
      throw code
    }
  }

  private static func accepts(_ manifest: Manifest, asking: Bool) async throws -> Bool {
    let files = manifest.entries.filter { $0.kind == .file }
    var lines = ["\(files.count) file\(files.count == 1 ? "" : "s"), \(ByteCount.text(manifest.bytes)):"]
    for entry in manifest.entries.prefix(FileLimits.shownNames) {
      let name = FileName.printable(entry.path)
      lines.append(entry.kind == .folder ? "    \(name)/" : "    \(name)  \(ByteCount.text(entry.size))")
    }
    let more = manifest.entries.count - FileLimits.shownNames
    if more > 0 { lines.append("    and \(more) more") }
    Console.note(
      "offer", lines.joined(separator: "\n"),
      [("files", .integer(files.count)), ("bytes", .integer(Int(manifest.bytes)))])
    guard asking else { return true }
    Console.write("Receive? [Y/n] ", to: 2)
    var answer = InputLines(input: StandardInput()).makeAsyncIterator()
    guard let line = await answer.next() else { return false }
    return ["", "y", "yes"].contains(line.trimmingCharacters(in: .whitespaces).lowercased())
  }
}

/// Finds the sender, and comes back to it when the connection is lost.
struct ReceiveService: Sendable {
  let dht: HyperDHT
  let options: HyperDHT.ConnectOptions
  let settings: Receiver.Settings

  func run(_ source: Receive.Source) async throws {
    let progress = TransferProgress()
    let display = ProgressDisplay()
    display.add(progress)
    let showing = Task { await display.run() }
    defer { showing.cancel() }
    let receiver = Receiver(settings, progress: progress)
    do {
      try await run(source, receiver, progress)
    } catch {
      Console.endProgress()
      if let left = receiver.leave() {
        let text = "what is there already is kept in \(settings.output)/\(left): the same command goes on with it"
        Console.note("kept", text, [("name", .string(left))])
      }
      throw error
    }
    showing.cancel()
    Console.endProgress()
    let files = receiver.entries.count { $0.kind == .file } - receiver.failureCount
    Console.event(
      "received", "received \(files) file\(files == 1 ? "" : "s"), \(ByteCount.text(receiver.bytes)), verified",
      [
        ("files", .integer(files)), ("bytes", .integer(Int(receiver.bytes))),
        ("failures", .array(receiver.failures.map { .string($0) })),
      ])
    guard receiver.failureCount == 0 else {
      throw Failure("\(receiver.failureCount) files were not received", code: "INCOMPLETE")
    }
  }

  private func run(_ source: Receive.Source, _ receiver: Receiver, _ progress: TransferProgress) async throws {
    let key: Bytes32
    var code: TransferCode?
    switch source {
    case .key(let given):
      key = given
      let connection = try await telling(
        "connecting to \(given.hex): no answer yet", [("publicKey", .string(given.hex))]
      ) { try await dht.connect(to: given, options: options) }
      if try await isDone(receiver, connection, nil) { return }
    case .code(let given):
      code = given
      guard let found = try await find(given, receiver) else { return }
      key = found
    }
    let clock = ContinuousClock()
    var lastMoved = progress.snapshot.moved
    var deadline = clock.now + FileLimits.reconnecting
    var pause = Duration.milliseconds(500)
    Console.endProgress()
    Console.note("reconnecting", "the connection is lost: connecting again", [("publicKey", .string(key.hex))])
    while clock.now < deadline {
      try await Task.sleep(for: pause)
      pause = min(pause * 2, FileLimits.pause)
      var options = options
      options.deadline = FileLimits.candidate
      guard let connection = try? await dht.connect(to: key, options: options) else { continue }
      if try await isDone(receiver, connection, code) { return }
      let moved = progress.snapshot.moved
      guard moved > lastMoved else { continue }
      lastMoved = moved
      deadline = clock.now + FileLimits.reconnecting
      pause = .milliseconds(500)
    }
    throw Failure("the sender cannot be reached any more", code: "LOST")
  }

  /// `false` when the connection was lost.
  private func isDone(
    _ receiver: Receiver, _ connection: HyperDHT.Connection, _ code: TransferCode?, paired: () -> Void = {}
  ) async throws -> Bool {
    do {
      try await receiver.run(over: ConnectionChannel(connection), code: code, paired: paired)
      return true
    } catch {
      try Task.checkCancellation()
      guard error is ConnectionError || error as? TransferError == .ended else { throw error }
      return false
    }
  }

  /// Finds the sender with the code, and receives from it. Returns its key when the connection was lost on the way.
  private func find(_ code: TransferCode, _ receiver: Receiver) async throws -> Bytes32? {
    let note = Task {
      try await Task.sleep(for: .seconds(1))
      let text = "looking for the sender with the code \(code.nameplate)"
      Console.note("waiting", text, [("nameplate", .string(code.nameplate))])
    }
    defer { note.cancel() }
    let clock = ContinuousClock()
    let deadline = clock.now + FileLimits.search
    var guesses = 0
    repeat {
      var seen: Set<Bytes32> = []
      var lastError: TransferError?
      for try await reply in dht.lookup(code.topic) {
        for peer in reply.peers where seen.insert(peer.publicKey).inserted {
          var options = options
          options.relayAddresses = peer.relayAddresses
          options.deadline = FileLimits.candidate
          guard let connection = try? await dht.connect(to: peer.publicKey, options: options) else { continue }
          var isPaired = false
          do {
            let isDone = try await isDone(receiver, connection, code) {
              isPaired = true
              note.cancel()
            }
            if isDone { return nil }
          } catch let error as TransferError where !isPaired {
            guesses += 1
            guard guesses < FileLimits.guesses else { throw error }
            lastError = error
          }
          if isPaired { return peer.publicKey }
        }
      }
      if let lastError { throw lastError }
      try await Task.sleep(for: .seconds(1))
    } while clock.now < deadline
    throw Failure("no sender has this code: is it right, and is 'send' still running?", code: "NOT_FOUND")
  }
}
