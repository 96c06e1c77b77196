import ArgumentParser
import HyperDHT
import Hyperswarm
import Synchronization

struct Join: Command {
  static let configuration = CommandConfiguration(
    abstract: "Join a topic and chat by lines with everybody there, until Ctrl-C.")

  @OptionGroup var common: CommonOptions
  @OptionGroup var identity: IdentityOptions
  @Option(help: ArgumentHelp("Key of a blind relay for peers that cannot be reached otherwise.", valueName: "key"))
  var relay: [KeyArgument] = []
  @Flag(help: "Do not announce: only dial others.")
  var clientOnly = false
  @Flag(help: "Do not look the topic up: only wait for others.")
  var serverOnly = false
  @Option(help: ArgumentHelp("What the others see beside the beginning of your key.", valueName: "text"))
  var name: ChatName?
  @OptionGroup var trace: TraceOptions
  @Argument(help: "Any text, or 64 hexadecimal digits.")
  var topic: TopicArgument

  func validate() throws {
    if clientOnly, serverOnly { throw ValidationError("--client-only and --server-only exclude each other") }
  }

  func execute() async throws {
    var options = Hyperswarm.Options(bootstrap: common.bootstrap?.nodes, keyPair: identity.keyPair)
    options.dhtOptions.host = bindAddress(for: common.bootstrap)
    options.relays = relay.map(\.key)
    let swarm = try await Hyperswarm(options)
    do {
      try await requireNetwork(swarm.dht, common)
      let trace = trace.start()
      let following = trace.map { trace in Task { await trace.follow(swarm) } }
      defer { following?.cancel() }
      let discovery = try await swarm.join(topic.topic, server: !clientOnly, client: !serverOnly)
      if try await !discovery.flushed() {
        Console.warn("the topic could not be announced: the network does not answer; it is tried again")
      }
      // From here on a signal ends the command in order, which gives the terminal back.
      let interrupt = Interrupt()
      let editor = LineEditor.open(prompt: "> ")
      defer { editor?.close() }
      Console.note(
        "joined", "joined \(topic.topic.hex) as \(swarm.keyPair.publicKey.hex)",
        [("topic", .string(topic.topic.hex)), ("publicKey", .string(swarm.keyPair.publicKey.hex))])
      let work = Task { await run(swarm, Room(), trace, TypedLines(editor: editor)) }
      defer { work.cancel() }
      await withTaskGroup(of: Void.self) { group in
        group.addTask { _ = await interrupt.wait() }
        // What the others say is not read any more.
        group.addTask { await Console.waitForLoss() }
        await group.next()
        group.cancelAll()
      }
    } catch {
      await swarm.destroy(force: true)
      throw error
    }
    await swarm.destroy()
  }

  private func run(_ swarm: Hyperswarm, _ room: Room, _ trace: Trace?, _ lines: TypedLines) async {
    await withDiscardingTaskGroup { group in
      group.addTask {
        for await line in lines {
          await waitForMember(of: room)
          // An empty message would be a keepalive.
          await send(line.isEmpty ? "\n" : line, to: room.members)
        }
      }
      for await connection in swarm.connections {
        room.add(connection)
        if let trace { group.addTask { await trace.follow(connection) } }
        group.addTask {
          await chat(with: connection)
          room.remove(connection)
        }
      }
    }
  }

  /// Lines wait for the first peer, and say so.
  private func waitForMember(of room: Room) async {
    guard room.members.isEmpty else { return }
    Console.note("alone", "no peer is here yet: lines wait for the first one")
    await room.waitForMember()
  }

  /// How long a peer may take for a line before it counts as one that does not read: longer than outages that
  /// connections survive without a change of path mostly are.
  private static let laggard = Duration.seconds(10)

  /// Sends a line to all. A peer that does not take it would hold up the others, and is left.
  private func send(_ line: String, to members: [HyperDHT.Connection]) async {
    await withDiscardingTaskGroup { group in
      for connection in members {
        group.addTask {
          let deadline = Task {
            try await Task.sleep(for: Join.laggard)
            connection.destroy()
          }
          try? await connection.write(line)
          deadline.cancel()
        }
      }
    }
  }

  private func chat(with connection: HyperDHT.Connection) async {
    let member = Member(connection.remotePublicKey)
    let isShown = Console.event("peer-joined", ofOne: .joined, "* \(member.shown) joined", member.fields)
    await withTaskGroup(of: Void.self) { group in
      if let name { group.addTask { await name.tell(connection) } }
      group.addTask {
        for await datagram in connection.datagrams {
          guard let name = ChatName(datagram: datagram), let former = member.rename(name) else { continue }
          Console.event("peer-named", ofOne: .named, "* \(former) is \(member.shown)", member.fields)
        }
      }
      await hear(connection, member)
      group.cancelAll()
    }
    guard isShown else { return Crowd.ofEvents.omit(.left) }
    Console.event("peer-left", ofOne: .left, "* \(member.shown) left", member.fields)
  }

  private func hear(_ connection: HyperDHT.Connection, _ member: Member) async {
    do {
      for try await message in connection.inbound {
        let line = message.last == 0x0a ? message.dropLast() : message[...]
        let text = Join.printable(String(decoding: line, as: UTF8.self))
        Console.event("message", "<\(member.shown)> \(text)", member.fields + [("text", .string(text))])
      }
      await connection.close()
    } catch {}
  }

  /// What a stranger sends must not steer the terminal.
  static func printable(_ text: String) -> String {
    var out = String.UnicodeScalarView()
    for scalar in text.unicodeScalars {
      let isControl = scalar.value < 0x20 || (0x7f...0x9f).contains(scalar.value)
      out.append(isControl ? "\u{fffd}" : scalar)
    }
    return String(out)
  }
}

/// How another one is shown.
private final class Member: Sendable {
  private let key: Bytes32
  private let name = Mutex<String?>(nil)

  init(_ key: Bytes32) { self.key = key }

  var shown: String {
    let key = String(key.hex.prefix(8))
    return name.withLock { $0 }.map { "\($0) \(key)" } ?? key
  }
  var fields: [(String, JSON)] {
    [("publicKey", .string(key.hex))] + (name.withLock { $0 }.map { [("name", .string($0))] } ?? [])
  }

  /// Returns how it was shown before; `nil` when nothing has changed.
  func rename(_ new: ChatName) -> String? {
    let former = shown
    return name.withLock { name in
      guard name != new.text else { return nil }
      name = new.text
      return former
    }
  }
}

/// The open connections of a chat.
private final class Room: Sendable {
  private let connections = Mutex<[ObjectIdentifier: HyperDHT.Connection]>([:])

  private let arrivals: AsyncStream<Void>
  private let arrival: AsyncStream<Void>.Continuation

  init() { (arrivals, arrival) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1)) }

  /// For one task at a time.
  func waitForMember() async {
    for await _ in arrivals where !members.isEmpty { return }
  }

  var members: [HyperDHT.Connection] { connections.withLock { Array($0.values) } }
  func add(_ connection: HyperDHT.Connection) {
    connections.withLock { $0[ObjectIdentifier(connection)] = connection }
    arrival.yield()
  }
  func remove(_ connection: HyperDHT.Connection) { connections.withLock { $0[ObjectIdentifier(connection)] = nil } }
}
