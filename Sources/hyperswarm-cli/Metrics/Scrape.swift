import Foundation

/// What an endpoint has told at one moment: values by name, with their labels behind it if there are any.
struct Scrape: Sendable {
  /// Bytes of an answer: those of a node are some kilobytes.
  private static let sizeLimit = 4 << 20
  /// For the whole answer.
  private static let answer = Duration.seconds(10)

  let time: ContinuousClock.Instant
  let values: [(name: String, value: Double)]
  private let places: [String: Int]

  init(parsing text: String) throws {
    time = .now
    var values: [(name: String, value: Double)] = []
    var places: [String: Int] = [:]
    for line in text.split(separator: "\n") where !line.hasPrefix("#") {
      guard let (name, value) = Scrape.sample(line) else {
        let start = Join.printable(String(line.prefix(80)))
        throw Failure("the answer has a line that is no sample: \(start)", code: "METRICS")
      }
      if places[name] == nil {
        places[name] = values.count
        values.append((name, value))
      }
    }
    self.values = values
    self.places = places
  }

  subscript(_ name: String) -> Double? { places[name].map { values[$0].value } }

  /// A label of the first sample of a family.
  func label(_ label: String, of family: String) -> String? {
    guard let name = values.first(where: { $0.name.hasPrefix(family + "{") })?.name,
      let start = name.range(of: label + "=\"")
    else { return nil }
    return String(name[start.upperBound...].prefix { $0 != "\"" })
  }

  /// The name with its labels, and the value; a timestamp behind it does not matter.
  private static func sample(_ line: Substring) -> (String, Double)? {
    var rest = line.drop { $0 == " " || $0 == "\t" }
    var name = rest.prefix { $0 != "{" && $0 != " " && $0 != "\t" }
    rest = rest[name.endIndex...]
    if rest.first == "{" {
      var isQuoted = false
      var isEscaped = false
      guard
        let end = rest.firstIndex(where: { character in
          if isEscaped {
            isEscaped = false
          } else if character == "\\" {
            isEscaped = isQuoted
          } else if character == "\"" {
            isQuoted.toggle()
          }
          return character == "}" && !isQuoted
        })
      else { return nil }
      name = line[name.startIndex...end]
      rest = rest[rest.index(after: end)...]
    }
    let words = rest.split { $0 == " " || $0 == "\t" || $0 == "\r" }
    guard !name.isEmpty, let first = words.first, words.count < 3, let value = Double(first) else { return nil }
    return (String(name), value)
  }

  // MARK: HTTP

  /// Asks the endpoint once.
  static func get(_ place: LocalAddress) async throws -> Scrape {
    let host = if case .port(let host, let port) = place.place { "\(host):\(port)" } else { "localhost" }
    let socket: Socket
    do {
      socket = try await place.connect()
    } catch {
      throw Failure("cannot reach \(place): \(error)", code: "UNREACHABLE")
    }
    let deadline = Task {
      try await Task.sleep(for: answer)
      socket.shutDown()
    }
    defer { deadline.cancel() }
    // Version 1.0: the answer comes in one piece and ends with the connection.
    let request = "GET /metrics HTTP/1.0\r\nHost: \(host)\r\nAccept: text/plain\r\n\r\n"
    do {
      let bytes = try await withTaskCancellationHandler {
        try await exchange(request, over: socket)
      } onCancel: {
        socket.shutDown()
      }
      return try Scrape(parsing: body(bytes, of: place))
    } catch let error as SocketFailure {
      throw Failure("\(place) broke off: \(error)", code: "UNREACHABLE")
    }
  }

  private static func exchange(_ request: String, over socket: Socket) async throws -> [UInt8] {
    try await socket.write(Array(request.utf8))
    var bytes: [UInt8] = []
    while let more = try await socket.read() {
      bytes += more
      if bytes.count > sizeLimit { throw Failure("the answer is too large", code: "METRICS") }
    }
    return bytes
  }

  private static func body(_ bytes: [UInt8], of place: LocalAddress) throws -> String {
    let words = String(decoding: bytes.prefix { $0 != 0x0d && $0 != 0x0a }, as: UTF8.self)
      .split(separator: " ", maxSplits: 2)
    guard let end = HTTPRequest.endOfHead(bytes), words.count > 1, words[0].hasPrefix("HTTP/") else {
      throw Failure("what \(place) answers is no HTTP", code: "METRICS")
    }
    guard words[1] == "200" else {
      let status = Join.printable(words.dropFirst().joined(separator: " "))
      throw Failure("\(place) answers \(status)", code: "METRICS")
    }
    return String(decoding: bytes[end...], as: UTF8.self)
  }
}
