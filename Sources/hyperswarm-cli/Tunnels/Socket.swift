import Foundation

/// A stream socket that does not block. One reader and one writer at a time.
final class Socket: Sendable {
  let descriptor: Int32

  /// Takes over the descriptor.
  init(_ descriptor: Int32) {
    self.descriptor = descriptor
    _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK)
    _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
    var on: Int32 = 1
    setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
    #if canImport(Darwin)
      setsockopt(descriptor, SOL_SOCKET, SO_NOSIGPIPE, &on, socklen_t(MemoryLayout<Int32>.size))
    #endif
  }

  deinit { close(descriptor) }

  /// Up to a chunk; `nil` at the end.
  func read() async throws -> [UInt8]? {
    while true {
      var failure: Int32 = 0
      let bytes = [UInt8](unsafeUninitializedCapacity: TunnelLimits.chunk) { buffer, initialized in
        let count = recv(descriptor, buffer.baseAddress, TunnelLimits.chunk, 0)
        if count < 0 { failure = errno }
        initialized = max(count, 0)
      }
      switch failure {
      case 0: return bytes.isEmpty ? nil : bytes
      case EINTR: continue
      case EAGAIN: _ = await Poller.shared.wait(descriptor, for: Int32(POLLIN))
      default: throw SocketFailure(number: failure)
      }
    }
  }

  func write(_ bytes: [UInt8]) async throws {
    var position = 0
    while position < bytes.count {
      let count = bytes.withUnsafeBytes { buffer in
        send(descriptor, buffer.baseAddress.map { $0 + position }, buffer.count - position, Socket.sendFlags)
      }
      if count >= 0 {
        position += count
      } else if errno == EAGAIN {
        _ = await Poller.shared.wait(descriptor, for: Int32(POLLOUT))
      } else if errno != EINTR {
        throw SocketFailure(number: errno)
      }
    }
  }

  #if canImport(Darwin)
    private static let sendFlags: Int32 = 0
  #else
    private static let sendFlags = Int32(MSG_NOSIGNAL)
  #endif

  /// Ends the writing half.
  func end() { shutdown(descriptor, Int32(Socket.writing)) }

  /// Ends both halves: readers and writers return.
  func shutDown() { shutdown(descriptor, Int32(Socket.both)) }

  /// The other side learns that this is no regular end, when the socket is let go of; what was written gets there
  /// before, for so many seconds. Readers return.
  func abort(within seconds: Double) async {
    #if os(Linux)
      // SIOCOUTQ, which Swift does not import.
      let unsent: UInt = 0x5411
      let deadline = Date(timeIntervalSinceNow: seconds)
      var count: Int32 = 0
      while ioctl(descriptor, unsent, &count) == 0, count > 0, Date() < deadline {
        try? await Task.sleep(for: .milliseconds(20))
      }
    #endif
    var linger = linger(l_onoff: 1, l_linger: 0)
    setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<Foundation.linger>.size))
    // Not the writing half: its end would look like a regular one.
    shutdown(descriptor, Int32(Socket.reading))
  }

  private static let reading = SHUT_RD
  private static let writing = SHUT_WR
  private static let both = SHUT_RDWR
  #if canImport(Darwin)
    static let stream = SOCK_STREAM
  #else
    static let stream = Int32(SOCK_STREAM.rawValue)
  #endif
}

struct SocketFailure: Error, CustomStringConvertible {
  let number: Int32
  var description: String { String(cString: strerror(number)) }
}

/// Where a service listens, or is to listen: `port`, `host:port` or a path with a slash.
struct LocalAddress: Hashable, Sendable, CustomStringConvertible {
  enum Place: Hashable, Sendable {
    case port(host: String, UInt16)
    case path(String)
  }

  let place: Place

  init?(_ text: String) {
    // An address of the web would be taken for a path.
    if text.contains("://") { return nil }
    if text.hasPrefix("unix:") {
      place = .path(String(text.dropFirst(5)))
    } else if text.contains("/") {
      place = .path(text)
    } else if let port = UInt16(text) {
      place = .port(host: "127.0.0.1", port)
    } else {
      guard let colon = text.lastIndex(of: ":") else { return nil }
      guard let port = UInt16(text[text.index(after: colon)...]) else { return nil }
      let host = text[..<colon].trimmingCharacters(in: CharacterSet(charactersIn: "[]"))
      guard !host.isEmpty else { return nil }
      place = .port(host: host, port)
    }
    if case .path(let path) = place, path.isEmpty || path.utf8.count > 103 { return nil }
  }

  var isPath: Bool { if case .path = place { true } else { false } }

  var description: String {
    switch place {
    case .port(let host, let port): host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
    case .path(let path): path
    }
  }

  // MARK: Sockets

  func connect() async throws -> Socket {
    switch place {
    case .path(let path):
      let socket = try LocalAddress.make(AF_UNIX)
      let status = LocalAddress.withAddress(path) { Foundation.connect(socket.descriptor, $0, $1) }
      guard status == 0 else { throw SocketFailure(number: errno) }
      return socket
    case .port(let host, let port):
      var last = SocketFailure(number: EADDRNOTAVAIL)
      for address in try await LocalAddress.resolve(host, port) {
        do {
          return try await LocalAddress.connect(address)
        } catch let error as SocketFailure { last = error }
      }
      throw last
    }
  }

  private static func connect(_ address: [UInt8]) async throws -> Socket {
    let socket = try make(family(address))
    let status = withAddress(address) { Foundation.connect(socket.descriptor, $0, $1) }
    if status == 0 { return socket }
    guard errno == EINPROGRESS || errno == EINTR else { throw SocketFailure(number: errno) }
    guard await Poller.shared.wait(socket.descriptor, for: Int32(POLLOUT), seconds: TunnelLimits.lastWords) else {
      throw SocketFailure(number: ETIMEDOUT)
    }
    var error: Int32 = 0
    var size = socklen_t(MemoryLayout<Int32>.size)
    getsockopt(socket.descriptor, SOL_SOCKET, SO_ERROR, &error, &size)
    guard error == 0 else { throw SocketFailure(number: error) }
    return socket
  }

  /// A listening socket, and where it listens.
  func listen() async throws -> (socket: Socket, address: String) {
    let socket: Socket
    switch place {
    case .path(let path):
      socket = try LocalAddress.make(AF_UNIX)
      // What a dead process has left is in the way; a living one answers.
      if (try? await connect()) == nil, LocalAddress.isSocket(path) { unlink(path) }
      let status = LocalAddress.withAddress(path) { bind(socket.descriptor, $0, $1) }
      guard status == 0 else { throw SocketFailure(number: errno) }
      Departure.add(path)
    case .port(let host, let port):
      guard let address = try await LocalAddress.resolve(host, port).first else {
        throw SocketFailure(number: EADDRNOTAVAIL)
      }
      socket = try LocalAddress.make(LocalAddress.family(address))
      var on: Int32 = 1
      setsockopt(socket.descriptor, SOL_SOCKET, SO_REUSEADDR, &on, socklen_t(MemoryLayout<Int32>.size))
      let status = LocalAddress.withAddress(address) { bind(socket.descriptor, $0, $1) }
      guard status == 0 else { throw SocketFailure(number: errno) }
    }
    guard Foundation.listen(socket.descriptor, TunnelLimits.backlog) == 0 else { throw SocketFailure(number: errno) }
    return (socket, boundTo(socket))
  }

  private static func isSocket(_ path: String) -> Bool {
    var status = stat()
    return lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFSOCK
  }

  private func boundTo(_ socket: Socket) -> String {
    guard case .port(let host, 0) = place else { return description }
    var storage = sockaddr_storage()
    var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
    let status = withUnsafeMutablePointer(to: &storage) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(socket.descriptor, $0, &size) }
    }
    guard status == 0 else { return description }
    // The port is at the same place in both families.
    let port = withUnsafeBytes(of: storage) { UInt16($0[2]) << 8 | UInt16($0[3]) }
    return LocalAddress("\(host):\(port)")?.description ?? description
  }

  private static func make(_ family: Int32) throws -> Socket {
    let descriptor = socket(family, Socket.stream, 0)
    guard descriptor >= 0 else { throw SocketFailure(number: errno) }
    return Socket(descriptor)
  }

  /// A socket for packets here, and where it is.
  func bindPackets() async throws -> (socket: PacketSocket, address: String) {
    let socket = try PacketSocket(boundTo: try await packetAddress())
    guard case .port(let host, _) = place else { return (socket, description) }
    return (socket, LocalAddress("\(host):\(socket.localAddress.port)")?.description ?? description)
  }

  /// For packets, which paths do not take.
  func packetAddress() async throws -> SocketBytes {
    guard case .port(let host, let port) = place, let first = try await LocalAddress.resolve(host, port).first else {
      throw SocketFailure(number: EADDRNOTAVAIL)
    }
    return SocketBytes(first)
  }

  // MARK: Addresses

  private static func family(_ address: [UInt8]) -> Int32 {
    address.withUnsafeBytes { Int32($0.load(as: sockaddr.self).sa_family) }
  }

  private static func withAddress<R>(_ address: [UInt8], _ body: (UnsafePointer<sockaddr>, socklen_t) -> R) -> R? {
    address.withUnsafeBytes { buffer in
      buffer.baseAddress.map { body($0.assumingMemoryBound(to: sockaddr.self), socklen_t(buffer.count)) }
    }
  }

  private static func withAddress(_ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8)) }
    return withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
    }
  }

  /// Names are looked up away from the threads of others.
  private static func resolve(_ host: String, _ port: UInt16) async throws -> [[UInt8]] {
    try await withCheckedThrowingContinuation { continuation in
      DispatchQueue.global().async {
        var hints = addrinfo()
        hints.ai_socktype = Socket.stream
        var list: UnsafeMutablePointer<addrinfo>?
        let status = getaddrinfo(host, String(port), &hints, &list)
        defer { if let list { freeaddrinfo(list) } }
        guard status == 0 else {
          let text = String(cString: gai_strerror(status))
          return continuation.resume(throwing: Failure("cannot find \(host): \(text)", code: "ADDRESS"))
        }
        var found: [[UInt8]] = []
        var next = list
        while let item = next {
          let address = UnsafeRawBufferPointer(start: item.pointee.ai_addr, count: Int(item.pointee.ai_addrlen))
          found.append(Array(address))
          next = item.pointee.ai_next
        }
        continuation.resume(returning: found)
      }
    }
  }
}
