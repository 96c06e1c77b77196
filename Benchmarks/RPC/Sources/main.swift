// What a DHT node pays for an answer, from the received datagram to the encoded one, without sockets.
//
//   swift run -c release hyperswarm-benchmark-rpc [requests per round]
//   swift run -c release hyperswarm-benchmark-rpc serve PORT      a node on 127.0.0.1 for Benchmarks/RPC/run
//
// A node with 250 others in its table answers requests with targets that change. Median of five interleaved rounds, in
// nanoseconds of CPU time per answer. Under `valgrind --tool=callgrind` the same program gives instructions.
import HyperEncoding
import HyperEnvironment
import HyperRPC
import HyperRuntime
import HyperUDX

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// Takes answers and counts them.
final class SinkSocket: DatagramSocket {
  var onMessage: ((UnsafeRawBufferPointer, Endpoint) -> Void)?
  var onRebind: (() -> Void)?
  var onIdle: (() -> Void)?
  private(set) var localEndpoint: Endpoint?
  private(set) var bytesSent = 0
  private(set) var isClosed = false
  let streamCount = 0

  func bind(host: IPv4Address, port: UInt16) { localEndpoint = Endpoint(host: host, port: port == 0 ? 49_737 : port) }
  func send(_ bytes: [UInt8], to destination: Endpoint, ttl: UInt8) { bytesSent += bytes.count }
  func send(_ bytes: UnsafeRawBufferPointer, to destination: Endpoint, ttl: UInt8) { bytesSent += bytes.count }
  func close(_ completion: (() -> Void)?) { isClosed = true }
}

final class SinkEnvironment: Environment {
  private var state: UInt64 = 1
  private(set) lazy var sharedTicks = SharedTicks(self)
  let now: UInt64 = 1_000_000_000
  let wallClock: UInt64 = 1_000_000
  private final class Never: ScheduledAction { func cancel() {} }

  func draw() -> UInt64 {
    state ^= state << 13
    state ^= state >> 7
    state ^= state << 17
    return state
  }
  func schedule(after milliseconds: UInt64, _ action: @escaping () -> Void) -> any ScheduledAction { Never() }
  func `defer`(_ action: @escaping () -> Void) {}
  func randomBytes(_ bytes: UnsafeMutableRawBufferPointer) {
    for index in bytes.indices { bytes[index] = UInt8(truncatingIfNeeded: draw() >> 11) }
  }
  func resolve(_ name: String, _ completion: @escaping ([IPv4Address]) -> Void) { completion([]) }
  func makeSocket() -> any DatagramSocket { SinkSocket() }
  func makeStream(localID: UInt32) -> any TransportStream { preconditionFailure("no streams here") }
  func interfaces() -> [InterfaceAddress] { [] }
  func watchInterfaces(
    every milliseconds: UInt64, _ onChange: @escaping ([InterfaceAddress]) -> Void
  ) -> any ScheduledAction { Never() }
}

func nanoseconds() -> UInt64 {
  var time = timespec()
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
  return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}

/// A node with real sockets and 250 others in its table, none of which is there.
func serve(port: UInt16) throws {
  let loop = try UVEventLoop.startThread()
  loop.post {
    do {
      var configuration = RPCConfiguration(bootstrap: [], port: PortRange(port), host: .loopback)
      configuration.ephemeral = false
      configuration.firewalled = false
      configuration.nodes = (0..<400).map { index in
        Endpoint(host: .loopback, port: 30_000 &+ UInt16(truncatingIfNeeded: index &* 37))
      }
      let node = RPCNode(environment: try UVEnvironment(loop: loop), configuration: configuration)
      try node.bind()
      _ = Unmanaged.passRetained(node)  // until the program is ended
    } catch {
      fatalError("\(error)")
    }
  }
  while true { sleep(1_000) }
}
if CommandLine.arguments.count > 2, CommandLine.arguments[1] == "serve" {
  try serve(port: UInt16(CommandLine.arguments[2]) ?? 20_000)
}

let environment = SinkEnvironment()
var configuration = RPCConfiguration()
configuration.ephemeral = false
configuration.firewalled = false
configuration.nodes = (0..<400).map { _ in
  let word = environment.draw()
  return Endpoint(host: IPv4Address(value: UInt32(truncatingIfNeeded: word) & 0x7fff_ffff | 0x2000_0000), port: 49_737)
}
let node = RPCNode(environment: environment, configuration: configuration)
try node.bind()
node.onRequest = { request in
  request.reply(nil)
  return true
}

let count = CommandLine.arguments.count > 1 ? Int(CommandLine.arguments[1]) ?? 100_000 : 100_000
let source = Endpoint(host: .loopback, port: 12_345)
// Version and type, flags, transaction id, our address as the sender knows it; then the command and the target.
let header: [UInt8] = [1, 0, 127, 0, 0, 1, 0x49, 0xc2]
let requests: [(name: String, bytes: [UInt8])] = [
  ("PING", [0x03, 0x04] + header + [0]),
  ("FIND_NODE", [0x03, 0x0c] + header + [2] + [UInt8](repeating: 0, count: 32)),
  ("LOOKUP", [0x03, 0x08] + header + [3] + [UInt8](repeating: 0, count: 32)),
]
var times = [[UInt64]](repeating: [], count: requests.count)
guard let socket = node.socket as? SinkSocket else { fatalError("no socket") }
for _ in 0..<5 {
  for (index, request) in requests.enumerated() {
    var bytes = request.bytes
    let start = nanoseconds()
    for _ in 0..<count {
      bytes.withUnsafeMutableBytes { bytes in
        if bytes.count > 32 {
          bytes.storeBytes(of: environment.draw(), toByteOffset: bytes.count - 32, as: UInt64.self)
        }
        node.receive(UnsafeRawBufferPointer(bytes), from: source, on: socket)
      }
    }
    times[index].append(nanoseconds() - start)
  }
}
print("\(node.nodeCount) nodes in the table, \(socket.bytesSent) bytes sent")
for (index, request) in requests.enumerated() {
  let perAnswer = times[index].sorted()[2] / UInt64(count)
  print("\(request.name): \(perAnswer) ns per answer, \(1_000_000_000 / max(1, perAnswer))/s")
}
