import HyperDHTEngine
import HyperEncoding
import HyperRuntime

extension HyperDHT.Server {
  /// Shares what clients bring over the network's nodes with servers of other nodes, each on a loop of its own: a
  /// public key that is served by several cores.
  ///
  /// The members listen under the same key with `ServerOptions.isAnnounced` off, and this server, which is announced,
  /// keeps a share like theirs. Which one gets a client is left to chance; the connection lives on that one's node, and
  /// uses its port, which has to be as reachable as this server's. A member that is closed, suspended or let go of gets
  /// nothing until it is back. Clients that ask this node themselves stay here.
  ///
  /// A call replaces the members of the one before; an empty list ends the sharing.
  ///
  /// - `members`: servers of other nodes in this process. Not held: keep them.
  /// - Throws: `other` when one has another key, is announced, or belongs to the same node; `suspended` while this node
  ///   is; `nodeDestroyed` when a node is, or its loop has ended. Nothing changes then. Not for the cancellation of its
  ///   task.
  public nonisolated(nonsending) func share(with members: [HyperDHT.Server]) async throws(DHTError) {
    let front = engine
    let frontLoop = loop
    for member in members where member.publicKey != publicKey { throw .other("a member has another key") }
    let place = await onLoop(frontLoop) { (front.value.localEndpoint(seenFrom: .loopback)?.host, front.value.isClosed) }
    guard let place, !place.1 else { throw .nodeDestroyed }
    guard let host = place.0 else { throw .suspended }
    let frontNode = await onLoop(frontLoop) { front.value.nodeIdentity }
    for member in members {
      let engine = member.engine
      let facts = await onLoop(member.loop) { (engine.value.nodeIdentity, engine.value.options.isAnnounced) }
      guard let facts else { throw .nodeDestroyed }
      guard !facts.1 else { throw .other("a member is announced itself") }
      guard facts.0 != frontNode else { throw .other("a member belongs to the same node") }
    }
    let ids = members.map { ObjectIdentifier($0.engine.value) }
    await onLoop(frontLoop) { front.value.share(with: ids) }
    for (member, id) in zip(members, ids) {
      let engine = member.engine
      await onLoop(member.loop) {
        engine.value.follow(host: host) { endpoint in
          frontLoop.post { front.value.setMember(id, endpoint) }
        }
      }
      // What the member has posted comes before this.
      await onLoop(frontLoop) {}
    }
  }
}
