/// The loop's side of an `Inbox`: what arrives in one turn of the loop is handed over together.
///
/// Holds less than `Limits.readStep` and one piece more. Confined to the loop.
package final class Arrivals {
  private let loop: UVEventLoop
  private let inbox: Inbox
  private let pause: () -> Void
  @exclusivity(unchecked) private var pieces: [[UInt8]] = []
  @exclusivity(unchecked) private var bytes = 0
  @exclusivity(unchecked) private var isDeliveryDue = false
  @exclusivity(unchecked) private var isAbandoned = false

  /// - Parameter pause: called when the reader is so far behind that the stream must stop.
  package init(loop: UVEventLoop, inbox: Inbox, pause: @escaping () -> Void) {
    self.loop = loop
    self.inbox = inbox
    self.pause = pause
  }

  /// One element for the reader.
  package func add(message: [UInt8]) {
    guard !isAbandoned else { return }
    pieces.append(message)
    bytes &+= message.count &+ Limits.messageCost
    deliverSoon()
  }

  /// Part of a stream of bytes: the parts of one turn become one element.
  package func add(part: UnsafeRawBufferPointer) {
    guard !part.isEmpty, !isAbandoned else { return }
    if pieces.isEmpty {
      pieces.append(Array(part))
      bytes = Limits.messageCost
    } else {
      pieces[pieces.count - 1].append(contentsOf: part)
    }
    bytes &+= part.count
    deliverSoon()
  }

  /// To the reader, now: before an end, or because a reader on the loop is about to look.
  package func deliver() {
    guard !pieces.isEmpty else { return }
    // Moved, not copied: the inbox changes it at once when a reader waits.
    var batch: [[UInt8]] = []
    swap(&batch, &pieces)
    let count = bytes
    bytes = 0
    if inbox.push(&batch, bytes: count) { pause() }
  }

  /// There is no reader any more: drops what there is and everything to come.
  package func abandon() {
    isAbandoned = true
    pieces = []
    bytes = 0
  }

  private func deliverSoon() {
    if bytes >= Limits.readStep {
      deliver()
    } else if !isDeliveryDue {
      isDeliveryDue = true
      loop.defer { [self] in
        isDeliveryDue = false
        deliver()
      }
    }
  }
}
