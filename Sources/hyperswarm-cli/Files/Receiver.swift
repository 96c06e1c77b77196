import HyperCrypto
import HyperEncoding
import HyperFileTransfer

/// What is received, over as many connections as it takes. Confined to one task.
final class Receiver {
  struct Settings: Sendable {
    var output = "."
    var storing = Destination.Options()
    /// Says whether the offer is wanted.
    var accepts: @Sendable (Manifest) async throws -> Bool = { _ in true }
  }

  private let settings: Settings
  private let progress: TransferProgress
  private var manifest: Manifest?
  private var destination: Destination?
  private var bytesBefore: [UInt64] = []
  /// Files that are not there yet, the next one last.
  private var missing: [Int] = []
  /// Asked for, the oldest first.
  private var wanted: [Wanted] = []
  /// Files that could not be had, and what is said of the first ones.
  private(set) var failureCount = 0
  private(set) var failures: [String] = []
  private(set) var isComplete = false

  private struct Wanted {
    let index: Int
    var partial: Partial?
    let offset: UInt64
  }

  init(_ settings: Settings, progress: TransferProgress) {
    self.settings = settings
    self.progress = progress
  }

  var entries: [FileEntry] { manifest?.entries ?? [] }
  var bytes: UInt64 { manifest?.bytes ?? 0 }

  /// Removes what cannot be gone on from. Returns where the rest lies.
  func leave() -> String? { isComplete ? nil : destination?.leave() }

  /// Receives what is missing over this connection. Throws when it ended before: it may be tried again over another one
  /// unless the error says otherwise.
  func run(over channel: any TransferChannel, code: TransferCode?, paired: () -> Void = {}) async throws {
    do {
      try await greet(channel, code)
      paired()
      try await take(try await offer(from: channel), over: channel)
      // Everything is here, whatever becomes of the sender.
      isComplete = true
      await channel.sayLast(.complete(failures: UInt64(failureCount)))
      channel.destroy()
    } catch {
      // What was under way goes on from where it is.
      missing += wanted.reversed().map(\.index)
      wanted = []
      await channel.giveUp(because: error)
      throw error
    }
  }

  private func greet(_ channel: any TransferChannel, _ code: TransferCode?) async throws {
    let pairing = code.map { Pairing(code: $0, channel: channel.pairing(isReceiver: true), isReceiver: true) }
    try await channel.send(.hello(version: Message.version, share: pairing?.share))
    guard case .hello(let version, let share) = try await channel.next() else { throw TransferError.foreign }
    guard version == Message.version else { throw TransferError.version(version) }
    guard let pairing else { return }
    guard let share else { throw TransferError.violation("no share") }
    let confirmations = try pairing.confirmations(with: share)
    try await channel.send(.confirm(confirmations.ofReceiver))
    guard case .confirm(let confirmation) = try await channel.next(),
      constantTimeEqual(confirmation, confirmations.ofSender)
    else { throw TransferError.wrongCode }
  }

  private func offer(from channel: any TransferChannel) async throws -> Destination {
    guard case .offer(let entries, let bytes) = try await channel.next() else {
      throw TransferError.violation("no offer")
    }
    var offered = try Manifest(entries: entries, bytes: bytes)
    while !offered.isComplete {
      guard case .entries(let page) = try await channel.next() else { throw TransferError.violation("no entries") }
      try offered.add(page)
    }
    if let manifest, let destination {
      guard manifest.identifier == offered.identifier else {
        throw Failure("the sender offers something else than before", code: "CHANGED")
      }
      return destination
    }
    try Destination.check(settings.output, offered, replacing: settings.storing.replaces)
    guard try await settings.accepts(offered) else { throw TransferError.declined }
    let made = try Destination(at: settings.output, manifest: offered, settings.storing)
    manifest = offered
    destination = made
    var sum: UInt64 = 0
    for entry in offered.entries {
      bytesBefore.append(sum)
      sum += entry.size
    }
    missing = offered.entries.indices.reversed().filter { offered.entries[$0].kind == .file && !made.isDone($0) }
    progress.begin(files: offered.entries.count { $0.kind == .file }, bytes: offered.bytes)
    return made
  }

  private func take(_ destination: Destination, over channel: any TransferChannel) async throws {
    while true {
      while wanted.count < Limits.wants, let index = missing.popLast() {
        // What was begun before is hashed again, which takes its time: nothing else waits behind it.
        let partial = destination.hasPartial(index) ? try destination.partial(index) : nil
        wanted.append(Wanted(index: index, partial: partial, offset: partial?.count ?? 0))
        if wanted.count == 1 { show() }
        try await channel.send(.want(index: UInt64(index), offset: partial?.count ?? 0))
      }
      guard !wanted.isEmpty else { break }
      try received(try await channel.next(), destination)
    }
    try destination.finish()
  }

  private func show() {
    guard let first = wanted.first, let entry = manifest?.entries[first.index] else { return }
    progress.file(FileName.printable(entry.path), size: entry.size, at: first.offset, before: bytesBefore[first.index])
  }

  private func received(_ message: Message, _ destination: Destination) throws {
    let head = wanted[0]
    let size = entries[head.index].size
    switch message {
    case .data(let bytes):
      let partial = try opened(destination)
      guard UInt64(bytes.count) <= size - partial.count else {
        throw TransferError.violation("more data than announced")
      }
      try partial.write(bytes)
      progress.advance(to: partial.count)
    case .hole(let count):
      let partial = try opened(destination)
      guard count > 0, count <= size - partial.count else { throw TransferError.violation("a hole beyond the end") }
      try partial.hole(count)
      progress.advance(to: partial.count)
    case .done(let digest):
      let partial = try opened(destination)
      guard partial.count == size else { throw TransferError.violation("less data than announced") }
      wanted.removeFirst()
      if partial.finish() == digest {
        try destination.place(partial, head.index)
      } else {
        destination.discard(head.index)
        // What lay here may have been another file's beginning.
        if head.offset > 0 { missing.append(head.index) } else { fail(head.index, "its digest is another one") }
      }
      show()
    case .unavailable(let text):
      destination.discard(head.index)
      wanted.removeFirst()
      fail(head.index, FileName.printable(text))
      show()
    default: throw TransferError.violation("an unexpected message")
    }
  }

  /// The file that content is coming for.
  private func opened(_ destination: Destination) throws -> Partial {
    if let partial = wanted[0].partial { return partial }
    let partial = try destination.partial(wanted[0].index)
    guard partial.count == 0 else { throw TransferError.violation("a file that came twice") }
    wanted[0].partial = partial
    return partial
  }

  private func fail(_ index: Int, _ reason: String) {
    failureCount += 1
    guard failures.count < FileLimits.shownFailures else { return }
    let text = "\(FileName.printable(entries[index].path)) was not received: \(reason)"
    failures.append(text)
    Console.note("warning", text, [("message", .string(text))])
  }
}

private typealias Limits = HyperFileTransfer.Limits
