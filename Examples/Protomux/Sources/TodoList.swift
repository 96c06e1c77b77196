import HyperProtomuxJSON

/// A list that peers share: each tells the others what is new, over a protocol with typed messages.
actor TodoList {
  struct Item: Codable, Sendable {
    var text: String
    var isDone: Bool
  }

  /// What a peer says of itself when it opens the channel.
  struct Hello: Codable, Sendable {
    var name: String
    var count: Int
  }

  private struct Peer {
    let item: Protomux.Message<JSONCodec<Item>>
    let done: Protomux.Message<CompactCodec<String>>
  }

  let name: String
  private(set) var items: [String: Bool] = [:]
  private var peers: [Peer] = []

  init(name: String) { self.name = name }

  func add(_ item: Item) async {
    guard items[item.text] == nil else { return }
    items[item.text] = item.isDone
    print("\(name): \(item.isDone ? "[x]" : "[ ]") \(item.text)")
    for peer in peers { try? await peer.item.send(item) }
  }

  func finish(_ text: String) async {
    guard items[text] == false else { return }
    items[text] = true
    print("\(name): [x] \(text)")
    for peer in peers { try? await peer.done.send(text) }
  }

  /// The protocol on one connection, until it ends.
  func share(over connection: HyperDHT.Connection) async throws {
    let mux = Protomux(connection)
    let channel = try mux.createChannel(protocol: "todo/1")
    let peer = Peer(
      item: channel.addMessage(.json(Item.self)),
      done: channel.addMessage(.string) { text in Task { await self.finish(text) } })
    try channel.open(handshake: Hello(name: name, count: items.count), .json())

    let hello = try await channel.opened(.json(Hello.self))
    print("\(name): \(hello.name) has \(hello.count) items")
    peers.append(peer)
    defer { peers.removeAll { $0.item.channel === channel } }
    // All that there is as one batch.
    try mux.corked {
      for (text, isDone) in items { try peer.item.sendWithoutWaiting(Item(text: text, isDone: isDone)) }
    }
    for try await item in peer.item.messages { await add(item) }
  }
}
