import Foundation
import XCTest

/// Every kind of standard input and output, with every way in which a connection of `connect` can end.
final class EndingTests: SharedTestnetTestCase {
  /// What the observed side has as standard input or output; the other descriptor is a pipe.
  private enum Kind: String, CaseIterable {
    case inputPipe, inputTerminal, inputClosed, inputNull, inputNonBlocking
    case outputPipe, outputTerminal, outputClosed, outputNull, outputNonBlocking, outputFull

    var redirection: String? {
      switch self {
      case .inputClosed: "<&-"
      case .inputNull: "</dev/null"
      case .outputClosed: ">&-"
      case .outputNull: ">/dev/null"
      case .outputFull: ">/dev/full"
      default: nil
      }
    }
  }

  private struct Pair {
    var kind: Kind
    var observed: ToolProcess
    var other: ToolProcess
    /// Ends of ours that have to stay open.
    var kept: [Int32]
  }

  /// Connections over which the listening side has sent four bytes.
  private func pairs(_ kinds: [Kind], _ options: [String] = []) throws -> [Pair] {
    let listeners = try kinds.map { _ in try ToolProcess(["listen"] + options, environment: try environment()) }
    let pairs = try zip(kinds, listeners).map { kind, listener in
      try listener.wait(for: "listening as")
      try listener.wait(for: "\n")
      return try pair(kind, listener, try XCTUnwrap(listener.announcedKey))
    }
    for pair in pairs {
      try pair.observed.wait(for: "connected with")
      try pair.other.wait(for: "connected with")
      pair.other.write("data")
    }
    return pairs
  }

  private func pair(_ kind: Kind, _ other: ToolProcess, _ key: String) throws -> Pair {
    var kept: [Int32] = []
    var input: FileHandle?
    var output: FileHandle?
    switch kind {
    case .inputTerminal, .outputTerminal:
      var master: Int32 = -1
      var slave: Int32 = -1
      try XCTSkipIf(openpty(&master, &slave, nil, nil, nil) != 0, "no pseudo terminal")
      kept = [master]
      let terminal = FileHandle(fileDescriptor: slave, closeOnDealloc: true)
      if kind == .inputTerminal { input = terminal } else { output = terminal }
    case .inputNonBlocking, .outputNonBlocking:
      var ends: [Int32] = [-1, -1]
      XCTAssertEqual(pipe(&ends), 0)
      let isInput = kind == .inputNonBlocking
      let theirs = ends[isInput ? 0 : 1]
      XCTAssertEqual(fcntl(theirs, F_SETFL, fcntl(theirs, F_GETFL) | O_NONBLOCK), 0)
      kept = [ends[isInput ? 1 : 0]]
      _ = fcntl(kept[0], F_SETFD, FD_CLOEXEC)
      let handle = FileHandle(fileDescriptor: theirs, closeOnDealloc: true)
      if isInput { input = handle } else { output = handle }
    default: break
    }
    let observed = try ToolProcess(
      ["connect", key], standardInput: input, standardOutput: output, redirection: kind.redirection,
      environment: try environment())
    return Pair(kind: kind, observed: observed, other: other, kept: kept)
  }

  private func finish(_ pair: Pair, _ expected: (observed: Int32, other: Int32), within seconds: Double) throws {
    for (process, status, name) in [
      (pair.observed, expected.observed, "connect"), (pair.other, expected.other, "listen"),
    ] {
      let result = try process.finish(seconds: seconds)
      XCTAssertEqual(result.status, status, "\(pair.kind) \(name): \(result.errors)")
    }
    for end in pair.kept { close(end) }
  }

  func testEveryDescriptorWithACleanEnd() throws {
    let pairs = try pairs(Kind.allCases)
    for pair in pairs { pair.other.closeInput() }
    for pair in pairs {
      // A full disk is an error on both sides, and the reason is named.
      let expected: (Int32, Int32) = pair.kind == .outputFull ? (1, 1) : (0, 0)
      try finish(pair, expected, within: 20)
    }
  }

  func testEveryDescriptorWithCtrlC() throws {
    let pairs = try pairs(Kind.allCases.filter { $0 != .outputFull }, ["--keep-open"])
    for pair in pairs { pair.observed.interrupt() }
    for pair in pairs { try finish(pair, (130, 1), within: 5) }
  }

  func testD1_aPeerThatIsKilledIsNoticedWithEveryDescriptor() throws {
    let pairs = try pairs(Kind.allCases.filter { $0 != .outputFull }, ["--keep-open"])
    for pair in pairs { pair.other.kill() }
    let start = Date()
    for pair in pairs { try finish(pair, (1, SIGKILL), within: 30) }
    XCTAssertLessThan(Date().timeIntervalSince(start), 30)
  }

  func testD1_aCallerThatIsKilledIsNoticedWithEveryDescriptor() throws {
    let pairs = try pairs(Kind.allCases.filter { $0 != .outputFull }, ["--keep-open"])
    for (number, pair) in pairs.enumerated() {
      pair.observed.kill()
      // Also when the listener's own half has ended.
      if number % 2 == 0 { pair.other.closeInput() }
    }
    for pair in pairs {
      // It had ended its half and had everything: what it cannot acknowledge any more is the end of the other half.
      let isComplete = pair.kind == .inputClosed
      try finish(pair, (SIGKILL, isComplete ? 0 : 1), within: 30)
    }
  }

  // MARK: Other commands

  func testD10_linesWaitForTheFirstPeer() throws {
    let early = try ToolProcess(["join", "a late room"], environment: try environment())
    try early.wait(for: "joined ")
    early.write("hi\n\nthird\n")
    try early.wait(for: "no peer is here yet: lines wait for the first one")
    let late = try ToolProcess(["join", "a late room", "--json"], environment: try environment())
    try late.wait(for: "\"text\":\"third\"")
    for process in [early, late] { process.interrupt() }
    let texts = try late.finish(seconds: 20).objects.compactMap { $0["text"] as? String }
    XCTAssertEqual(texts, ["hi", "", "third"], "an empty line is a line")
    try assertEnds(early, with: 0)
  }

  func testAChatThatIsNotReadAnyMoreEnds() throws {
    let reader = Foundation.Pipe()
    let member = try ToolProcess(
      ["join", "a room that is left"], standardOutput: reader.fileHandleForWriting, environment: try environment())
    try reader.fileHandleForWriting.close()
    try member.wait(for: "joined ")
    try reader.fileHandleForReading.close()
    let other = try ToolProcess(["join", "a room that is left"], environment: try environment())
    // The test ignores SIGPIPE, and so does its child: the code tells instead of the signal.
    try assertEnds(member, with: 1, saying: "standard output is closed")
    try other.wait(for: " left")
    other.interrupt()
    try assertEnds(other, with: 0)
  }

  func testD9_aStoppedMemberCostsNoMemory() throws {
    #if os(Linux)
      let member = try ToolProcess(
        ["join", "busy"], standardOutput: FileHandle.nullDevice, environment: try environment())
      try member.wait(for: "joined ")
      let talker = try ToolProcess(
        ["join", "busy"], standardInput: try endlessLines(), standardOutput: FileHandle.nullDevice,
        environment: try environment())
      try talker.wait(for: "joined ")
      sleep(1)
      XCTAssertEqual(Foundation.kill(member.identifier, SIGSTOP), 0)
      sleep(4)
      let status = try String(contentsOfFile: "/proc/\(talker.identifier)/status", encoding: .utf8)
      let resident = try XCTUnwrap(status.split(separator: "\n").first { $0.hasPrefix("VmRSS:") })
      let kibibytes = try XCTUnwrap(resident.split(whereSeparator: \.isWhitespace).compactMap { Int($0) }.first)
      // Sanitizers keep freed memory back on purpose.
      let isInstrumented = ProcessInfo.processInfo.environment["SANITIZE"].map { !$0.isEmpty } ?? false
      if !isInstrumented { XCTAssertLessThan(kibibytes, 150_000) }
      XCTAssertEqual(Foundation.kill(member.identifier, SIGCONT), 0)
      for process in [talker, member] {
        process.interrupt()
        XCTAssertEqual(try process.finish(seconds: 30).status, 0)
      }
    #endif
  }

  private func endlessLines() throws -> FileHandle {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = ["yes", "a line of text"]
    let output = Foundation.Pipe()
    process.standardOutput = output
    process.standardError = FileHandle.nullDevice
    try process.run()
    addTeardownBlock { process.terminate() }
    return output.fileHandleForReading
  }

  func testD11_ctrlCLeavesNoFilesOfTheDemo() throws {
    let folder = try makeFolder()
    for (text, size) in [("making a file", "4000"), ("server ", "20")] {
      let demo = try ToolProcess(["demo", "--size", size], environment: ["TMPDIR": folder.path])
      try demo.wait(for: text)
      XCTAssertEqual(try FileManager.default.contentsOfDirectory(atPath: folder.path).count, 1)
      demo.interrupt()
      try assertEnds(demo, with: 130, within: 10)
      XCTAssertEqual(try FileManager.default.contentsOfDirectory(atPath: folder.path), [], text)
    }
  }

  func testASecondSignalEndsAtOnce() throws {
    // The announcement cannot be withdrawn: the network is gone.
    let network = try LocalTestnet()
    let listener = try ToolProcess(["listen", "--bootstrap", network.bootstrap])
    try listener.wait(for: "listening as")
    network.process.kill()
    listener.interrupt()
    usleep(100_000)
    listener.interrupt()
    let result = try listener.finish(seconds: 2)
    XCTAssertTrue([SIGINT, 130].contains(result.status), "\(result.status)")
  }
}
