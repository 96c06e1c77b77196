import HyperCrypto
import HyperDHTEngine
import HyperEncoding
import HyperRPC
import HyperRuntime
import HyperSecretStream

#if Logging
  import Logging
#endif

extension HyperDHT {
  /// How to make a node.
  public struct Options: Sendable {
    /// Where to enter the network, each as `host:port`, `name:port`, `address@name:port` (the name is looked up only if
    /// no node answers), or a port on 127.0.0.1. `nil` is the public network, an empty list makes an isolated node.
    /// Here, in `nodes` and in `knownAddress` port 0 and what is not the address of one host, such as 0.0.0.0, make
    /// `init` throw `invalidAddress`.
    public var bootstrap: [String]?
    /// Nodes that are known to be there: put into the routing table at the start, the first one as the one heard
    /// latest.
    public var nodes: [Endpoint] = []
    /// Port for incoming traffic, 49737 by default; 0 is any. If it is taken, making the node fails, unless `anyPort`:
    /// then the next four are tried, then any.
    public var port: UInt16 = DHTOptions.defaultPort
    /// Whether another port will do when `port` is taken.
    public var anyPort = true
    /// Address to bind to. IPv4, as all addresses on the wire of the network are; the transport alone, HyperUDX, has
    /// IPv6, too.
    public var host: IPv4Address = .any
    /// Identity of connections and servers that are given none; `nil` draws a fresh one.
    public var keyPair: KeyPair?
    /// How long a connection writes nothing before it sends an empty message, 5 seconds by default; zero is off.
    /// Rounded up to milliseconds. As `Connection.setKeepAlive`.
    public var connectionKeepAlive = Duration(milliseconds: HyperDHTEngine.Limits.connectionKeepAlive)
    /// Bytes of one message that peers may send at most, 0 to `Connection.maximumMessageSize`, the default; a larger
    /// one ends the connection, with the code `FRAME_TOO_LARGE`, as soon as its length arrives. A message takes memory
    /// as it arrives: peers that have said nothing yet share 64 MiB, every other one may take this much. What this side
    /// writes is not bounded by it.
    public var maximumMessageSize = Connection.maximumMessageSize
    /// `false` makes a permanent node at once, `true` never, `nil` once it has proved reachable for a while.
    public var isEphemeral: Bool?
    /// Few wake-ups and bytes while the program asks nothing of the node, for devices with a battery. The article
    /// "Operating a node" has the numbers and what takes longer for it. The node is ephemeral then, whatever
    /// `isEphemeral` says.
    public var isLowPower = false
    /// `false` takes the node to be reachable from the start: for servers with a public address.
    public var isFirewalled = true
    /// The node's public address where there is no node to ask: the first node of a network. Counts as one observation
    /// of the address, beside those of other nodes.
    public var knownAddress: Endpoint?
    /// Time from the end of a hole punch that needs many sockets or ports to the next one into the same network (/24),
    /// 20 seconds by default. Rounded up to milliseconds.
    public var randomPunchInterval = Duration(milliseconds: HyperDHTEngine.Limits.Punch.randomPunchInterval)
    /// Whether the first such interval begins with the node, and with each `resume`, instead of the first punch.
    public var defersRandomPunches = false
    /// `false` connects as deployed peers do, which echo no tokens: for measurements of what they get.
    package var showsTokens = true
    /// The loop to live on, which has to run until the node is destroyed; `nil` is a thread of its own.
    public var loop: UVEventLoop?
    /// Path of a file for a trace of the transport (qlog, JSON text sequences); created or emptied. About 250 bytes per
    /// packet: for analysis, not for production.
    public var qlogPath: String?
    #if Logging
      /// Gets lines about the node, with metadata under the keys of `LogKey`. `nil` is silent. Trait `Logging`.
      public var logger: Logger?
    #endif

    /// A node that begins as an ephemeral member of the network.
    public init(bootstrap: [String]? = nil, port: UInt16 = 49_737, host: IPv4Address = .any, keyPair: KeyPair? = nil) {
      self.bootstrap = bootstrap
      self.port = port
      self.host = host
      self.keyPair = keyPair
    }

    /// A node that is the first of its network, reachable under `host`, which is bound to, and `port`. Making the node
    /// fails with `invalidAddress` where these are 0.0.0.0 or 0, under which no other one finds it, and with
    /// `bindFailed` when the port is taken.
    public static func bootstrapper(host: IPv4Address, port: UInt16) -> Options {
      var options = Options(bootstrap: [], port: port, host: host)
      options.anyPort = false
      options.isEphemeral = false
      options.isFirewalled = false
      options.knownAddress = Endpoint(host: host, port: port)
      return options
    }
  }

  /// How to connect to one peer.
  public struct ConnectOptions: Sendable {
    /// Our identity; `nil` is the node's.
    public var keyPair: KeyPair?
    /// Nodes that are known to route to the peer, tried first: the first 16 count.
    public var relayAddresses: [Endpoint] = []
    /// Tell the peer our local addresses, and try its local ones.
    public var localConnection = true
    /// A relay to go over until, and unless, there is a direct path. `nil`, and a server that names none, is no relay:
    /// then two peers behind port-randomising NATs cannot connect.
    public var relayThrough: RelayChoice?
    /// `false`: neither punch holes nor try the local network. What is left are servers with a public address, and
    /// relays.
    public var allowsHolepunching = true
    /// Asked, on the loop, before holes are punched: return at once. `false` gives that way up. `nil` punches. Held
    /// until the dial has ended.
    public var holepunch: (@Sendable (Holepunch) -> Bool)?
    /// Opens our NAT towards the server with one short-lived packet before asking it to do the same.
    public var fastOpen = true
    /// Use the relay that the server names in its answer: its choice wins over `relayThrough`.
    public var usesServerRelay = true
    /// How long nothing is sent to a relay before an empty message is, 5 seconds by default; zero is off. Rounded up to
    /// milliseconds.
    public var relayKeepAlive = Duration(milliseconds: HyperDHTEngine.Limits.Relay.keepAlive)
    /// Keeps the direct path and its socket for later connections with the same peer, if the server wants that, too:
    /// the next one starts there at once, without a look-up and hole punching, up to three seconds after the last one
    /// on it has ended. A connection that begins over a relay leaves one once it has moved to a direct path. Where the
    /// peer is silent there, the usual search follows after two seconds.
    public var reusableSocket = false
    /// Makes the handshake of the dial, on the loop, each time that one begins: return at once. `nil`, as a closure and
    /// as its result, is the network's own. An error fails the dial: that error, if it is a `DHTError`, else
    /// `handshakeInvalid`.
    public var handshake: (@Sendable (HandshakeParties) throws -> (any Handshake)?)?
    /// Over a relay, which the server or `relayThrough` names, or not at all.
    package var relayOnly = false
    /// Time for the whole dial, after which it fails with `connectTimeout`; `nil`, and zero, is none: then the steps of
    /// a dial have their own times. Rounded up to milliseconds.
    public var deadline: Duration?

    /// The usual way to connect.
    public init() {}
  }

  /// Which blind relay to use: the public key of a `RelayServer`, one's own or another's. It sees addresses and
  /// volumes, not content.
  public enum RelayChoice: Sendable {
    /// The relay with this public key.
    case key(Bytes32)
    /// One of the first 64 is drawn per connection; an empty list is none.
    case oneOf([Bytes32])
    /// Asked once per connection, on the loop: return at once. `nil` is none.
    case choose(@Sendable () -> Bytes32?)
  }

  /// The peer that asks to connect.
  public struct IncomingPeer: Hashable, Sendable {
    /// Proved only when the connection stands; until then a replay of an old attempt is possible.
    public var publicKey: Bytes32
    /// Where the handshake came from, as the node between us says where there is one.
    public var address: Endpoint
    /// What the peer says of its NAT in its handshake: nothing of it has been checked.
    public var nat = NATKind.unknown
    /// The addresses that the peer names as its own, at most 8: those on its network, after the public one if it knows
    /// itself to be reachable there.
    public var localAddresses: [Endpoint] = []
    /// The key of the relay that the peer wants to come over.
    public var relayThrough: Bytes32?
  }

  /// How to listen.
  public struct ServerOptions: Sendable {
    /// Decides whether a peer may connect: `true` lets it in; a peer that is not let in gets no answer at all. `nil`
    /// lets every peer in. Called as a task on the loop, which it must not block, for each handshake. A decision that
    /// takes longer than `handshakeMemory` is a no, and its task is cancelled; where 256 wait, a further one makes the
    /// oldest of the host that has most a no, too. Held until the server is closed and let go of.
    public var firewall: (@Sendable (IncomingPeer) async -> Bool)?
    /// Tell clients our local addresses.
    public var shareLocalAddress = true
    /// `false`: only peers that need no hole punching, or come over a relay, get through.
    public var allowsHolepunching = true
    /// Asked, on the loop, before holes are punched: return at once. `false` gives that way up. `nil` punches. Not
    /// asked where `allowsHolepunching` is off.
    public var holepunch: (@Sendable (Holepunch) -> Bool)?
    /// A relay that clients without a direct path are told to come over. Wins over the client's own choice.
    public var relayThrough: RelayChoice?
    /// Whether to use the relay with this key, named by a client; asked on the loop: return at once. `nil` takes any.
    /// In either case 32 of the node's at a time may wait for their peers.
    public var acceptsRelay: (@Sendable (Bytes32) -> Bool)?
    /// How long nothing is sent to a relay before an empty message is, 5 seconds by default; zero is off. Rounded up to
    /// milliseconds.
    public var relayKeepAlive = Duration(milliseconds: HyperDHTEngine.Limits.Relay.keepAlive)
    /// How long a handshake that has ended is remembered, so that a copy of it is not answered again, 10 seconds by
    /// default; the firewall's answer has to come within it. Rounded up to milliseconds.
    public var handshakeMemory = Duration(milliseconds: HyperDHTEngine.Limits.Server.handshakeClearWait)
    /// Keeps the direct path to a client that wants that, too, with its socket: as
    /// `ConnectOptions.reusableSocket` says, which both sides have to set.
    public var reusableSocket = false
    /// Makes the handshake with a client, on the loop, for each first message: return at once, strangers cause it.
    /// `nil`, as a closure and as its result, is the network's own. A client whose handshake fails gets no answer.
    public var handshake: (@Sendable (HandshakeParties) throws -> (any Handshake)?)?
    /// `false` announces nothing: for a server that takes what another one under the same key hands over, as
    /// `Server.share(with:)` says.
    public var isAnnounced = true
    /// Clients come over a relay, which they or `relayThrough` name, or not at all.
    package var relayOnly = false
    /// As `Options.connectionKeepAlive`, for the connections of this server; `nil` is the node's value.
    public var connectionKeepAlive: Duration?
    /// Where the connections belong, of a node on the same loop: `connections` then has those that the pool keeps.
    /// `listen` fails with `other` for a pool on another loop.
    public var pool: ConnectionPool?

    /// A server that admits every peer.
    public init() {}
  }
}

extension DHTOptions {
  /// In a box because closures of the engine's options are not `Sendable`; nothing else holds this value.
  fileprivate static func make(_ options: HyperDHT.Options) throws(DHTError) -> DHTOptions {
    var result = DHTOptions(bootstrap: nil, host: options.host, port: options.port)
    if let texts = options.bootstrap {
      var nodes: [BootstrapNode] = []
      for text in texts {
        guard let node = BootstrapNode(text) else { throw .invalidAddress }
        nodes.append(node)
      }
      result.bootstrap = nodes
    }
    guard (options.nodes + [options.knownAddress].compactMap { $0 }).allSatisfy(\.isUsable) else {
      throw .invalidAddress
    }
    result.nodes = options.nodes
    result.anyPort = options.anyPort
    result.keyPair = options.keyPair
    result.connectionKeepAlive = options.connectionKeepAlive.wholeMilliseconds
    result.maximumMessage = min(max(options.maximumMessageSize, 0), HyperDHT.Connection.maximumMessageSize)
    result.ephemeral = options.isEphemeral
    result.isLowPower = options.isLowPower
    result.firewalled = options.isFirewalled
    result.knownAddress = options.knownAddress
    result.randomPunchInterval = options.randomPunchInterval.wholeMilliseconds
    result.deferRandomPunch = options.defersRandomPunches
    result.showsTokens = options.showsTokens
    return result
  }
}

extension LoopBound where Value == DHTOptions {
  package init(_ options: HyperDHT.Options) throws(DHTError) { self.init(try DHTOptions.make(options)) }
}

extension ConnectOptions {
  package init(_ options: HyperDHT.ConnectOptions) {
    self.init()
    keyPair = options.keyPair
    relayAddresses = options.relayAddresses
    localConnection = options.localConnection && options.allowsHolepunching && !options.relayOnly
    holepunch = holepunchHook(isAllowed: options.allowsHolepunching, options.holepunch)
    fastOpen = options.fastOpen
    followsServerRelay = options.usesServerRelay
    relayKeepAlive = options.relayKeepAlive.wholeMilliseconds
    relayOnly = options.relayOnly
    reusableSocket = options.reusableSocket
    handshake = handshakeHook(options.handshake)
    relayThrough = options.relayThrough.map(RelayChoice.init)
    deadline = options.deadline?.wholeMilliseconds ?? 0
  }
}

extension RelayChoice {
  init(_ choice: HyperDHT.RelayChoice) {
    switch choice {
    case .key(let key): self = .keys([key])
    case .oneOf(let keys): self = .keys(keys)
    case .choose(let choose): self = .choose(choose)
    }
  }
}
