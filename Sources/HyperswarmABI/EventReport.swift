import CHyperswarm
import HyperDHT
import HyperDHTEngine
import HyperEncoding
import HyperRuntime
import HyperSecretStream
import HyperswarmEngine

/// Tells `on_event` and `on_log` of what happens in a swarm, later in the same turn of the loop: never inside a call of
/// C, nor in the middle of what an engine does.
///
/// Confined to the loop.
final class EventReport {
  enum Level: Int32 {
    case error = 1
    case warning, info, debug
  }

  /// What `hyperswarm_event_t` says.
  struct Event {
    var kind: Int
    var status = Int32(HYPERSWARM_OK)
    var publicKey: Bytes32?
    var text = ""
    var address: String?
    var nextRetry: UInt64?
  }

  private enum Item {
    case event(Event)
    case line(Level, String)
  }

  private unowned let swarm: SwarmHandle
  private let level: Int32
  private var items: [Item] = []
  private var hasUpdate = false

  /// `nil` when the program wants to know of nothing: then nothing is observed.
  init?(_ swarm: SwarmHandle, _ engine: SwarmEngine, _ node: DHTNode) {
    self.swarm = swarm
    let wantsLog = swarm.callbacks.on_log != nil
    level = !wantsLog ? 0 : swarm.callbacks.log_level == 0 ? Level.info.rawValue : swarm.callbacks.log_level
    guard wantsLog || swarm.callbacks.on_event != nil else { return nil }
    engine.onUpdate = { [weak self] in self?.updated() }
    engine.onAttempt = { [weak self] in self?.report($0) }
    engine.onBan = { [weak self] peer, reason in
      let status = ErrorCodes.number(reason.code)
      self?.add(
        Event(kind: HYPERSWARM_EVENT_BANNED, status: status, publicKey: peer.publicKey, text: reason.description),
        .warning, "peer \(KeyText.zBase32(peer.publicKey)): banned, \(reason.code): \(reason.description)")
    }
    node.onNetworkState.add { [weak self] state in
      if state == .online {
        self?.add(Event(kind: HYPERSWARM_EVENT_ONLINE), .info, "network: it answers")
      } else {
        self?.add(Event(kind: HYPERSWARM_EVENT_SILENT), .error, "network: no node answers")
      }
    }
    node.onPersistent.add { [weak self] in
      self?.add(Event(kind: HYPERSWARM_EVENT_PERSISTENT), .info, "node: serves the network")
    }
    node.onEphemeral.add { [weak self] in
      self?.add(Event(kind: HYPERSWARM_EVENT_EPHEMERAL), .info, "node: does not serve the network any more")
    }
    node.onAddressChange.add { [weak self] change in
      let address = change.new?.description
      self?.add(
        Event(kind: HYPERSWARM_EVENT_ADDRESS, address: address), .info, "node: public address \(address ?? "unknown")")
    }
    node.onNetworkChange.add { [weak self] in
      self?.add(Event(kind: HYPERSWARM_EVENT_NETWORK_CHANGED), .info, "network: changed")
    }
  }

  func wants(_ level: Level) -> Bool { level.rawValue <= self.level }

  /// A line for `on_log`, put together only if it is wanted.
  func log(_ level: Level, _ line: @autoclosure () -> String) {
    if wants(level) { add(.line(level, line())) }
  }

  // MARK: From the engines

  private func add(_ event: Event, _ level: Level, _ line: @autoclosure () -> String) {
    add(.event(event))
    log(level, line())
  }

  private func updated() {
    guard !hasUpdate, swarm.callbacks.on_event != nil else { return }
    hasUpdate = true
    add(.event(Event(kind: HYPERSWARM_EVENT_UPDATE)))
  }

  private func report(_ attempt: PeerAttempt) {
    let key = attempt.peer.publicKey
    var event = Event(kind: 0, publicKey: key, nextRetry: attempt.nextRetry)
    let level: Level
    let what: String
    switch attempt.stage {
    case .started: (event.kind, level, what) = (HYPERSWARM_EVENT_DIAL_STARTED, .debug, "started")
    case .opened: (event.kind, level, what) = (HYPERSWARM_EVENT_DIAL_OPENED, .info, "open")
    case .skipped: (event.kind, level, what) = (HYPERSWARM_EVENT_DIAL_SKIPPED, .debug, "skipped")
    case .failed(let failure):
      (event.kind, level, what) = (HYPERSWARM_EVENT_DIAL_FAILED, .info, "failed")
      event.status = failure.map { ErrorCodes.number($0.code) } ?? Int32(HYPERSWARM_ERR_CLOSED)
      event.text = failure?.description ?? ""
    case .closed(let failure):
      (event.kind, level, what) = (HYPERSWARM_EVENT_DIAL_CLOSED, .info, "closed")
      event.status = failure.map { ErrorCodes.number($0.code) } ?? Int32(HYPERSWARM_OK)
      event.text = failure?.description ?? ""
    }
    let reason = event.text
    add(
      event, level,
      "dial of \(KeyText.zBase32(key)): \(what)" + (reason.isEmpty ? "" : ", \(reason)")
        + (attempt.nextRetry.map { ", again in \($0) ms" } ?? ""))
  }

  // MARK: To the program

  private func add(_ item: Item) {
    guard !swarm.shared.withLock({ $0.isDestroying }) else { return }
    items.append(item)
    guard items.count == 1 else { return }
    let swarm = swarm
    // Holds the swarm, and with it this object.
    swarm.home.loop.defer { swarm.events?.deliver() }
  }

  private func deliver() {
    let items = items
    self.items = []
    hasUpdate = false
    for item in items {
      // A callback may destroy the swarm.
      guard let pointer = swarm.pointer, !swarm.shared.withLock({ $0.isDestroying }) else { return }
      switch item {
      case .line(let level, let line):
        line.withCString { swarm.callbacks.on_log?(pointer, level.rawValue, $0, swarm.userData) }
      case .event(let event):
        guard let onEvent = swarm.callbacks.on_event else { continue }
        event.withC { onEvent(pointer, $0, swarm.userData) }
      }
    }
  }
}

extension EventReport.Event {
  fileprivate func withC(_ body: (UnsafePointer<hyperswarm_event_t>) -> Void) {
    (publicKey ?? Bytes32()).withUnsafePointer { key in
      text.withCString { text in
        (address ?? "").withCString { address in
          var event = hyperswarm_event_t()
          event.size = MemoryLayout<hyperswarm_event_t>.size
          event.kind = Int32(kind)
          event.status = status
          event.public_key = publicKey == nil ? nil : key
          event.text = text
          event.address = self.address == nil ? nil : address
          event.next_retry = nextRetry.map { Int64(clamping: $0) } ?? -1
          body(&event)
        }
      }
    }
  }
}
