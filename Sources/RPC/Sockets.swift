import HyperEncoding
import HyperEnvironment

// The two sockets of a node (dht-rpc.md 10). The client socket opens NAT mappings by sending; the server socket
// stays silent until the firewall probe, so that a stranger's datagram on it proves an open port.
extension RPCNode {
  /// The one that requests leave from: the client socket while firewalled.
  package var socket: (any DatagramSocket)? { isFirewalled ? clientSocket : serverSocket }

  /// The local address of ``socket``; `nil` before `bind`.
  package var address: Endpoint? { socket?.localEndpoint }

  /// First non-loopback IPv4 address of this host (else 127.0.0.1) and the server port; `nil` before `bind`.
  package var localAddress: Endpoint? {
    guard let port = serverSocket?.localEndpoint?.port else { return nil }
    let outside = environment.interfaces().filter { !$0.isInternal }
    let chosen = outside.first { $0.name == "en0" } ?? outside.first
    return Endpoint(host: chosen?.address ?? .loopback, port: port)
  }

  /// Where strangers reach us; `nil` unless known, open and port-preserving.
  package var remoteAddress: Endpoint? {
    guard let host = sampler.host, sampler.port != 0, !isFirewalled,
      sampler.port == serverSocket?.localEndpoint?.port
    else { return nil }
    return Endpoint(host: host, port: sampler.port)
  }

  /// Binds both sockets now; idempotent. Requests made earlier go out.
  package func bind() throws(TransportError) {
    guard !isDestroyed else { throw TransportError(code: -125, description: "the node is destroyed") }
    guard serverSocket == nil, !isSuspended else { return }
    let server = try bindServer()
    let client: any DatagramSocket
    do throws(TransportError) {
      client = try bindClient()
    } catch {
      server.close()
      throw error
    }
    adopt(server: server, client: client)
    if !hasListened {
      hasListened = true
      onListening?()
    }
    sendWaitingRequests()
  }

  private func adopt(server: any DatagramSocket, client: any DatagramSocket) {
    serverSocket = server
    clientSocket = client
    lastServerPort = server.localEndpoint?.port ?? 0
    lastClientPort = client.localEndpoint?.port ?? 0
    server.onMessage = { [weak self, weak server] bytes, source in
      guard let self, let server else { return }
      receiveOnOwnSocket(bytes, from: source, on: server)
    }
    client.onMessage = { [weak self, weak client] bytes, source in
      guard let self, let client else { return }
      receiveOnOwnSocket(bytes, from: source, on: client)
    }
    server.onRebind = { [weak self, weak server] in
      if let server { self?.rebound(server) }
    }
    client.onRebind = { [weak self, weak client] in
      if let client { self?.rebound(client) }
    }
    notePaths()
    let poll = configuration.isLowPower ? Limits.LowPower.tickInterval : Limits.interfacePoll
    interfaceWatch = environment.watchInterfaces(every: poll) { [weak self] interfaces in
      self?.judgeChange(interfaces)
    }
  }

  private func bindServer() throws(TransportError) -> any DatagramSocket {
    var candidates = configuration.port.ports
    if lastServerPort != 0 {
      candidates.removeAll { $0 == lastServerPort }
      candidates.insert(lastServerPort, at: 0)
    }
    // After a suspend an unlucky port must not keep the node down.
    let allowsAny = configuration.anyPort || hasListened
    guard !candidates.isEmpty else { return try bindOne(port: 0) }
    for port in candidates {
      do throws(TransportError) { return try bindOne(port: port) } catch { if !allowsAny { throw error } }
    }
    return try bindOne(port: 0)
  }

  private func bindClient() throws(TransportError) -> any DatagramSocket {
    if lastClientPort != 0 {
      do throws(TransportError) { return try bindOne(port: lastClientPort) } catch {}
    }
    return try bindOne(port: 0)
  }

  private func bindOne(port: UInt16) throws(TransportError) -> any DatagramSocket {
    let socket = environment.makeSocket()
    do throws(TransportError) {
      try socket.bind(host: configuration.host, port: port)
    } catch {
      socket.close()
      throw error
    }
    return socket
  }

  /// Closes both sockets; `done` runs when the last stream on them has ended.
  func closeSockets(_ done: @escaping () -> Void) {
    interfaceWatch?.cancel()
    interfaceWatch = nil
    let open = [serverSocket, clientSocket].compactMap { $0 }
    serverSocket = nil
    clientSocket = nil
    closingSockets = open.count
    guard !open.isEmpty else {
      environment.defer(done)
      return
    }
    for socket in open {
      socket.onMessage = nil
      socket.onRebind = nil
      // Strong: a caller that waits for the end of a node has usually dropped it.
      socket.close { [self] in
        closingSockets -= 1
        if closingSockets == 0 { done() }
      }
    }
  }
}
