import ArgumentParser
import HyperDHT
import Hyperswarm

struct Listen: Command {
  static let configuration = CommandConfiguration(
    abstract: "Wait for one connection and join it with standard input and output.",
    discussion: """
      The key to connect to is printed on standard error. Further callers are refused while the connection lasts.

      \(PipeOptions.rules)
      """)

  @OptionGroup var common: CommonOptions
  @OptionGroup var identity: IdentityOptions
  @OptionGroup var relay: RelayOptions
  @OptionGroup var pipe: PipeOptions

  func execute() async throws {
    Console.outputIsData = true
    let keyPair = identity.keyPair
    let pipe = pipe
    let dht = try await enterNetwork(common, keyPair: keyPair, entirely: true)
    var options = HyperDHT.ServerOptions()
    options.relayThrough = relay.choice
    options.allowsHolepunching = !relay.noPunch
    options.shareLocalAddress = !relay.noPunch
    try await using(dht, until: Interrupt()) { [options] in
      let server = try await dht.listen(keyPair: keyPair, options: options)
      Console.note(
        "listening", "listening as \(server.publicKey.hex)", [("publicKey", .string(server.publicKey.hex))])
      var first: HyperDHT.Connection?
      for await connection in server.connections {
        first = connection
        break
      }
      guard let first else { return }
      // The server stays: the peer may need it to find a way back after a move.
      await server.setBusy(true)
      let refusing = Task {
        for await connection in server.connections { connection.destroy() }
      }
      defer { refusing.cancel() }
      try await carry(first, pipe)
    }
  }
}

struct Connect: Command {
  static let configuration = CommandConfiguration(
    abstract: "Connect to a key and join the connection with standard input and output.",
    discussion: PipeOptions.rules)

  @OptionGroup var common: CommonOptions
  @OptionGroup var identity: IdentityOptions
  @OptionGroup var relay: RelayOptions
  @OptionGroup var pipe: PipeOptions
  @Argument(help: "Public key: 64 hexadecimal digits or 52 z-base-32 characters.")
  var key: KeyArgument

  func execute() async throws {
    Console.outputIsData = true
    let dht = try await enterNetwork(common, keyPair: identity.keyPair)
    let key = key.key
    let pipe = pipe
    var options = HyperDHT.ConnectOptions()
    options.relayThrough = relay.choice
    options.allowsHolepunching = !relay.noPunch
    try await using(dht, until: Interrupt()) { [options] in
      let connection = try await telling(
        "connecting to \(key.hex): no answer yet", [("publicKey", .string(key.hex))]
      ) { try await dht.connect(to: key, options: options) }
      try await carry(connection, pipe)
    }
  }
}

private func carry(_ connection: HyperDHT.Connection, _ options: PipeOptions) async throws {
  Console.note(
    "connection", "connected with \(connection.remotePublicKey.hex)",
    [("remotePublicKey", .string(connection.remotePublicKey.hex))])
  try await Pipe(connection, options).run()
}
