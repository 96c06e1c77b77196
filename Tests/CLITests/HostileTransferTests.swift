import Foundation
import HyperEncoding
import HyperFileTransfer
import XCTest

@testable import hyperswarm_cli

/// A sender and a receiver that break the protocol harm nothing.
final class HostileTransferTests: XCTestCase {
  private static let hello = Message.hello(version: Message.version, share: nil)

  private func file(_ path: String, _ size: UInt64) -> FileEntry {
    FileEntry(kind: .file, path: Array(path.utf8), size: size)
  }

  /// Runs a receiver against a script that does not listen.
  private func receive(
    _ script: [Message], raw: [[UInt8]] = [], ends: Bool = true, in test: TestFolder
  ) async throws -> (error: (any Error)?, receiver: Receiver) {
    let channels = MemoryChannel.pair()
    for message in script { try await channels.sender.send(message) }
    for message in raw { try await channels.sender.send(message) }
    if ends { channels.sender.end() }
    let receiver = Receiver(Receiver.Settings(output: try test.folder("out")), progress: TransferProgress())
    do {
      try await receiver.run(over: channels.receiver, code: nil)
      return (nil, receiver)
    } catch {
      return (error, receiver)
    }
  }

  /// The receiver gives up with these words, and nothing has a name.
  private func assertRefused(
    _ script: [Message], raw: [[UInt8]] = [], _ text: String, line: UInt = #line
  ) async throws {
    let test = try TestFolder()
    let (error, receiver) = try await receive(script, raw: raw, in: test)
    let found = try XCTUnwrap(error, line: line)
    XCTAssertTrue("\(found)".contains(text), "\(found)", line: line)
    if receiver.leave() == nil { XCTAssertEqual(test.names(), ["out"], line: line) }
    XCTAssertEqual(test.names().filter { !$0.contains(FileName.reserved) }, ["out"], line: line)
  }

  private func offer(_ entries: [FileEntry]) -> [Message] {
    let bytes = entries.reduce(0) { $0 + $1.size }
    return [HostileTransferTests.hello, .offer(entries: UInt64(entries.count), bytes: bytes), .entries(entries)]
  }

  func testHostileSender_escapes() async throws {
    for path in ["../x", "/etc/x", "a/../../x", "..", ".hyperswarm-receive-0/record", "a\0b"] {
      try await assertRefused(offer([file(path, 1)]), "the path")
    }
    try await assertRefused(offer([file("a", 1), file("a/b", 1)]), "without its folder")
  }

  func testHostileSender_speaksAnotherProtocol() async throws {
    let bytes = Array("HTTP/1.1 400 Bad Request".utf8)
    try await assertRefused([], raw: [bytes], "broke the protocol")
    try await assertRefused([], raw: [[1] + bytes], "does not speak")
    try await assertRefused([.hello(version: 2, share: nil)], "version 2")
    try await assertRefused([.offer(entries: 0, bytes: 0)], "does not speak")
    try await assertRefused([], "ended early")
    try await assertRefused([HostileTransferTests.hello], raw: [[UInt8](repeating: 6, count: 300_000)], "300000 bytes")
  }

  func testHostileSender_countsThatLie() async throws {
    let hello = HostileTransferTests.hello
    try await assertRefused([hello, .offer(entries: .max, bytes: 1)], "an offer of")
    try await assertRefused([hello, .offer(entries: 1, bytes: .max)], "an offer of")
    try await assertRefused([hello, .offer(entries: 1, bytes: 9), .entries([file("a", 8)])], "sum up")
    try await assertRefused([hello, .offer(entries: 2, bytes: 9), .entries([])], "without entries")
    try await assertRefused([hello, .offer(entries: 2, bytes: 9), .entries([file("a", 9)])], "ended early")
    try await assertRefused([hello, .offer(entries: 2, bytes: 9), .want(index: 0, offset: 0)], "no entries")
  }

  func testHostileSender_sizesThatLie() async throws {
    let offer = offer([file("a", 5)])
    try await assertRefused(offer + [.data([1, 2, 3, 4, 5, 6])], "more data")
    try await assertRefused(offer + [.data([1, 2, 3]), .data([1, 2, 3])], "more data")
    try await assertRefused(offer + [.hole(6)], "a hole")
    try await assertRefused(offer + [.hole(.max)], "a hole")
    try await assertRefused(offer + [.hole(0)], "a hole")
    try await assertRefused(offer + [.data([1, 2]), .done(Bytes32())], "less data")
    try await assertRefused(offer + [.data([1, 2])], "ended early")
    try await assertRefused(offer + [.complete(failures: 0)], "unexpected")
    // Nothing is left to ask for.
    try await assertRefused(self.offer([file("a", 1 << 44)]) + [.hole((1 << 44) + 1)], "a hole")
  }

  func testHostileSender_thatDoesNotEndIsLeft() async throws {
    let test = try TestFolder()
    let script = offer([file("a", 0)]) + [.done(FileDigest().finalize())]
    let (error, receiver) = try await receive(script, ends: false, in: test)
    XCTAssertNil(error)
    XCTAssertTrue(receiver.isComplete)
    XCTAssertEqual(test.names("out"), ["a"])
  }

  func testHostileSender_aWrongDigestGetsNoName() async throws {
    let test = try TestFolder()
    let entries = [file("a", 2), file("b", 0)]
    let digest = FileDigest()
    let script = offer(entries) + [.data([1, 2]), .done(Bytes32(repeating: 3)), .done(digest.finalize())]
    let (error, receiver) = try await receive(script, in: test)
    XCTAssertNil(error)
    XCTAssertEqual(receiver.failures.count, 1)
    XCTAssertEqual(test.names("out"), ["b"])
  }

  func testHostileSender_ofManyFailuresSomeAreNamed() async throws {
    let test = try TestFolder()
    let entries = (0..<300).map { file(String(format: "%03d", $0), 1) }
    let script = offer(entries) + entries.map { _ in .unavailable(Array("no".utf8)) }
    let (error, receiver) = try await receive(script, in: test)
    XCTAssertNil(error)
    XCTAssertEqual(receiver.failureCount, 300)
    XCTAssertEqual(receiver.failures.count, 100)
  }

  func testHostileSender_textsAreHarmless() async throws {
    let test = try TestFolder()
    let script = offer([file("a\u{1b}[2J", 2)]) + [.unavailable(Array("\u{1b}]0;title\u{7}".utf8))]
    let (error, receiver) = try await receive(script, in: test)
    XCTAssertNil(error)
    XCTAssertFalse(receiver.failures.joined().unicodeScalars.contains { $0.value < 0x20 })
    let refused = try await receive(
      [HostileTransferTests.hello, .refuse(.failed, Array("\u{1b}[2Jno".utf8))], in: test)
    XCTAssertFalse("\(try XCTUnwrap(refused.error))".unicodeScalars.contains { $0.value < 0x20 })
  }

  func testHostileSender_declinedOffersLeaveNothing() async throws {
    let test = try TestFolder()
    let output = try test.folder("out")
    let channels = MemoryChannel.pair()
    for message in offer([file("a", 5)]) { try await channels.sender.send(message) }
    let settings = Receiver.Settings(output: output, accepts: { _ in false })
    let receiver = Receiver(settings, progress: TransferProgress())
    channels.sender.end()
    do {
      try await receiver.run(over: channels.receiver, code: nil)
      XCTFail("not declined")
    } catch { XCTAssertTrue("\(error)".contains("nothing was received"), "\(error)") }
    XCTAssertEqual(test.names("out"), [])
  }

  // MARK: Receivers

  private func send(_ script: [Message], raw: [[UInt8]] = [], gate: CodeGate? = nil) async throws -> any Error {
    let test = try TestFolder()
    _ = try test.folder("in/d")
    try test.file("in/d/a", [1, 2, 3])
    let tree = try SourceTree(paths: [test.path + "/in/d"])
    let channels = MemoryChannel.pair()
    for message in script { try await channels.receiver.send(message) }
    for message in raw { try await channels.receiver.send(message) }
    channels.receiver.end()
    do {
      _ = try await Sender(tree: tree, channel: channels.sender, gate: gate, progress: TransferProgress()).run()
    } catch { return error }
    throw Failure("no error")
  }

  private func assertRefused(_ error: any Error, _ text: String, line: UInt = #line) {
    XCTAssertTrue("\(error)".contains(text), "\(error)", line: line)
  }

  func testHostileReceiver_wishesForWhatIsNotThere() async throws {
    let hello = HostileTransferTests.hello
    // Entry 0 is the folder.
    for want in [(0, 0), (2, 0), (UInt64.max, 0), (1, 4), (1, UInt64.max)] as [(UInt64, UInt64)] {
      assertRefused(try await send([hello, .want(index: want.0, offset: want.1)]), "not offered")
    }
    assertRefused(try await send([hello, .data([1])]), "unexpected")
    assertRefused(try await send([hello, .want(index: 1, offset: 0)]), "ended early")
    assertRefused(try await send([.complete(failures: 0)]), "does not speak")
    assertRefused(try await send([.hello(version: 3, share: nil)]), "version 3")
    assertRefused(try await send([], raw: [Array("GET / HTTP/1.1".utf8)]), "broke the protocol")
    assertRefused(try await send([]), "ended early")
  }

  func testHostileReceiver_withoutTheCode() async throws {
    let gate = CodeGate(.random())
    let share = CPace(password: [1], channel: [], session: []).share
    assertRefused(try await send([HostileTransferTests.hello], gate: gate), "code")
    // A share that is none, and a run that ends before its guess: neither is a guess.
    assertRefused(
      try await send([.hello(version: 1, share: Bytes32(repeating: 0xff))], gate: gate), "a share that is none")
    assertRefused(try await send([.hello(version: 1, share: share)], gate: gate), "ended early")
    assertRefused(
      try await send([.hello(version: 1, share: share), .want(index: 1, offset: 0)], gate: gate), "no confirmation")
    XCTAssertFalse(gate.isOver)
    assertRefused(try await send([.hello(version: 1, share: share), .confirm(Bytes32())], gate: gate), "code is wrong")
    XCTAssertTrue(gate.isOver)
  }

  /// Before the code is proved, the sender's messages say nothing of what it offers.
  func testHostileReceiver_learnsNothingWithoutTheCode() async throws {
    let test = try TestFolder()
    _ = try test.folder("in")
    let path = try test.file("in/secret name", [1, 2, 3])
    let channels = MemoryChannel.pair()
    let tree = try SourceTree(paths: [path])
    let share = CPace(password: [1], channel: [], session: []).share
    try await channels.receiver.send(.hello(version: 1, share: share))
    try await channels.receiver.send(.confirm(Bytes32()))
    channels.receiver.end()
    let gate = CodeGate(.random())
    _ = try? await Sender(tree: tree, channel: channels.sender, gate: gate, progress: TransferProgress()).run()
    var kinds: [UInt8] = []
    while let message = try await channels.receiver.receive() {
      kinds.append(message[0])
      XCTAssertLessThan(message.count, 128)
    }
    XCTAssertEqual(kinds, [1, 11], "its greeting, and its refusal")
  }
}
