import ArgumentParser
import Foundation
import HyperCrypto
import HyperDHT
import HyperEncoding
import Synchronization

struct Forward: Command {
  static let variable = "HYPERSWARM_SERVICE_KEY"

  static let configuration = CommandConfiguration(
    abstract: "Reach the services that 'expose' publishes, as local ports.",
    discussion: """
      Takes pairs: where to listen (a port of 127.0.0.1, host:port, or the path of a socket; port 0 is any), and what \
      to reach: a public key, or hs:// and what 'expose --private' or holesail print. Every local connection becomes \
      one to the peer. --private takes the second as the seed of hypertele's private mode. Without pairs those of the \
      configuration file are taken.

      The key of a private service is a secret, and other users of the machine see arguments: --ask asks for the key \
      of each local place on the terminal, '-' in its place reads it from standard input, and \(variable) may hold \
      that of a single one.
      """)

  @OptionGroup var common: CommonOptions
  @OptionGroup var identity: IdentityOptions
  @OptionGroup var relay: RelayOptions
  @Flag(help: "The keys are seeds, which both sides have.")
  var `private` = false
  @Flag(help: "Carry all connections to a peer over one, where the peer does ('expose --mux').")
  var mux = false
  @Flag(help: "Listen for UDP packets, for services of 'expose --udp'.")
  var udp = false
  @Flag(help: "Ask for the keys on the terminal: only local places are given.")
  var ask = false
  @Argument(help: ArgumentHelp("Pairs of a local place and a key.", valueName: "local key"))
  var pairs: [String] = []

  /// What a key stands for.
  struct Remote: Sendable {
    let publicKey: Bytes32
    /// In private mode both sides have the same key pair.
    let keyPair: KeyPair?

    init?(_ text: String, isPrivate: Bool) {
      var text = text[...]
      var isPrivate = isPrivate
      if text.hasPrefix("hs://") {
        text = text.dropFirst(5)
        guard text.hasPrefix("s000") || text.hasPrefix("0000") else { return nil }
        isPrivate = text.hasPrefix("s")
        text = text.dropFirst(4)
      }
      guard let key = try? KeyText.parse(String(text)) else { return nil }
      keyPair = isPrivate ? HyperDHT.keyPair(seed: key) : nil
      publicKey = keyPair?.publicKey ?? key
    }
  }

  /// Where the key of a service comes from.
  private enum Source {
    case text(String)
    case variable(String)
    case input
    case terminal
  }

  /// Local places, each with its key. What stands last may have none.
  private var wanted: [(place: String, key: Source?)] {
    if ask { return pairs.map { ($0, .terminal) } }
    if pairs.count == 1, let text = environment(Forward.variable) { return [(pairs[0], .variable(text))] }
    return stride(from: 0, to: pairs.count, by: 2).map { index in
      guard index + 1 < pairs.count else { return (pairs[index], nil) }
      let key = pairs[index + 1]
      return (pairs[index], key == "-" ? .input : .text(key))
    }
  }

  mutating func validate() throws {
    if pairs.isEmpty, !ask { pairs = Configuration.current?.targets(of: "forward") ?? [] }
    if udp, mux { throw ValidationError("--udp and --mux exclude each other") }
    guard !pairs.isEmpty else {
      throw ValidationError("what is to be reached? a local place\(ask ? " is" : " and a key are") wanted")
    }
    let wanted = wanted
    if wanted.count > TunnelLimits.targets { throw ValidationError("at most \(TunnelLimits.targets) pairs") }
    if let last = wanted.last, last.key == nil {
      throw ValidationError("there is no key behind '\(last.place)'; pairs of a local place and a key are wanted")
    }
    for (text, key) in wanted {
      guard let place = LocalAddress(text) else {
        let isKey = text == "-" || text.hasPrefix("hs://") || Remote(text, isPrivate: false) != nil
        // A key may be a secret: it is not repeated.
        throw ValidationError(
          !isKey
            ? "'\(text)' is no port, host:port or path of a socket"
            : ask ? "--ask asks for the keys: only local places are given" : "the local place goes before the key")
      }
      if udp, place.isPath { throw ValidationError("'\(text)' is a path; --udp takes ports") }
      // None of them is repeated: it may be a secret.
      if case .text(let key) = key, Remote(key, isPrivate: self.private) == nil {
        throw ValidationError("what stands behind '\(text)' is no key")
      }
      if case .variable(let key) = key, Remote(key, isPrivate: self.private) == nil {
        throw ValidationError("\(Forward.variable): this is no key")
      }
    }
  }

  private func remote(_ key: Source?, of place: String) throws -> Remote {
    let text: String
    let flaw: String
    switch key {
    case .input: (text, flaw) = (Secret.inputLine() ?? "", "standard input has no key for \(place)")
    case .terminal: (text, flaw) = (try Secret.prompt(for: "key for \(place)"), "what was typed for \(place) is no key")
    case .text(let given), .variable(let given): (text, flaw) = (given, "there is no key for \(place)")
    case nil: (text, flaw) = ("", "there is no key for \(place)")
    }
    guard let remote = Remote(text, isPrivate: self.private) else { throw Failure(flaw, code: "INVALID_KEY") }
    // Not those of the configuration file.
    if case .text = key, remote.keyPair != nil, CommandLine.arguments.contains(text) {
      Secret.warnOfArgument("a seed", "--ask and '-' keep it to you")
    }
    return remote
  }

  func execute() async throws {
    let services = try wanted.compactMap { wanted in
      try LocalAddress(wanted.place).map { ($0, try remote(wanted.key, of: wanted.place)) }
    }
    defer { for (place, _) in services { if case .path(let path) = place.place { Departure.remove(path) } } }
    let doors = try await open(services)
    let dht = try await enterNetwork(common, keyPair: identity.keyPair)
    var options = relay.connecting
    options.deadline = TunnelLimits.dial
    let forwarder = Forwarder(dht: dht, options: options)
    try await using(dht, until: Interrupt()) {
      await withDiscardingTaskGroup { group in
        for door in doors {
          Console.event(
            "forwarding", "\(door.address) -> \(door.remote.publicKey.hex)",
            [("address", .string(door.address)), ("publicKey", .string(door.remote.publicKey.hex))])
          group.addTask { await forwarder.serve(door) }
        }
      }
    }
  }

  /// Where local connections or packets come in.
  struct Door: Sendable {
    enum Kind: Sendable {
      case streams(Socket, isMux: Bool)
      case packets(PacketSocket)
    }
    let kind: Kind
    let address: String
    let remote: Remote
  }

  private func open(_ services: [(LocalAddress, Remote)]) async throws -> [Door] {
    var doors: [Door] = []
    for (place, remote) in services {
      do {
        if udp {
          let (socket, address) = try await place.bindPackets()
          doors.append(Door(kind: .packets(socket), address: address, remote: remote))
        } else {
          let (socket, address) = try await place.listen()
          doors.append(Door(kind: .streams(socket, isMux: mux), address: address, remote: remote))
        }
      } catch {
        throw Failure("cannot listen on \(place): \(error)", code: "LISTEN")
      }
    }
    return doors
  }
}

/// Dials for local connections.
struct Forwarder: Sendable {
  let dht: HyperDHT
  let options: HyperDHT.ConnectOptions
  private let dials = Gate(TunnelLimits.dials)
  private let counter = ConnectionCounter()

  init(dht: HyperDHT, options: HyperDHT.ConnectOptions) {
    self.dht = dht
    self.options = options
  }

  func serve(_ door: Forward.Door) async {
    switch door.kind {
    case .packets(let socket):
      await PacketForward(socket, door.address) { try await dial(door.remote) }.run()
    case .streams(let listening, let isMux):
      let link = isMux ? MuxLink { try await dial(door.remote) } : nil
      await withDiscardingTaskGroup { group in
        while !Task.isCancelled {
          guard let socket = await accepted(by: listening) else { continue }
          group.addTask {
            defer { counter.leave() }
            await carry(socket, door, link)
          }
        }
      }
    }
  }

  /// A connection, which counts from here on; `nil` for none yet.
  private func accepted(by listening: Socket) async -> Socket? {
    guard await Poller.shared.wait(listening.descriptor, for: Int32(POLLIN), seconds: 1) else { return nil }
    guard counter.enter() else {
      // The system's queue holds them until there is room.
      try? await Task.sleep(for: .milliseconds(20))
      return nil
    }
    let descriptor = accept(listening.descriptor, nil, nil)
    if descriptor >= 0 { return Socket(descriptor) }
    counter.leave()
    let error = errno
    guard error != EAGAIN, error != ECONNABORTED else { return nil }
    // No descriptors, say: others end.
    Console.warn("local connections wait: \(SocketFailure(number: error))")
    try? await Task.sleep(for: .milliseconds(100))
    return nil
  }

  private func dial(_ remote: Forward.Remote) async throws(DHTError) -> HyperDHT.Connection {
    var options = options
    options.keyPair = remote.keyPair
    await dials.enter()
    do throws(DHTError) {
      let connection = try await dht.connect(to: remote.publicKey, options: options)
      await dials.leave()
      return connection
    } catch {
      await dials.leave()
      throw error
    }
  }

  private func carry(_ socket: Socket, _ door: Forward.Door, _ link: MuxLink?) async {
    do {
      switch try await link?.way() ?? .own {
      case .channel(let channel): await TunnelPipe.join(socket, channel)
      case .asked(let connection): await TunnelPipe.join(socket, PlainStream(connection))
      case .own: await TunnelPipe.join(socket, PlainStream(try await dial(door.remote)))
      }
    } catch {
      await socket.abort(within: 0)
      Forwarder.report(error, door.address)
    }
  }

  static func report(_ error: any Error, _ address: String) {
    let code = (error as? DHTError)?.code ?? (error as? Failure)?.code ?? "ERROR"
    Console.note(
      "failed", "\(address): \(error)",
      [("address", .string(address)), ("code", .string(code)), ("message", .string("\(error)"))])
  }
}

/// How many connections there are.
final class ConnectionCounter: Sendable {
  private let count = Mutex(0)
  private let limit = OpenFiles.room(for: TunnelLimits.connections)

  /// `false` when there are as many as may be.
  func enter() -> Bool {
    count.withLock {
      guard $0 < limit else { return false }
      $0 += 1
      return true
    }
  }

  func leave() { count.withLock { $0 -= 1 } }
}
