import Foundation
import Hyperswarm
import Logging
import NIOCore
import NIOHTTP1
import NIOPosix
import ServiceLifecycle

// A swarm inside a server: `SERVICE_EXAMPLE=1 swift run Service "a topic" 8080`. The swarm greets each peer of the
// topic, swift-nio answers GET /peers and GET /metrics (text for Prometheus), and swift-service-lifecycle ends all on
// SIGTERM or Ctrl-C: announcements are withdrawn first.

/// Greets each peer, and logs what it says.
struct Greeter: Service {
  let swarm: Hyperswarm
  let logger: Logger

  func run() async throws {
    try await cancelWhenGracefulShutdown {
      await withDiscardingTaskGroup { group in
        for await connection in swarm.connections {
          group.addTask { await greet(connection) }
        }
      }
    }
  }

  private func greet(_ connection: HyperDHT.Connection) async {
    let peer: Logger.Metadata = [HyperDHT.LogKey.peer: "\(connection.remotePublicKey.hex)"]
    do {
      try await connection.write("hello from a service")
      for try await message in connection.inbound {
        logger.info("message: \(String(decoding: message, as: UTF8.self))", metadata: peer)
      }
    } catch {
      logger.info("gone: \(error)", metadata: peer)
    }
  }
}

/// Answers questions about the swarm over HTTP, on loopback.
struct Web: Service {
  typealias Client = NIOAsyncChannel<HTTPServerRequestPart, HTTPServerResponsePart>
  let swarm: Hyperswarm
  let port: Int
  let logger: Logger

  func run() async throws {
    let server = try await ServerBootstrap(group: .singletonMultiThreadedEventLoopGroup)
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .bind(host: "127.0.0.1", port: port) { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.configureHTTPServerPipeline()
          return try Client(wrappingChannelSynchronously: channel)
        }
      }
    logger.info("http: port \(server.channel.localAddress?.port ?? 0)")
    do {
      try await cancelWhenGracefulShutdown {
        try await server.executeThenClose { clients in
          try await withThrowingDiscardingTaskGroup { group in
            for try await client in clients {
              // A client that breaks off is no error of the server.
              group.addTask { try? await serve(client) }
            }
          }
        }
      }
    } catch is CancellationError {}  // How a shutdown ends the wait for clients.
  }

  /// One request of a client; then the connection is closed.
  private func serve(_ client: Client) async throws {
    try await client.executeThenClose { inbound, outbound in
      for try await part in inbound {
        guard case .head(let request) = part else { continue }
        let text = await answer(request.uri)
        let headers: HTTPHeaders = [
          "content-type": "text/plain; version=0.0.4", "content-length": "\((text ?? "").utf8.count)",
          "connection": "close",
        ]
        let head = HTTPResponseHead(version: .http1_1, status: text == nil ? .notFound : .ok, headers: headers)
        try await outbound.write(.head(head))
        try await outbound.write(.body(.byteBuffer(ByteBuffer(string: text ?? ""))))
        try await outbound.write(.end(nil))
        return
      }
    }
  }

  private func answer(_ path: String) async -> String? {
    switch path {
    case "/metrics": await swarm.metrics()
    case "/peers": swarm.openConnections.map { "\($0.remotePublicKey.hex)\n" }.sorted().joined()
    default: nil
    }
  }
}

let arguments = CommandLine.arguments
guard arguments.count == 3, let port = Int(arguments[2]) else {
  print("usage: Service TOPIC PORT")
  exit(64)
}
var logger = Logger(label: "service")
logger.logLevel = .debug

var options = Hyperswarm.Options(bootstrap: ProcessInfo.processInfo.environment["HYPERSWARM_BOOTSTRAP"].map { [$0] })
options.logger = logger
let swarm = try await Hyperswarm(options)
try await swarm.join(Hyperswarm.topic(arguments[1]))

// The last one is shut down first: nothing uses the swarm when its turn comes.
let group = ServiceGroup(
  services: [swarm, Greeter(swarm: swarm, logger: logger), Web(swarm: swarm, port: port, logger: logger)],
  gracefulShutdownSignals: [.sigterm, .sigint], logger: logger)
try await group.run()
print("ended")
