import ArgumentParser
import Foundation
import HyperEncoding
import Synchronization

/// Bounds of the endpoint of --metrics.
private enum MetricsLimits {
  /// Connections at a time; further ones wait in the system's queue. Scrapers have one each.
  static let connections = 16
  /// Bytes of a request's head: what web servers take by custom.
  static let request = 8192
  /// For a request and its answer.
  static let exchange = Duration.seconds(5)
  /// Bytes that are read behind a request, so that the answer is not lost to a reset.
  static let leftOver = 65_536
}

/// Where a command serves its counters.
struct MetricsOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Serve counters for Prometheus over HTTP under /metrics; a port alone is one of 127.0.0.1, a path a socket.",
      valueName: "host:port"))
  var metrics: String?

  func validate() throws {
    if let metrics, LocalAddress(metrics) == nil {
      throw ValidationError("'\(metrics)' is no place to serve counters at: a port, host:port or a path is wanted")
    }
  }

  /// Opens the endpoint, before anything else is begun.
  func open() async throws -> MetricsServer? {
    guard let metrics, let place = LocalAddress(metrics) else { return nil }
    do {
      let (socket, address) = try await place.listen()
      if !place.isLocal { Console.warn("other machines can read the counters at \(address)") }
      return MetricsServer(place: place, socket: socket, address: address)
    } catch {
      throw Failure("cannot serve counters at \(place): \(error)", code: "METRICS")
    }
  }
}

extension LocalAddress {
  /// Only this machine reaches it.
  var isLocal: Bool {
    switch place {
    case .path: true
    case .port(let host, _): host == "localhost" || host == "::1" || IPv4Address(host)?.octets.first == 127
    }
  }
}

/// Answers GET and HEAD of /metrics, one request per connection.
final class MetricsServer: Sendable {
  private let place: LocalAddress
  private let socket: Socket
  let address: String
  private let active = Atomic(0)
  private let work = Mutex<Task<Void, Never>?>(nil)

  init(place: LocalAddress, socket: Socket, address: String) {
    self.place = place
    self.socket = socket
    self.address = address
  }

  /// Serves what `text` gives, until `close`.
  func serve(_ text: @escaping @Sendable () async -> String) {
    let isPath = if case .path = place.place { true } else { false }
    Console.note(
      "metrics", "counters at \(isPath ? address : "http://\(address)/metrics")", [("address", .string(address))])
    work.withLock { $0 = Task { await run(text) } }
  }

  func close() {
    work.withLock { $0?.cancel() }
    if case .path(let path) = place.place { Departure.remove(path) }
  }

  private func run(_ text: @escaping @Sendable () async -> String) async {
    await withDiscardingTaskGroup { group in
      while !Task.isCancelled {
        guard await Poller.shared.wait(socket.descriptor, for: Int32(POLLIN), seconds: 1) else { continue }
        guard active.load(ordering: .relaxed) < MetricsLimits.connections else {
          try? await Task.sleep(for: .milliseconds(20))
          continue
        }
        let accepted = accept(socket.descriptor, nil, nil)
        guard accepted >= 0 else {
          // No descriptors, say.
          if errno != EAGAIN, errno != ECONNABORTED { try? await Task.sleep(for: .milliseconds(100)) }
          continue
        }
        let client = Socket(accepted)
        active.add(1, ordering: .relaxed)
        group.addTask { [self] in
          await MetricsServer.answer(client, text)
          active.subtract(1, ordering: .relaxed)
        }
      }
    }
  }

  private static func answer(_ client: Socket, _ text: @Sendable () async -> String) async {
    let deadline = Task {
      try await Task.sleep(for: MetricsLimits.exchange)
      client.shutDown()
    }
    defer { deadline.cancel() }
    guard let request = await HTTPRequest.read(from: client, limit: MetricsLimits.request) else { return }
    let response = await respond(to: request, text)
    guard (try? await client.write(response)) != nil else { return }
    client.end()
    var count = 0
    while count < MetricsLimits.leftOver, let bytes = try? await client.read() { count += bytes.count }
  }

  private static func respond(to request: HTTPRequest, _ text: () async -> String) async -> [UInt8] {
    switch request {
    case .tooLarge: return page("431 Request Header Fields Too Large")
    case .malformed: return page("400 Bad Request")
    case .line(let method, let target):
      guard target == "/metrics" else { return page("404 Not Found") }
      guard method == "GET" || method == "HEAD" else {
        return page("405 Method Not Allowed", further: "Allow: GET, HEAD\r\n")
      }
      return page("200 OK", body: await text(), type: MetricsText.contentType, isHead: method == "HEAD")
    }
  }

  private static func page(
    _ status: String, body: String? = nil, type: String = "text/plain; charset=utf-8", isHead: Bool = false,
    further: String = ""
  ) -> [UInt8] {
    let body = Array((body ?? "\(status.dropFirst(4)): the counters are at /metrics\n").utf8)
    let head =
      "HTTP/1.1 \(status)\r\nContent-Type: \(type)\r\nContent-Length: \(body.count)\r\n\(further)"
      + "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    return Array(head.utf8) + (isHead ? [] : body)
  }
}

/// The head of a request, as far as it matters.
enum HTTPRequest {
  case line(method: String, target: String)
  case malformed
  case tooLarge

  /// `nil` when the client has gone before the end of its request.
  static func read(from client: Socket, limit: Int) async -> HTTPRequest? {
    var bytes: [UInt8] = []
    while true {
      if let end = endOfHead(bytes), end <= limit { return HTTPRequest(bytes[..<end]) }
      if bytes.count >= limit { return .tooLarge }
      guard let more = try? await client.read() else { return nil }
      bytes += more
    }
  }

  /// Behind the empty line, whose end may be a line feed alone (RFC 9112 2.2).
  static func endOfHead(_ bytes: [UInt8]) -> Int? {
    for index in bytes.indices where bytes[index] == 0x0a {
      let rest = bytes[(index + 1)...]
      if rest.first == 0x0a { return index + 2 }
      if rest.starts(with: [0x0d, 0x0a]) { return index + 3 }
    }
    return nil
  }

  private init(_ head: ArraySlice<UInt8>) {
    let line = String(decoding: head.prefix { $0 != 0x0d && $0 != 0x0a }, as: UTF8.self)
    let words = line.split(separator: " ", omittingEmptySubsequences: false)
    guard words.count == 3, !words[0].isEmpty, words[2].hasPrefix("HTTP/1.") else {
      self = .malformed
      return
    }
    var target = words[1]
    if let scheme = target.range(of: "http://"), scheme.lowerBound == target.startIndex {
      target = target[scheme.upperBound...].drop { $0 != "/" }
    }
    self = .line(method: String(words[0]), target: String(target.prefix { $0 != "?" }))
  }
}
