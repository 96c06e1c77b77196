import HyperEncoding

/// An address that others have seen us under, and how many of them.
package struct NATSample: Hashable, Sendable {
  package var address: Endpoint
  package var hits: Int

  package init(address: Endpoint, hits: Int) {
    self.address = address
    self.hits = hits
  }
}

/// Classifies the NAT in front of one socket from what peers report (hyperdht.md 8.1).
package struct NATAnalyzer: Sendable {
  package private(set) var firewall: Firewall
  /// External addresses for the peer, most seen first; `nil` before there is a class, and when the node is open.
  package private(set) var addresses: [NATSample]?
  /// Distinct referrers counted.
  package private(set) var sampleCount = 0
  package private(set) var isFrozen = false

  private var full: [NATSample] = []
  private var hosts: [NATSample] = []
  private var referrers: Set<Endpoint> = []
  private var referrerHosts: Set<IPv4Address> = []

  package init(isFirewalled: Bool) {
    firewall = isFirewalled ? .unknown : .open
  }

  /// Whether analysis may stop waiting: a usable class, or samples enough. Three equal samples suffice only if three
  /// hosts gave them: a NAT whose mapping depends on the destination's address looks consistent to ports of one host
  /// (hyperdht.md Part C, 7; the reference takes any three).
  package var isSettled: Bool {
    guard sampleCount > 0 else { return false }
    if firewall == .open || sampleCount >= Limits.Punch.wantedSamples { return true }
    return firewall == .consistent && referrerHosts.count >= Limits.Punch.minimumSamples
  }

  /// External addresses whatever the class: unlike ``addresses`` also for an open node, which otherwise has none to
  /// offer when it became open after the handshake (hyperdht.md Part C, 9).
  package var knownAddresses: [Endpoint] {
    if let addresses { return addresses.map(\.address) }
    return full.map(\.address)
  }

  /// Counts what `referrer` saw, once per referrer. `isFirewalled` is the node's state now.
  /// - Returns: whether the sample was new.
  @discardableResult
  package mutating func add(_ address: Endpoint, from referrer: Endpoint, isFirewalled: Bool) -> Bool {
    guard referrers.count < Limits.Punch.maximumReferrers, referrers.insert(referrer).inserted else { return false }
    sampleCount += 1
    referrerHosts.insert(referrer.host)
    Self.count(address, in: &full)
    Self.count(Endpoint(host: address.host, port: 0), in: &hosts)
    if !isFrozen, sampleCount >= Limits.Punch.minimumSamples || !isFirewalled { update(isFirewalled: isFirewalled) }
    return true
  }

  /// Stops changes of class and addresses; samples still count.
  package mutating func freeze() { isFrozen = true }

  /// No node is left to ask. In a network of one or two what they say has to do: it is right behind most NATs, and
  /// without a class there would be no attempt at all.
  package mutating func conclude(isFirewalled: Bool) {
    guard isFirewalled, !isFrozen, firewall == .unknown, sampleCount > 0,
      sampleCount < Limits.Punch.minimumSamples
    else { return }
    firewall = full.count == 1 ? .consistent : .random
    addresses = full.count == 1 ? full : Array(hosts.prefix(1))
  }

  /// One more hit; a sample moves in front of those with fewer, equals keep their order.
  private static func count(_ address: Endpoint, in samples: inout [NATSample]) {
    var sample = NATSample(address: address, hits: 1)
    if let index = samples.firstIndex(where: { $0.address == address }) {
      sample.hits += samples.remove(at: index).hits
    }
    let position = samples.firstIndex { $0.hits < sample.hits } ?? samples.count
    samples.insert(sample, at: position)
  }

  private mutating func update(isFirewalled: Bool) {
    if isFirewalled, firewall == .open { firewall = .unknown }
    firewall = classify(isFirewalled: isFirewalled)
    switch firewall {
    case .unknown: addresses = nil
    case .random: addresses = Array(hosts.prefix(1))
    case .consistent:
      var list: [NATSample] = []
      for sample in full where sample.hits >= 2 || list.count < 2 { list.append(sample) }
      addresses = list
    default: break  // open: left as it was
    }
  }

  private func classify(isFirewalled: Bool) -> Firewall {
    guard isFirewalled else { return .open }
    guard sampleCount >= Limits.Punch.minimumSamples, let top = full.first else { return firewall }
    if top.hits >= 3 { return .consistent }
    if top.hits == 1 { return .random }
    if hosts.count == 1, sampleCount > 3 { return .random }
    if hosts.count > 1, full.count > 1, full[1].hits > 1 { return .consistent }
    if sampleCount > 4 { return .random }
    return firewall
  }
}
