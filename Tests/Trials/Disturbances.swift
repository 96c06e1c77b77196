import HyperEncoding
import HyperswarmTesting

/// What happens to a member.
enum Disturbance: CaseIterable {
  case outage
  case move
  case rebootNAT
  case suspend
  case kill
  case stop
  case sleep
  case setClock
  case rejoin
  case losses
}

extension Trial {
  /// Starts a disturbance of a member that has none at the moment. All are over before `phaseEnd`.
  func disturb() {
    let idle = members.filter { !$0.isDisturbed }
    guard let member = idle.randomElement(using: &network.random),
      let kind = Disturbance.allCases.randomElement(using: &network.random)
    else { return }
    counts[kind, default: 0] += 1
    tell("\(member.name): \(kind)")
    member.disturbedAt = network.elapsed
    switch kind {
    case .outage: lasting(member, upTo: 150, begin: { member.cutOff(true) }, end: { member.cutOff(false) })
    case .move: move(member)
    case .rebootNAT: member.host.nat?.reset()
    case .suspend: lasting(member, upTo: 120, begin: { member.suspend() }, end: { member.resume() })
    case .kill: replace(member) { member.kill($0) }
    case .stop: replace(member) { member.stop($0) }
    case .sleep: member.host.wallClockOffset += UInt64.random(in: 1_000...3_600_000, using: &network.random)
    case .setClock:
      member.host.clockStep &+= UInt64.random(in: 1_000...100_000, using: &network.random)
    case .rejoin: member.rejoin(topic)
    case .losses:
      lasting(
        member, upTo: 60, begin: { member.host.conditions = LinkConditions(latency: .milliseconds(60), loss: 0.2) },
        end: { member.host.conditions = nil })
    }
  }

  private func lasting(
    _ member: Member, upTo seconds: Int, begin: () -> Void, end: @escaping () -> Void
  ) {
    let length = min(
      Duration.milliseconds(Int.random(in: 500...(seconds * 1000), using: &network.random)),
      phaseEnd - network.elapsed - .milliseconds(1))
    guard length > .zero else { return }
    member.isDisturbed = true
    begin()
    network.schedule(after: length) { [self] in
      tell("\(member.name): over")
      end()
      member.isDisturbed = false
      member.disturbedAt = network.elapsed
    }
  }

  /// The swarm of a member ends, and another one with the same key comes after a while.
  private func replace(_ member: Member, _ end: (@escaping () -> Void) -> Void) {
    member.isDisturbed = true
    end { [self] in
      let wait = Duration.milliseconds(Int.random(in: 1...30_000, using: &network.random))
      network.schedule(after: max(min(wait, phaseEnd - network.elapsed), .zero)) { [self] in
        tell("\(member.name): starts again")
        start(member)
        member.isDisturbed = false
      }
    }
  }

  // MARK: Moving

  /// To another network, sometimes with a gap in between.
  private func move(_ member: Member) {
    let gap = Int.random(in: 0...3, using: &network.random) == 0 ? Int.random(in: 0...5_000, using: &network.random) : 0
    let site = sites.randomElement(using: &network.random) ?? nil
    guard gap > 0 else { return place(member, site) }
    lasting(
      member, upTo: 5, begin: { member.cutOff(true) },
      end: { [self] in
        place(member, site)
        member.cutOff(false)
      })
  }

  private func place(_ member: Member, _ site: VirtualNAT?) {
    member.host.move(to: freshAddress(isPrivate: site != nil), behind: site)
  }

  /// Never used before.
  func freshAddress(isPrivate: Bool) -> IPv4Address {
    addressCount += 1
    let low = UInt8(addressCount & 0xff)
    let high = UInt8(addressCount >> 8 & 0xff)
    return isPrivate ? IPv4Address(10, UInt8(addressCount >> 16), high, low) : IPv4Address(60, high, low, 1)
  }
}
