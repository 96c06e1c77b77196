import HyperRPC
import HyperSecretStream

extension Limits {
  /// Asserts the relations between the limits, once per process.
  package static func check() { _ = checked }

  private static let checked: Void = {
    HyperRPC.Limits.check()
    HyperSecretStream.Limits.check()
    precondition(Announce.relays <= HyperRPC.Limits.k && Announce.storedRelays <= Announce.relays)
    precondition(Announce.pingPause < Announce.watchdog)
    precondition(
      2 * Server.reservedHandshakes + Server.reservedStrangerHandshakes < Server.waitingHandshakes,
      "at the bound one origin is above its share")
    precondition(Server.waitingHandshakes + Server.provenHandshakes <= rawStreams)
    precondition(Server.handshakeBurst <= Server.strangerBurst && Server.strangerBurst <= Server.directBurst)
    precondition(Server.handshakesPerSecond <= Server.strangersPerSecond)
    precondition(Server.strangersPerSecond <= Server.directPerSecond)
    precondition(Server.relayBurst <= Server.relayedBurst && Server.relayPerSecond <= Server.relayedPerSecond)
    precondition(Server.handshakeMessageSize <= HyperRPC.Limits.maximumDatagram)
    precondition(Server.prepunchTimeout <= Server.handshakeClearWait, "a session is remembered as long as it may work")
    precondition(
      Server.prepunchTimeout < Server.phantomTimeout, "the stream outlives the wait for the client's next step")
    precondition(Connect.attempts <= Connect.candidates && Connect.relayHints <= Connect.candidates)
    precondition(Connect.earlyBytes >= HyperSecretStream.Limits.Stream.headerBody)
    precondition(Punch.minimumSamples <= Punch.wantedSamples && Punch.wantedSamples <= Punch.maximumReferrers)
    precondition(Punch.birthdaySockets <= Punch.randomSockets && Punch.randomPortSockets <= Punch.randomSockets)
    precondition(Punch.portRetry <= Punch.portIdle && Punch.portIdle <= Punch.portLifetime)
    precondition(Punch.unverifiedRounds.allSatisfy { (1...Punch.consistentRounds).contains($0) })
    precondition(Migration.firstInterval <= Migration.longestInterval && Migration.longestInterval < Migration.giveUp)
    precondition(Migration.sourceBurst <= Migration.totalBurst)
    precondition(Migration.sourcePerSecond <= Migration.totalPerSecond)
    precondition(Storage.value <= HyperRPC.Limits.maximumDatagram / 2, "a value fits a datagram beside 20 closer nodes")
    precondition(Storage.value <= Storage.valueBytes && Storage.valuesPerHost <= Storage.values)
    precondition(Storage.recordsPerHost <= Storage.records && Storage.recordsPerTopic <= Storage.records)
    precondition(Storage.valueBytesPerHost <= Storage.valueBytes && Storage.value <= Storage.valueBytesPerHost)
    precondition(Storage.replyPartPerHost <= lookupReplyRecords && Storage.evictionDraws > 0)
    precondition(UInt64(Storage.value) <= Storage.unprovenReplyBurst)
    precondition(Storage.unprovenReplyBurst <= Storage.totalUnprovenReplyBurst)
    precondition(Storage.unprovenReplyBytesPerSecond <= Storage.totalUnprovenReplyBytesPerSecond)
    precondition(Storage.unprovenReplyBytesPerSecond <= Storage.provenReplyBytesPerSecond)
    precondition(Router.entriesPerHost <= Router.entries)
    precondition(Router.forwardBurst <= Router.totalForwardBurst)
    precondition(Router.forwardsPerSecond <= Router.totalForwardsPerSecond)
    precondition(Router.destinationForwardBurst <= Router.totalForwardBurst)
    precondition(Router.destinationForwardsPerSecond <= Router.totalForwardsPerSecond)
    precondition(Router.reservedForProvenSources < Router.reservedForRepetitions)
    precondition(Router.reservedForRepetitions < Router.reservedForKnownClients)
    precondition(Router.reservedForKnownClients < Router.reservedForLightSources)
    precondition(UInt64(Router.trackedRefusals) * 1000 >= HyperRPC.Limits.totalRequestsPerSecond * Router.refusalAge)
    precondition(Router.reservedForLightSources < 1000, "a shared bucket that is full serves every source")
    precondition(Relay.sessionsPerKey <= Relay.sessionsPerHost && Relay.sessionsPerHost <= Relay.sessions)
    precondition(Relay.linksPerSession <= Relay.links && Relay.linkBytesPerSecond <= Relay.bytesPerSecond)
    let pendingTokens = [Relay.pendingTokensPerSession, Relay.pendingTokensPerHost, Relay.pendingTokens]
    precondition(pendingTokens == pendingTokens.sorted())
    precondition(Relay.controlFrame <= HyperSecretStream.Limits.Stream.maximumMessage)
    precondition(HyperRPC.Limits.LowPower.tickInterval % Announce.lowPowerPause == 0, "they come together")
    precondition(Relay.keepAlive < Relay.idleSession, "an idle session is not one between two keepalives")
  }()
}
