import ArgumentParser
import HyperDHT
import Hyperswarm

struct Listen: Command {
  static let configuration = CommandConfiguration(
    abstract: "Wait for one connection and join it with standard input and output.",
    discussion: "The key to connect to is printed on standard error.")

  @OptionGroup var common: CommonOptions
  @OptionGroup var identity: IdentityOptions
  @OptionGroup var relay: RelayOptions

  func execute() async throws {
    let keyPair = identity.keyPair
    let dht = try await enterNetwork(common, keyPair: keyPair, entirely: true)
    try await using(dht) {
      var options = HyperDHT.ServerOptions()
      options.relayThrough = relay.choice
      options.allowsHolepunching = !relay.noPunch
      options.shareLocalAddress = !relay.noPunch
      let server = try await dht.listen(keyPair: keyPair, options: options)
      let interrupt = Interrupt()
      Console.note(
        "listening", "listening as \(server.publicKey.hex)", [("publicKey", .string(server.publicKey.hex))])
      let first = try await firstConnection(of: server, or: interrupt)
      if let connection = first {
        Console.note(
          "connection", "connected with \(connection.remotePublicKey.hex)",
          [("remotePublicKey", .string(connection.remotePublicKey.hex))])
        try await pipe(connection)
      }
      await server.close()
    }
  }

  /// `nil` when interrupted.
  private func firstConnection(
    of server: HyperDHT.Server, or interrupt: Interrupt
  ) async throws -> HyperDHT.Connection? {
    await withTaskGroup(of: HyperDHT.Connection?.self) { group in
      group.addTask {
        for await connection in server.connections { return connection }
        return nil
      }
      group.addTask {
        await interrupt.wait()
        return nil
      }
      let first = await group.next() ?? nil
      group.cancelAll()
      return first
    }
  }
}

struct Connect: Command {
  static let configuration = CommandConfiguration(
    abstract: "Connect to a key and join the connection with standard input and output.")

  @OptionGroup var common: CommonOptions
  @OptionGroup var identity: IdentityOptions
  @OptionGroup var relay: RelayOptions
  @Argument(help: "Public key: 64 hexadecimal digits or 52 z-base-32 characters.")
  var key: KeyArgument

  func execute() async throws {
    let dht = try await enterNetwork(common, keyPair: identity.keyPair)
    try await using(dht) {
      var options = HyperDHT.ConnectOptions()
      options.relayThrough = relay.choice
      options.allowsHolepunching = !relay.noPunch
      let connection = try await dht.connect(to: key.key, options: options)
      Console.note(
        "connection", "connected with \(connection.remotePublicKey.hex)",
        [("remotePublicKey", .string(connection.remotePublicKey.hex))])
      try await pipe(connection)
    }
  }
}

/// Standard input to the connection and the connection to standard output, until both directions have ended.
private func pipe(_ connection: HyperDHT.Connection) async throws {
  let sender = Task {
    while let chunk = await StandardStreams.read() {
      guard (try? await connection.write(chunk)) != nil else { return }
    }
    connection.end()
  }
  for try await message in connection.inbound {
    guard await StandardStreams.write(message) else {
      connection.destroy()
      throw Failure("standard output is closed", code: "EPIPE")
    }
  }
  // The peer has said all; we may still have something to say.
  if let error = try await connection.waitUntilClosed() { throw error }
  sender.cancel()
}
