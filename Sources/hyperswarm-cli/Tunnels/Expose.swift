import ArgumentParser
import HyperCrypto
import HyperDHT
import HyperEncoding

struct Expose: Command {
  static let configuration = CommandConfiguration(
    abstract: "Let peers reach local services by a key.",
    discussion: """
      Every connection of a peer becomes one to the service; 'forward' is the other side, and so are hypertele and \
      holesail. A target is a port of 127.0.0.1, host:port, or the path of a socket. Each has a key of its own, made \
      of the seed; the first one's is the seed's key.

      Peers need the key only, unless --allow names them, or --private gives the seed to those that may connect. \
      Without targets those of the configuration file are taken.
      """)

  @OptionGroup var common: CommonOptions
  @OptionGroup var identity: IdentityOptions
  @OptionGroup var relay: RelayOptions
  @Option(help: ArgumentHelp("Let only this key in; several are possible.", valueName: "key"))
  var allow: [KeyArgument] = []
  @Flag(help: "Let in only those that have the printed seed; the network does not learn it.")
  var `private` = false
  @Flag(help: "Let peers that ask for it ('forward --mux') carry many connections over one; others notice nothing.")
  var mux = false
  @Flag(help: "The services are reached over UDP, by 'forward --udp'.")
  var udp = false
  @Argument(help: ArgumentHelp("Services of this machine.", valueName: "target"))
  var targets: [String] = []

  mutating func validate() throws {
    if targets.isEmpty { targets = Configuration.current?.targets(of: "expose") ?? [] }
    if targets.isEmpty {
      throw ValidationError("what is to be exposed? a port, host:port or path of a socket is wanted")
    }
    if udp, mux { throw ValidationError("--udp and --mux exclude each other") }
    if self.private, !allow.isEmpty { throw ValidationError("--private and --allow exclude each other") }
    if targets.count > TunnelLimits.targets { throw ValidationError("at most \(TunnelLimits.targets) targets") }
    for target in targets {
      guard let place = LocalAddress(target) else {
        throw ValidationError("'\(target)' is no port, host:port or path of a socket")
      }
      if case .port(_, 0) = place.place { throw ValidationError("'\(target)': nothing listens on port 0") }
    }
    if udp, let path = targets.first(where: { LocalAddress($0)?.isPath == true }) {
      throw ValidationError("'\(path)' is a path; --udp takes ports")
    }
  }

  /// A seed for each target.
  static func seeds(_ first: Bytes32, _ count: Int) -> [Bytes32] {
    (0..<count).map { index in
      index == 0
        ? first : Blake2b.hash32(Array("hyperswarm-expose \(index)".utf8), key: first.bytes)
    }
  }

  func execute() async throws {
    let keyPair = identity.keyPair
    guard let seed = keyPair.withSecretKey({ Bytes32($0.prefix(Bytes32.count)) }) else {
      preconditionFailure("a secret key begins with its seed")
    }
    let services = zip(targets.compactMap(LocalAddress.init), Expose.seeds(seed, targets.count)).map { ($0, $1) }
    let dht = try await enterNetwork(common, keyPair: keyPair, entirely: true)
    let options = relay.listening
    let allowed = Set(allow.map(\.key))
    let isPrivate = self.private
    try await using(dht, until: Interrupt()) {
      let room = OpenFiles.room(for: Places.room(for: TunnelLimits.connections))
      let places = Places.within(room, idle: TunnelLimits.idle)
      try await withThrowingDiscardingTaskGroup { group in
        for (target, seed) in services {
          let pair = HyperDHT.keyPair(seed: seed)
          var options = options
          let admitted = isPrivate ? [pair.publicKey] : allowed
          if !admitted.isEmpty { options.firewall = { admitted.contains($0.publicKey) } }
          let server = try await dht.listen(keyPair: pair, options: options)
          let service = try await service(at: target)
          let secret = isPrivate ? "hs://s000\(KeyText.zBase32(seed))" : nil
          let flag = udp ? "--udp " : mux ? "--mux " : ""
          let instruction =
            secret.map { Secret.instruction("forward \(flag)--ask PORT", "key", $0) }
            ?? "hyperswarm forward \(flag)PORT \(pair.publicKey.hex)"
          Console.event(
            "exposed", "\(target): \(instruction)",
            [
              ("target", .string("\(target)")), ("publicKey", .string(pair.publicKey.hex)),
              ("private", secret.map { .string($0) } ?? .null),
            ])
          group.addTask { await Expose.serve(server, service, places) }
        }
      }
    }
  }

  /// How the connections to one target are served.
  private enum Service: Sendable {
    case streams(LocalAddress, isMux: Bool)
    case packets(SocketBytes)
  }

  private func service(at target: LocalAddress) async throws -> Service {
    guard udp else { return .streams(target, isMux: mux) }
    do { return .packets(try await target.packetAddress()) } catch {
      throw Failure("cannot reach \(target): \(error)", code: "ADDRESS")
    }
  }

  private static func serve(_ server: HyperDHT.Server, _ service: Service, _ places: Places) async {
    await withDiscardingTaskGroup { group in
      for await connection in server.connections {
        guard let place = places.enter(connection) else {
          connection.destroy()
          continue
        }
        group.addTask {
          defer { places.leave(place) }
          let peer = connection.remotePublicKey
          switch service {
          case .packets(let target): await PacketService.serve(connection, target, places, place)
          case .streams(let target, isMux: false): await join(PlainStream(connection), peer, target, place)
          case .streams(let target, isMux: true): await serveMux(connection, target, places, place)
          }
        }
      }
    }
  }

  private static func serveMux(
    _ connection: HyperDHT.Connection, _ target: LocalAddress, _ places: Places, _ place: Places.Place
  ) async {
    let key = connection.remotePublicKey
    switch await TunnelOffer.channels.beginning(of: connection, within: TunnelLimits.beginning) {
    case .asked:
      let group = place.group
      await MuxLink.serve(connection) { channel in
        guard let own = places.enter(group, hasShown: { true }, giveWay: { channel.destroy() }) else {
          return channel.destroy()
        }
        defer { places.leave(own) }
        // The connection is as busy as its channels.
        await join(channel, key, target, own, place)
      }
    case .message(let first): await join(PlainStream(connection), key, target, place, first: first ?? [])
    case .silent: await join(PlainStream(connection), key, target, place)
    case .failed: connection.destroy()
    }
  }

  private static func join(
    _ stream: any TunnelStream, _ peer: Bytes32, _ target: LocalAddress, _ places: Places.Place..., first: [UInt8] = []
  ) async {
    do {
      let socket = try await target.connect()
      await TunnelPipe.join(socket, stream, first: first, places: places)
    } catch {
      stream.destroy()
      Console.note(
        "failed", ofOne: .failed, "\(peer.hex.prefix(8)): cannot connect to \(target): \(error)",
        [("publicKey", .string(peer.hex)), ("target", .string("\(target)")), ("message", .string("\(error)"))])
    }
  }
}
