import HyperEncoding
import HyperEnvironment
import HyperRPC

/// Asks known nodes how they see one socket (hyperdht.md 8.1, automatic sampling).
final class NATSampling {
  /// Samples that the analyser has so far.
  var sampleCount: () -> Int = { 0 }
  /// Our address as seen, and by whom.
  var onSample: ((Endpoint, Endpoint) -> Void)?
  /// No more nodes to ask.
  var onExhausted: (() -> Void)?

  private unowned let node: DHTNode
  private let socket: any DatagramSocket
  private let session: RequestSession
  private var asked: Set<Endpoint> = []
  private var pending = 0
  private var passesLeft = Limits.Punch.samplePasses
  private var isStopped = false

  init(node: DHTNode, socket: any DatagramSocket) {
    self.node = node
    self.socket = socket
    session = node.rpc.makeSession()
  }

  func start() { runPass() }

  func stop() {
    guard !isStopped else { return }
    isStopped = true
    onSample = nil
    onExhausted = nil
    session.destroy()
  }

  private func runPass() {
    guard !isStopped else { return }
    passesLeft -= 1
    let known = node.rpc.recentNodes(limit: 64)
    // The nodes heard last are often our own relays, which see us through mappings that are already in use.
    let candidates =
      known.count >= Limits.Punch.sampleSkipWhenKnown ? known.dropFirst(Limits.Punch.sampleSkip) : known[...]
    for candidate in candidates where !asked.contains(candidate) {
      guard sampleCount() + pending < Limits.Punch.wantedSamples else { break }
      ask(candidate)
    }
    if pending == 0 { finishPass() }
  }

  private func ask(_ endpoint: Endpoint) {
    asked.insert(endpoint)
    pending += 1
    let options = RequestOptions(retries: 0, session: session, socket: socket)
    node.rpc.ping(endpoint, options: options) { [weak self] result in
      guard let self, !isStopped else { return }
      pending -= 1
      if case .success(let pong) = result { onSample?(pong.to, pong.from.endpoint) }
      if pending == 0 { finishPass() }
    }
  }

  private func finishPass() {
    guard !isStopped else { return }
    if sampleCount() < Limits.Punch.wantedSamples, passesLeft > 0 { return runPass() }
    // Never inside `start`: the owner is still being set up.
    node.environment.defer { [weak self] in self?.onExhausted?() }
  }
}
