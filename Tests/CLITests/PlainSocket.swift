import Foundation

/// A TCP socket of 127.0.0.1 that blocks, for at most ten seconds.
final class PlainSocket: @unchecked Sendable {
  struct Failed: Error {
    let number: Int32
  }

  private let descriptor: Int32
  private(set) var port: UInt16 = 0

  private init(_ descriptor: Int32) { self.descriptor = descriptor }

  private static func make() throws -> Int32 {
    #if canImport(Darwin)
      let descriptor = socket(AF_INET, SOCK_STREAM, 0)
    #else
      let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    #endif
    guard descriptor >= 0 else { throw Failed(number: errno) }
    _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
    var limit = timeval(tv_sec: 10, tv_usec: 0)
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    return descriptor
  }

  private static func withAddress<R>(
    _ port: UInt16, _ body: (UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> R
  ) -> R {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    return withUnsafeMutablePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, &size) }
    }
  }

  convenience init(connectedTo port: UInt16) throws {
    self.init(try PlainSocket.make())
    let status = PlainSocket.withAddress(port) { connect(descriptor, $0, $1.pointee) }
    guard status == 0 else { throw Failed(number: errno) }
  }

  /// Answers each connection with the bytes, whatever it asks, until this object goes.
  static func answering(_ bytes: [UInt8]) throws -> PlainSocket {
    let server = PlainSocket(try make())
    let status = withAddress(0) { bind(server.descriptor, $0, $1.pointee) }
    guard status == 0, listen(server.descriptor, 5) == 0 else { throw Failed(number: errno) }
    server.port = withAddress(0) { address, size in
      getsockname(server.descriptor, address, size)
      return address.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { UInt16(bigEndian: $0.pointee.sin_port) }
    }
    let descriptor = dup(server.descriptor)
    Thread {
      defer { Foundation.close(descriptor) }
      while case let client = accept(descriptor, nil, nil), client >= 0 || errno == EAGAIN {
        guard client >= 0 else { continue }
        var request = [UInt8](repeating: 0, count: 4096)
        _ = Foundation.read(client, &request, request.count)
        _ = bytes.withUnsafeBytes { Foundation.write(client, $0.baseAddress, $0.count) }
        Foundation.close(client)
      }
    }.start()
    return server
  }

  deinit {
    shutdown(descriptor, Int32(SHUT_RDWR))
    Foundation.close(descriptor)
  }

  func write(_ text: String) {
    _ = Array(text.utf8).withUnsafeBytes { Foundation.write(descriptor, $0.baseAddress, $0.count) }
  }

  /// To the end of what comes.
  func read() -> String {
    var all: [UInt8] = []
    var bytes = [UInt8](repeating: 0, count: 65_536)
    while case let count = Foundation.read(descriptor, &bytes, bytes.count), count > 0 { all += bytes[..<count] }
    return String(decoding: all, as: UTF8.self)
  }
}

/// The answer to one request.
struct PlainResponse {
  var status: String
  var headers: [String: String] = [:]
  var body: String

  init(_ request: String, port: UInt16) throws {
    let socket = try PlainSocket(connectedTo: port)
    socket.write(request)
    let text = socket.read()
    let parts = text.components(separatedBy: "\r\n\r\n")
    let lines = parts[0].components(separatedBy: "\r\n")
    status = lines[0]
    for line in lines.dropFirst() {
      let pair = line.components(separatedBy: ": ")
      headers[pair[0].lowercased()] = pair.dropFirst().joined(separator: ": ")
    }
    body = parts.dropFirst().joined(separator: "\r\n\r\n")
  }
}

/// The text format 0.0.4 of Prometheus, as its documentation has it, and nothing beside.
struct StrictExposition {
  struct Invalid: Error, CustomStringConvertible {
    var description: String
  }

  private(set) var types: [String: String] = [:]
  private(set) var helps: [String: String] = [:]
  private(set) var values: [String: Double] = [:]

  init(_ text: String) throws {
    guard text.hasSuffix("\n") else { throw Invalid(description: "the last line has no end") }
    var current = ""
    var done: Set<String> = []
    for line in text.dropLast().components(separatedBy: "\n") {
      let name: String
      if line.hasPrefix("#") {
        let words = line.split(separator: " ", maxSplits: 3, omittingEmptySubsequences: false).map(String.init)
        guard words.count == 4, words[0] == "#" else { throw Invalid(description: line) }
        name = words[2]
        guard values[name] == nil else { throw Invalid(description: "comes behind its samples: \(line)") }
        switch words[1] {
        case "HELP" where helps.updateValue(words[3], forKey: name) == nil: break
        case "TYPE" where types.updateValue(words[3], forKey: name) == nil:
          guard ["counter", "gauge"].contains(words[3]) else { throw Invalid(description: line) }
        default: throw Invalid(description: line)
        }
      } else {
        name = try sample(line)
      }
      guard name.range(of: "^[a-zA-Z_:][a-zA-Z0-9_:]*$", options: .regularExpression) != nil else {
        throw Invalid(description: "no name: \(line)")
      }
      if name != current {
        guard done.insert(name).inserted else { throw Invalid(description: "in two places: \(name)") }
        current = name
      }
    }
  }

  private mutating func sample(_ line: String) throws -> String {
    let label = "[a-zA-Z_][a-zA-Z0-9_]*=\"(?:[^\"\\\\\\n]|\\\\[\"\\\\n])*\""
    let form = "^([^{ ]+)(\\{\(label)(?:,\(label))*,?\\})? ([0-9.eE+-]+|NaN|[+-]Inf)$"
    let expression = try NSRegularExpression(pattern: form)
    let range = NSRange(line.startIndex..., in: line)
    guard let match = expression.firstMatch(in: line, range: range),
      let nameRange = Range(match.range(at: 1), in: line),
      let valueRange = Range(match.range(at: 3), in: line), let value = Double(line[valueRange])
    else { throw Invalid(description: "no sample: \(line)") }
    let name = String(line[nameRange])
    guard types[name] != nil, helps[name] != nil else {
      throw Invalid(description: "without a type or a help: \(line)")
    }
    let key = name + (Range(match.range(at: 2), in: line).map { String(line[$0]) } ?? "")
    guard values.updateValue(value, forKey: key) == nil else { throw Invalid(description: "twice: \(line)") }
    return name
  }
}
