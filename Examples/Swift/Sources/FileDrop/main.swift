// A file under a key: the first program offers it to all that know the key, the second fetches it.
//
//   swift run FileDrop offer FILE
//   swift run FileDrop fetch KEY > FILE
//
// `hyperswarm send` does much more: folders, codes to read out, resuming. This is what it rests on.
import Foundation
import Hyperswarm

func fail(_ text: String) -> Never {
  FileHandle.standardError.write(Data((text + "\n").utf8))
  exit(1)
}

func offer(_ path: String, on dht: HyperDHT) async throws {
  let server = try await dht.listen()
  print("swift run FileDrop fetch \(server.publicKey) > FILE")
  for await connection in server.connections {
    Task {
      do {
        guard let file = FileHandle(forReadingAtPath: path) else { return connection.destroy() }
        var sent = 0
        // `write` waits while the network is slower than the disk: memory stays bounded.
        while let piece = try file.read(upToCount: 1 << 16), !piece.isEmpty {
          try await connection.write([UInt8](piece))
          sent += piece.count
        }
        // An empty file has no message, and the end of a stream alone does not tell it from a cut: the count does.
        try await connection.write("\(sent) bytes")
        connection.end()
        try await connection.flush()
        print("\(connection.remotePublicKey) has all \(sent) bytes")
      } catch {
        print("\(connection.remotePublicKey): \(error)")
      }
      await connection.close()
    }
  }
}

func fetch(_ key: String, on dht: HyperDHT) async throws {
  let connection = try await dht.connect(to: KeyText.parse(key))
  var received = 0
  var last: [UInt8]?
  for try await message in connection.inbound {
    if let last {
      FileHandle.standardOutput.write(Data(last))
      received += last.count
    }
    last = message
  }
  guard let last, String(decoding: last, as: UTF8.self) == "\(received) bytes" else { fail("the file is not complete") }
  await connection.close()
}

let arguments = Array(CommandLine.arguments.dropFirst())
guard arguments.count == 2, ["offer", "fetch"].contains(arguments[0]) else {
  fail("usage: FileDrop offer FILE | fetch KEY")
}
let bootstrap = ProcessInfo.processInfo.environment["HYPERSWARM_BOOTSTRAP"].map { [$0] }
let dht = try await HyperDHT(HyperDHT.Options(bootstrap: bootstrap, port: 0))
do {
  if arguments[0] == "offer" {
    guard FileManager.default.isReadableFile(atPath: arguments[1]) else { fail("cannot read \(arguments[1])") }
    try await offer(arguments[1], on: dht)
  } else {
    try await fetch(arguments[1], on: dht)
  }
} catch {
  fail("\(error)")
}
await dht.destroy()
