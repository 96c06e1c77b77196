import Foundation
import HyperEncoding
import HyperFileTransfer
import XCTest

@testable import hyperswarm_cli

/// Both sides of a transfer over a channel in memory, on real files.
final class FileSessionTests: XCTestCase {
  private func receiver(_ folder: String, replaces: Bool = false) -> Receiver {
    let storing = Destination.Options(replaces: replaces)
    return Receiver(Receiver.Settings(output: folder, storing: storing), progress: TransferProgress())
  }

  /// What the sender and the receiver end with.
  private func transfer(
    _ paths: [String], to receiver: Receiver, gate: CodeGate? = nil, code: TransferCode? = nil,
    senderSends: Int = .max
  ) async throws -> (sender: Result<UInt64, any Error>, receiver: Result<Void, any Error>) {
    let tree = try SourceTree(paths: paths)
    let channels = MemoryChannel.pair(senderSends: senderSends)
    let sending = Task { () -> Result<UInt64, any Error> in
      do {
        let sender = Sender(tree: tree, channel: channels.sender, gate: gate, progress: TransferProgress())
        return .success(try await sender.run())
      } catch { return .failure(error) }
    }
    do {
      try await receiver.run(over: channels.receiver, code: code)
      return (await sending.value, .success(()))
    } catch { return (await sending.value, .failure(error)) }
  }

  private func assertFails<T>(
    _ result: Result<T, any Error>, _ text: String, file: StaticString = #filePath, line: UInt = #line
  ) {
    guard case .failure(let error) = result else { return XCTFail("no error", file: file, line: line) }
    XCTAssertTrue("\(error)".contains(text), "\(error)", file: file, line: line)
  }

  private func status(_ path: String) -> stat {
    var status = stat()
    lstat(path, &status)
    return status
  }

  func testFiles_aTreeArrivesAsItIs() async throws {
    let test = try TestFolder()
    _ = try test.folder("in/tree/deep/er")
    _ = try test.folder("in/tree/empty")
    let big = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
    try test.file("in/tree/deep/er/big", big, permissions: 0o600)
    try test.file("in/tree/none", [], permissions: 0o755)
    try test.file("in/tree/read only", [1], permissions: 0o444, time: -5)
    for index in 0..<200 { try test.file("in/tree/deep/\(index)", Array("\(index)".utf8)) }
    symlink("none", test.path + "/in/tree/link")
    mkfifo(test.path + "/in/tree/pipe", 0o600)
    chmod(test.path + "/in/tree/empty", 0o500)
    test.setTime(test.path + "/in/tree/deep", 77)
    let output = try test.folder("out")
    let receiver = receiver(output)
    let result = try await transfer([test.path + "/in/tree/", test.path + "/in/tree/none"], to: receiver)
    XCTAssertEqual(try result.sender.get(), 0)
    try result.receiver.get()
    let expected = test.names("in").filter { !$0.hasSuffix("link") && !$0.hasSuffix("pipe") } + ["none"]
    XCTAssertEqual(test.names("out"), expected.sorted())
    XCTAssertEqual(test.content("out/tree/deep/er/big"), big)
    XCTAssertEqual(test.content("out/tree/deep/7"), Array("7".utf8))
    for name in ["tree/deep/er/big", "tree/none", "tree/read only", "tree/deep", "tree/empty", "tree/deep/7"] {
      let (sent, received) = (status("\(test.path)/in/\(name)"), status("\(output)/\(name)"))
      XCTAssertEqual(sent.st_mode, received.st_mode, name)
      XCTAssertTrue(received.hasChanged(at: Int64(sent.changed.tv_sec), UInt32(sent.changed.tv_nsec)), name)
    }
  }

  func testFiles_holesStayHoles() async throws {
    let test = try TestFolder()
    _ = try test.folder("in")
    let path = try test.file("in/sparse", [1, 2, 3])
    let size = off_t(100) << 30
    XCTAssertEqual(truncate(path, size), 0)
    let handle = try XCTUnwrap(FileHandle(forUpdatingAtPath: path))
    try handle.seek(toOffset: 50 << 30)
    try handle.write(contentsOf: Data([9]))
    try handle.close()
    guard status(path).isSparse else { throw XCTSkip("this file system has no holes") }
    let clock = ContinuousClock()
    let start = clock.now
    let result = try await transfer([path], to: receiver(try test.folder("out")))
    try result.receiver.get()
    XCTAssertLessThan(clock.now - start, .seconds(20))
    let received = status(test.path + "/out/sparse")
    XCTAssertEqual(received.st_size, size)
    XCTAssertLessThan(Int64(received.st_blocks) * 512, 10 << 20)
    let copy = try XCTUnwrap(FileHandle(forReadingAtPath: test.path + "/out/sparse"))
    XCTAssertEqual(try copy.read(upToCount: 4), Data([1, 2, 3, 0]))
    try copy.seek(toOffset: 50 << 30)
    XCTAssertEqual(try copy.read(upToCount: 2), Data([9, 0]))
  }

  func testFiles_nothingIsReplacedWithoutForce() async throws {
    let test = try TestFolder()
    _ = try test.folder("in/a")
    _ = try test.folder("out/a")
    try test.file("in/a/x", [1])
    try test.file("in/a/y", [2])
    try test.file("out/a/y", [3])
    try test.file("out/a/z", [4])
    let before = test.names("out")
    assertFails(try await transfer([test.path + "/in/a"], to: receiver(test.path + "/out")).receiver, "a/y is there")
    XCTAssertEqual(test.names("out"), before, "nothing is left behind")
    XCTAssertEqual(test.content("out/a/y"), [3])
    let forced = receiver(test.path + "/out", replaces: true)
    try await transfer([test.path + "/in/a"], to: forced).receiver.get()
    XCTAssertEqual(test.names("out"), ["a", "a/x", "a/y", "a/z"])
    XCTAssertEqual(test.content("out/a/y"), [2])
    XCTAssertEqual(test.content("out/a/z"), [4])
  }

  func testFiles_linksInTheWayAreNotFollowed() async throws {
    let test = try TestFolder()
    _ = try test.folder("in/a")
    _ = try test.folder("elsewhere")
    _ = try test.folder("out")
    try test.file("in/a/x", [1])
    try test.file("elsewhere/precious", [5])
    symlink("../elsewhere", test.path + "/out/a")
    for replaces in [false, true] {
      let result = try await transfer([test.path + "/in/a"], to: receiver(test.path + "/out", replaces: replaces))
      assertFails(result.receiver, "a is there, and no folder")
    }
    XCTAssertEqual(test.names("elsewhere"), ["precious"])
    // A link under the name of a file is replaced itself, not what it leads to.
    symlink("elsewhere/precious", test.path + "/out/x")
    assertFails(
      try await transfer([test.path + "/in/a/x"], to: receiver(test.path + "/out")).receiver, "x is there already")
    try await transfer([test.path + "/in/a/x"], to: receiver(test.path + "/out", replaces: true)).receiver.get()
    XCTAssertEqual(test.content("elsewhere/precious"), [5])
    XCTAssertEqual(test.content("out/x"), [1])
    XCTAssertTrue(status(test.path + "/out/x").isFile)
  }

  func testFiles_goOnOverOtherConnections() async throws {
    let test = try TestFolder()
    _ = try test.folder("in")
    let big = (0..<2_000_000).map { UInt8(truncatingIfNeeded: $0 &* 13) }
    let paths = [
      try test.file("in/a", [1, 2]), try test.file("in/b", big), try test.file("in/c", [UInt8](big.reversed())),
    ]
    let receiver = receiver(try test.folder("out"))
    var attempts = 0
    // Each connection carries some messages more than the last one got to.
    while !receiver.isComplete, attempts < 50 {
      attempts += 1
      _ = try await transfer(paths, to: receiver, senderSends: 7)
    }
    XCTAssertGreaterThan(attempts, 3)
    XCTAssertTrue(receiver.isComplete)
    XCTAssertEqual(test.names("out"), ["a", "b", "c"])
    XCTAssertEqual(test.content("out/b"), big)
    XCTAssertEqual(test.content("out/c"), big.reversed())
  }

  func testFiles_goOnInAnotherProcess() async throws {
    let test = try TestFolder()
    _ = try test.folder("in")
    let big = (0..<2_000_000).map { UInt8(truncatingIfNeeded: $0 &* 13) }
    let paths = [try test.file("in/a", [1, 2]), try test.file("in/b", big)]
    let output = try test.folder("out")
    // Another receiver each time: what is known is what lies in the folder.
    var first: Receiver? = receiver(output)
    _ = try await transfer(paths, to: try XCTUnwrap(first), senderSends: 8)
    let left = try XCTUnwrap(first?.leave())
    first = nil
    XCTAssertEqual(test.names("out"), [left, left + "/1.part", left + "/record", "a"])
    XCTAssertEqual(status(output + "/" + left).st_mode & 0o777, 0o700)
    let second = receiver(output)
    let result = try await transfer(paths, to: second)
    try result.receiver.get()
    XCTAssertEqual(test.names("out"), ["a", "b"])
    XCTAssertEqual(test.content("out/b"), big)
  }

  func testFiles_aDamagedBeginningIsReceivedAgain() async throws {
    let test = try TestFolder()
    _ = try test.folder("in")
    let big = (0..<2_000_000).map { UInt8(truncatingIfNeeded: $0 &* 13) }
    let paths = [try test.file("in/b", big)]
    let output = try test.folder("out")
    var first: Receiver? = receiver(output)
    _ = try await transfer(paths, to: try XCTUnwrap(first), senderSends: 6)
    let left = try XCTUnwrap(first?.leave())
    first = nil
    let handle = try XCTUnwrap(FileHandle(forUpdatingAtPath: "\(output)/\(left)/0.part"))
    try handle.write(contentsOf: Data([99]))
    try handle.close()
    let second = receiver(output)
    try await transfer(paths, to: second).receiver.get()
    XCTAssertEqual(second.failures, [])
    XCTAssertEqual(test.content("out/b"), big)
  }

  func testFiles_whatOthersCouldWriteToIsNotTrusted() async throws {
    let test = try TestFolder()
    _ = try test.folder("in")
    let paths = [try test.file("in/b", [UInt8](repeating: 1, count: 2_000_000))]
    let output = try test.folder("out")
    var first: Receiver? = receiver(output)
    _ = try await transfer(paths, to: try XCTUnwrap(first), senderSends: 6)
    let left = try XCTUnwrap(first?.leave())
    first = nil
    chmod("\(output)/\(left)", 0o770)
    assertFails(try await transfer(paths, to: receiver(output)).receiver, "not this user's own")
    try FileManager.default.removeItem(atPath: "\(output)/\(left)")
    symlink("/tmp", "\(output)/\(left)")
    assertFails(try await transfer(paths, to: receiver(output)).receiver, "cannot open")
  }

  func testFiles_oneReceiverAtATimeInAPlace() async throws {
    let test = try TestFolder()
    _ = try test.folder("in")
    let paths = [try test.file("in/b", [UInt8](repeating: 1, count: 2_000_000))]
    let output = try test.folder("out")
    let first = receiver(output)
    _ = try await transfer(paths, to: first, senderSends: 6)
    assertFails(try await transfer(paths, to: receiver(output)).receiver, "being received there already")
    try await transfer(paths, to: first).receiver.get()
  }

  func testFiles_aChangedFileIsNotSent() async throws {
    let test = try TestFolder()
    _ = try test.folder("in")
    let paths = [try test.file("in/a", [1]), try test.file("in/b", [2]), try test.file("in/c", [3])]
    let tree = try SourceTree(paths: paths)
    try test.file("in/a", [7])
    unlink(paths[2])
    mkfifo(paths[2], 0o600)
    let channels = MemoryChannel.pair()
    let sending = Task {
      try await Sender(tree: tree, channel: channels.sender, gate: nil, progress: TransferProgress()).run()
    }
    let receiver = receiver(try test.folder("out"))
    test.setTime(paths[0], 5)
    try await receiver.run(over: channels.receiver, code: nil)
    let failures = try await sending.value
    XCTAssertEqual(failures, 2)
    XCTAssertEqual(receiver.failures.count, 2)
    XCTAssertEqual(test.names("out"), ["b"])
  }

  func testFiles_namesAreMadeHarmless() async throws {
    let test = try TestFolder()
    _ = try test.folder("in/odd")
    for name in ["new\nline", "\u{1b}[2J", "-rf", " ", "ü 🐚", String(repeating: "n", count: 255)] {
      try test.file("in/odd/" + name, [1])
    }
    let result = try await transfer([test.path + "/in/odd"], to: receiver(try test.folder("out")))
    try result.receiver.get()
    XCTAssertEqual(
      test.names("out/odd"), [" ", "-rf", "_[2J", "new_line", String(repeating: "n", count: 255), "ü 🐚"].sorted())
    try test.file("in/odd/new_line", [2])
    assertFails(
      try await transfer([test.path + "/in/odd"], to: receiver(try test.folder("out2"))).receiver,
      "two files would be called")
    XCTAssertEqual(test.names("out2"), [])
  }

  // MARK: Codes

  func testFiles_byCode() async throws {
    let test = try TestFolder()
    _ = try test.folder("in")
    let paths = [try test.file("in/a", [1])]
    let code = TransferCode.random()
    let gate = CodeGate(code)
    let result = try await transfer(paths, to: receiver(try test.folder("out")), gate: gate, code: code)
    try result.receiver.get()
    // Any number of receivers, until one is wrong.
    try await transfer(paths, to: receiver(try test.folder("out2")), gate: gate, code: code).receiver.get()
    XCTAssertFalse(gate.isOver)
  }

  func testFiles_oneWrongGuessEndsTheCode() async throws {
    let test = try TestFolder()
    _ = try test.folder("in")
    let paths = [try test.file("in/a", [1])]
    let code = try TransferCode("12345-acorn-cactus-piano")
    let gate = CodeGate(code)
    let output = try test.folder("out")
    let wrong = try await transfer(
      paths, to: receiver(output), gate: gate, code: try TransferCode("12345-acorn-cactus-puzzle"))
    assertFails(wrong.sender, "the code is wrong")
    assertFails(wrong.receiver, "the code is wrong")
    XCTAssertTrue(gate.isOver)
    let right = try await transfer(paths, to: receiver(output), gate: gate, code: code)
    assertFails(right.receiver, "the code has ended")
    XCTAssertEqual(test.names("out"), [])
    assertFails(try await transfer(paths, to: receiver(output), gate: CodeGate(code)).receiver, "needs its code")
    assertFails(try await transfer(paths, to: receiver(output), code: code).receiver, "has no code")
  }
}
