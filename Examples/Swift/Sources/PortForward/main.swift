// A TCP port under a key: the first program publishes a local port, the second opens one that leads there.
//
//   swift run PortForward expose PORT
//   swift run PortForward forward PORT KEY
//
// One encrypted connection for each TCP connection. `hyperswarm expose` and `forward` do more.
import Foundation
import Hyperswarm

func fail(_ text: String) -> Never {
  FileHandle.standardError.write(Data((text + "\n").utf8))
  exit(1)
}

func loopback(_ port: UInt16) -> sockaddr_in {
  var address = sockaddr_in()
  address.sin_family = sa_family_t(AF_INET)
  address.sin_port = port.bigEndian
  address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
  return address
}

/// Calls `body` with the address as the socket functions want it.
func withAddress(_ address: sockaddr_in, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
  withUnsafeBytes(of: address) { bytes in
    guard let base = bytes.baseAddress else { return -1 }
    return body(base.assumingMemoryBound(to: sockaddr.self), socklen_t(bytes.count))
  }
}

func makeSocket() -> Int32 { socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0) }

/// Moves bytes both ways until both sides have ended. Blocking calls run on threads of their own.
func bridge(_ descriptor: Int32, _ connection: HyperDHT.Connection) async {
  let toPeer = Task {
    while true {
      let piece = await withCheckedContinuation { continuation in
        Thread.detachNewThread {
          var buffer = [UInt8](repeating: 0, count: 1 << 16)
          let count = read(descriptor, &buffer, buffer.count)
          continuation.resume(returning: Array(buffer.prefix(max(count, 0))))
        }
      }
      if piece.isEmpty { break }
      try await connection.write(piece)
    }
    connection.end()
  }
  do {
    for try await message in connection.inbound {
      var rest = message[...]
      while !rest.isEmpty {
        let count = rest.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        guard count > 0 else { return connection.destroy() }
        rest = rest.dropFirst(count)
      }
    }
    _ = shutdown(descriptor, Int32(SHUT_WR))
    try await toPeer.value
  } catch {
    connection.destroy()
    _ = shutdown(descriptor, Int32(SHUT_RDWR))
  }
  _ = await toPeer.result
  close(descriptor)
}

func expose(_ port: UInt16, on dht: HyperDHT) async throws {
  let server = try await dht.listen()
  print(server.publicKey)
  for await connection in server.connections {
    let descriptor = makeSocket()
    guard withAddress(loopback(port), { connect(descriptor, $0, $1) }) == 0 else {
      close(descriptor)
      connection.destroy()
      continue
    }
    Task { await bridge(descriptor, connection) }
  }
}

func forward(_ port: UInt16, to key: Bytes32, on dht: HyperDHT) async throws {
  let listener = makeSocket()
  guard withAddress(loopback(port), { bind(listener, $0, $1) }) == 0, listen(listener, 64) == 0 else {
    fail("cannot listen on port \(port)")
  }
  print("127.0.0.1:\(port) leads to \(key)")
  let (accepted, continuation) = AsyncStream.makeStream(of: Int32.self)
  Thread.detachNewThread { while true { continuation.yield(accept(listener, nil, nil)) } }
  for await descriptor in accepted where descriptor >= 0 {
    Task {
      do { await bridge(descriptor, try await dht.connect(to: key)) } catch {
        print(error)
        close(descriptor)
      }
    }
  }
}

signal(SIGPIPE, SIG_IGN)
let arguments = Array(CommandLine.arguments.dropFirst())
let bootstrap = ProcessInfo.processInfo.environment["HYPERSWARM_BOOTSTRAP"].map { [$0] }
guard let port = arguments.dropFirst().first.flatMap(UInt16.init) else {
  fail("usage: PortForward expose|forward PORT")
}
let dht = try await HyperDHT(HyperDHT.Options(bootstrap: bootstrap, port: 0))
do {
  if arguments[0] == "expose" {
    try await expose(port, on: dht)
  } else {
    try await forward(port, to: KeyText.parse(arguments.count > 2 ? arguments[2] : ""), on: dht)
  }
} catch { fail("\(error)") }
