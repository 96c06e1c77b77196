import HyperCrypto
import HyperEncoding
import HyperRPC

// Peers: hyperdht.md 12.2 to 12.5.

extension StorageNode {
  func announce(_ request: IncomingRequest, nodeID: Bytes32) {
    guard let target = request.target, let token = request.token, let message = decode(request) else {
      return drop(\.malformed)
    }
    guard let peer = message.peer else {
      guard let block = message.refresh else { return drop(\.malformed) }
      return renew(request, revealing: block)
    }
    // The signature covers the record as received, before it is trimmed.
    let signable = Signables.announce(
      target: target, nodeID: nodeID, token: token, peer: peer, refresh: message.refresh)
    guard verifies(message.signature, signable, peer) else { return drop(\.unverified) }
    let record = Renewable(
      target: target, peer: peer.trimmed, isSelfAnnounce: target == Target.of(publicKey: peer.publicKey))
    store(record, from: request)
    if !record.isSelfAnnounce { raiseBump(of: target, to: message.bump) }
    if let block = message.refresh { refreshes.set(block, record, host: request.from.host, now: now) }
    request.reply(nil, token: false, closerNodes: false)
  }

  func unannounce(_ request: IncomingRequest, nodeID: Bytes32) {
    guard let target = request.target, let token = request.token, let message = decode(request),
      let peer = message.peer
    else { return drop(\.malformed) }
    let signable = Signables.unannounce(
      target: target, nodeID: nodeID, token: token, peer: peer, refresh: message.refresh)
    guard verifies(message.signature, signable, peer) else { return drop(\.unverified) }
    forget(publicKey: peer.publicKey, target: target)
    request.reply(nil, token: false, closerNodes: false)
  }

  func findPeer(_ request: IncomingRequest) {
    guard let target = request.target else { return drop(\.malformed) }
    replyWithValue(request, router.record(target: target))
  }

  func lookup(_ request: IncomingRequest) {
    guard let target = request.target else { return drop(\.malformed) }
    var found = records.sample(
      target: target, maximumCount: Limits.lookupReplyRecords, now: now, random: environment)
    if found.count < Limits.lookupReplyRecords, let server = router.record(target: target) { found.append(server) }
    guard !found.isEmpty else { return replyWithValue(request, nil) }
    replyWithValue(request, LookupReply.encode(records: found, bump: bumps.get(target, now: now) ?? 0))
  }

  /// A refresh without signature: the revealed block hashes to the one that was stored with the announce.
  private func renew(_ request: IncomingRequest, revealing block: Bytes32) {
    let stored = RefreshChain.predecessor(of: block)
    guard let record = refreshes.peek(stored, now: now) else { return drop(\.unknownRefreshes) }
    store(record, from: request)
    refreshes.remove(stored)
    refreshes.set(block, record, host: request.from.host, now: now)
    request.reply(nil, token: false, closerNodes: false)
  }

  /// A self-announce makes us a relay of the server, towards the source of this datagram; others go to their topic.
  private func store(_ record: Renewable, from request: IncomingRequest) {
    let key = record.peer.publicKey
    guard record.isSelfAnnounce else {
      records.add(
        record.peer.encoded, publicKey: key, target: record.target, host: request.from.host, now: now,
        random: environment)
      return
    }
    records.remove(publicKey: key, target: record.target)
    // A local server of the same key stays in charge; the announce is acknowledged all the same.
    if router.localServer(target: record.target) != nil { return }
    router.set(target: record.target, record: record.peer, relay: request.from.endpoint)
  }

  /// Monotonic per topic, and never far ahead of our clock.
  private func raiseBump(of target: Bytes32, to bump: UInt64) {
    let (latest, overflow) = environment.wallClock.addingReportingOverflow(configuration.maximumBumpDrift)
    guard bump > bumps.get(target, now: now) ?? 0, overflow || bump <= latest else { return }
    bumps.set(target, bump, now: now)
  }

  private func decode(_ request: IncomingRequest) -> AnnounceMessage? {
    request.value.flatMap { try? CompactReader.decode(AnnounceMessage.self, from: $0) }
  }

  private func verifies(_ signature: Bytes64?, _ signable: [UInt8], _ peer: PeerRecord) -> Bool {
    signature.map { Ed25519.verify($0, signable, publicKey: peer.publicKey) } ?? false
  }
}
