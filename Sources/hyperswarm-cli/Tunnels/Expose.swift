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

      Peers need the key only, unless --allow names them, or --private gives the seed to those that may connect.
      """)

  @OptionGroup var common: CommonOptions
  @OptionGroup var identity: IdentityOptions
  @OptionGroup var relay: RelayOptions
  @Option(help: ArgumentHelp("Let only this key in; several are possible.", valueName: "key"))
  var allow: [KeyArgument] = []
  @Flag(help: "Let in only those that have the printed seed; the network does not learn it.")
  var `private` = false
  @Argument(help: ArgumentHelp("Services of this machine.", valueName: "target"))
  var targets: [String]

  func validate() throws {
    if self.private, !allow.isEmpty { throw ValidationError("--private and --allow exclude each other") }
    if targets.count > TunnelLimits.targets { throw ValidationError("at most \(TunnelLimits.targets) targets") }
    for target in targets where LocalAddress(target) == nil {
      throw ValidationError("'\(target)' is no port, host:port or path of a socket")
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
    var options = HyperDHT.ServerOptions()
    options.relayThrough = relay.choice
    options.allowsHolepunching = !relay.noPunch
    options.shareLocalAddress = !relay.noPunch
    let allowed = Set(allow.map(\.key))
    let isPrivate = self.private
    try await using(dht, until: Interrupt()) { [options] in
      let counter = ConnectionCounter()
      try await withThrowingDiscardingTaskGroup { group in
        for (target, seed) in services {
          let pair = HyperDHT.keyPair(seed: seed)
          var options = options
          let admitted = isPrivate ? [pair.publicKey] : allowed
          if !admitted.isEmpty { options.firewall = { admitted.contains($0.publicKey) } }
          let server = try await dht.listen(keyPair: pair, options: options)
          let secret = isPrivate ? "hs://s000\(KeyText.zBase32(seed))" : nil
          Console.event(
            "exposed", "\(target): hyperswarm forward PORT \(secret ?? pair.publicKey.hex)",
            [
              ("target", .string("\(target)")), ("publicKey", .string(pair.publicKey.hex)),
              ("private", secret.map { .string($0) } ?? .null),
            ])
          group.addTask { await Expose.serve(server, target, counter) }
        }
      }
    }
  }

  private static func serve(_ server: HyperDHT.Server, _ target: LocalAddress, _ counter: ConnectionCounter) async {
    await withDiscardingTaskGroup { group in
      for await connection in server.connections {
        guard counter.enter() else {
          connection.destroy()
          continue
        }
        group.addTask {
          defer { counter.leave() }
          let key = connection.remotePublicKey.hex
          do {
            let socket = try await target.connect()
            await TunnelPipe.join(socket, connection)
          } catch {
            connection.destroy()
            Console.note(
              "failed", "\(key.prefix(8)): cannot connect to \(target): \(error)",
              [("publicKey", .string(key)), ("target", .string("\(target)")), ("message", .string("\(error)"))])
          }
        }
      }
    }
  }
}
