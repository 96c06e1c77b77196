import ArgumentParser
import HyperDHT
import Hyperswarm

struct Listen: Command {
  static let configuration = CommandConfiguration(
    abstract: "Wait for one connection and join it with standard input and output, or with a command.",
    discussion: """
      The key to connect to is printed on standard error. While a connection lasts, further callers are told that the \
      server is busy. With --many connections are taken until Ctrl-C: with --exec each gets a command of its own, with \
      --recv-only they are written to standard output in turn.

      \(PipeOptions.rules)

      \(ChildCommand.rules)
      """)

  static let outputIsData = true

  @OptionGroup var common: CommonOptions
  @OptionGroup var identity: IdentityOptions
  @OptionGroup var relay: RelayOptions
  @OptionGroup var access: AccessOptions
  @OptionGroup var pipe: PipeOptions
  @Option(help: ArgumentHelp("Join the connection with this command instead.", valueName: "command"))
  var exec: String?
  @Flag(help: "Go on after a connection.")
  var many = false
  @Option(help: "Connections at a time, with --many and --exec; 64 if not given.")
  var limit: Int?

  private static let usualLimit = 64

  func validate() throws {
    if exec != nil, pipe.isGiven {
      throw ValidationError("--exec leaves nothing to --recv-only, --send-only and --keep-open")
    }
    if many, exec == nil, !pipe.recvOnly {
      throw ValidationError("--many needs --exec or --recv-only: standard input can be sent once only")
    }
    if exec?.isEmpty == true { throw ValidationError("--exec has no command") }
    if limit != nil, !many || exec == nil { throw ValidationError("--limit is for --many with --exec") }
    guard (1...10_000).contains(limit ?? 1) else { throw ValidationError("--limit is 1 to 10000") }
  }

  /// At a time.
  private var callers: Int {
    guard many, exec != nil else { return 1 }
    return OpenFiles.room(for: limit ?? Listen.usualLimit, each: ChildCommand.files, isInherited: true)
  }

  func execute() async throws {
    var options = relay.listening
    options.firewall = try access.keys().map(AccessOptions.firewall)
    let listener = Listener(
      keyPair: identity.keyPair, options: options, limit: callers, isEndless: many)
    let dht = try await enterNetwork(common, keyPair: listener.keyPair, entirely: true)
    let (pipe, exec) = (pipe, exec)
    try await using(dht, until: Interrupt()) {
      try await listener.run(on: dht) { server in
        Console.note(
          "listening", "listening as \(server.publicKey.hex)", [("publicKey", .string(server.publicKey.hex))])
      } _: { connection in
        try await introducing(connection) {
          if let exec {
            try await ChildCommand(command: exec).serve(connection)
          } else {
            try await Pipe(connection, pipe).run()
          }
        }
      }
    }
  }
}

struct Connect: Command {
  static let configuration = CommandConfiguration(
    abstract: "Connect to a key and join the connection with standard input and output.",
    discussion: PipeOptions.rules)

  static let outputIsData = true

  @OptionGroup var common: CommonOptions
  @OptionGroup var identity: IdentityOptions
  @OptionGroup var relay: RelayOptions
  @OptionGroup var pipe: PipeOptions
  @OptionGroup var trace: TraceOptions
  @Argument(help: "Public key: 64 hexadecimal digits or 52 z-base-32 characters.")
  var key: KeyArgument

  func execute() async throws {
    let dht = try await enterNetwork(common, keyPair: identity.keyPair)
    let (key, pipe, options, trace) = (key.key, pipe, relay.connecting, trace.start())
    try await using(dht, until: Interrupt()) {
      let connection = try await dialling(key, on: dht, options, trace)
      try await introducing(connection) { try await Pipe(connection, pipe).run() }
    }
  }
}

/// Connects, and says so when it takes long.
func dialling(
  _ key: Bytes32, on dht: HyperDHT, _ options: HyperDHT.ConnectOptions, _ trace: Trace? = nil
) async throws -> HyperDHT.Connection {
  do {
    return try await telling("connecting to \(key.hex): no answer yet", [("publicKey", .string(key.hex))]) {
      if let trace { return try await trace.connect(to: key, on: dht, options) }
      return try await dht.connect(to: key, options: options)
    }
  } catch let error as DHTError {
    guard case .cannotHolepunch = error, options.relayOnly, options.relayThrough == nil else { throw error }
    throw Failure("neither --relay nor the peer names a relay, and --relay-only leaves no other way", code: "NO_RELAY")
  }
}

/// Says with which peer the connection is and which way it takes, then and whenever that changes.
func introducing(_ connection: HyperDHT.Connection, _ body: () async throws -> Void) async throws {
  let path = await PathDescription(connection)
  Console.note(
    "connection", ofOne: .connected, "connected with \(connection.remotePublicKey.hex), \(path.text)",
    [("remotePublicKey", .string(connection.remotePublicKey.hex))] + path.fields)
  let following = Task { await PathDescription.follow(connection) }
  defer { following.cancel() }
  try await body()
}
