import HyperCrypto
import HyperEncoding
import HyperFileTransfer

/// One receiver, served over one connection.
struct Sender: Sendable {
  let tree: SourceTree
  let channel: any TransferChannel
  /// `nil`: the key is enough.
  let gate: CodeGate?
  let progress: TransferProgress

  /// Returns when the receiver has all that it wants: how many files it could not get.
  func run() async throws -> UInt64 {
    do {
      try await greet()
      channel.settle()
      progress.begin(files: tree.entries.count { $0.kind == .file }, bytes: tree.bytes)
      return try await serve()
    } catch {
      await channel.giveUp(because: error)
      throw error
    }
  }

  /// Within a time, so that strangers do not hold places.
  private func greet() async throws {
    let deadline = Task {
      try await Task.sleep(for: FileLimits.greeting)
      channel.destroy()
    }
    defer { deadline.cancel() }
    guard case .hello(let version, let share) = try await channel.next() else { throw TransferError.foreign }
    guard version == Message.version else { throw TransferError.version(version) }
    guard let gate else {
      guard share == nil else { throw TransferError.noCode("this offer has no code, but a key") }
      return try await channel.send(.hello(version: Message.version, share: nil))
    }
    guard let share else { throw TransferError.noCode("this offer needs its code") }
    guard gate.lets(channel.peer) else { throw TransferError.noCode("the code has ended") }
    let pairing = Pairing(code: gate.code, channel: channel.pairing(isReceiver: false), isReceiver: false)
    let expected = try pairing.confirmations(with: share)
    try await channel.send(.hello(version: Message.version, share: pairing.share))
    guard case .confirm(let confirmation) = try await channel.next() else {
      throw TransferError.violation("no confirmation of the code")
    }
    let isRight = constantTimeEqual(confirmation, expected.ofReceiver)
    guard gate.judge(channel.peer, isRight: isRight) else { throw TransferError.wrongCode }
    try await channel.send(.confirm(expected.ofSender))
  }

  private func serve() async throws -> UInt64 {
    try await channel.send(.offer(entries: UInt64(tree.entries.count), bytes: tree.bytes))
    for page in Manifest.pages(tree.entries) { try await channel.send(.entries(Array(page))) }
    let (wants, continuation) = AsyncStream<Want>.makeStream(bufferingPolicy: .bufferingOldest(Limits.wants))
    return try await withThrowingTaskGroup(of: UInt64?.self) { group in
      group.addTask {
        defer { continuation.finish() }
        return try await takeWants(continuation)
      }
      group.addTask {
        for await want in wants { try await answer(want) }
        return nil
      }
      var failures: UInt64 = 0
      while let result = try await group.next() { failures = result ?? failures }
      channel.end()
      return failures
    }
  }

  private struct Want: Sendable {
    let index: Int
    let offset: UInt64
  }

  private func takeWants(_ queue: AsyncStream<Want>.Continuation) async throws -> UInt64 {
    while true {
      switch try await channel.next() {
      case .want(let index, let offset):
        guard index < UInt64(tree.entries.count), tree.entries[Int(index)].kind == .file,
          offset <= tree.entries[Int(index)].size
        else { throw TransferError.violation("a wish for what was not offered") }
        guard case .enqueued = queue.yield(Want(index: Int(index), offset: offset)) else {
          throw TransferError.violation("more than \(Limits.wants) wishes at a time")
        }
      case .complete(let failures): return failures
      default: throw TransferError.violation("an unexpected message")
      }
    }
  }

  private func answer(_ want: Want) async throws {
    let entry = tree.entries[want.index]
    let name = FileName.printable(entry.path)
    progress.file(name, size: entry.size, at: want.offset, before: tree.bytesBefore[want.index])
    let reader: SourceReader
    let last: Message
    do {
      reader = try tree.open(want.index)
      try reader.skip(to: want.offset)
    } catch {
      return try await regret(error)
    }
    while true {
      let message: [UInt8]?
      do { message = try reader.nextMessage() } catch { return try await regret(error) }
      guard let message else { break }
      try await channel.send(message)
      progress.advance(to: reader.position)
    }
    do { last = try reader.finish() } catch { return try await regret(error) }
    try await channel.send(last)
  }

  /// The file cannot be had; the others can.
  private func regret(_ error: any Error) async throws {
    Console.note("warning", "\(error)", [("message", .string("\(error)"))])
    // Names of places on this machine are not the receiver's business.
    try await channel.send(.unavailable(Array("the sender cannot read it, or it has changed".utf8)))
  }
}

private typealias Limits = HyperFileTransfer.Limits
