import Foundation
import XCTest

/// `listen` and `connect` between pipes, files and terminals, and how they end.
final class PipeTests: XCTestCase {
  nonisolated(unsafe) private static var network: LocalTestnet?

  override static func tearDown() {
    network = nil
    super.tearDown()
  }

  private func bootstrap() throws -> String {
    if let network = PipeTests.network { return network.bootstrap }
    let made = try LocalTestnet()
    PipeTests.network = made
    return made.bootstrap
  }

  private func listen(
    _ options: [String] = [], standardInput: FileHandle? = nil, standardOutput: FileHandle? = nil,
    redirection: String? = nil
  ) throws -> (process: ToolProcess, key: String) {
    let process = try ToolProcess(
      ["listen", "--bootstrap", try bootstrap()] + options, standardInput: standardInput,
      standardOutput: standardOutput, redirection: redirection)
    try process.wait(for: "listening")
    try process.wait(for: "\n")
    return (process, try XCTUnwrap(process.announcedKey))
  }

  private func connect(
    _ key: String, _ options: [String] = [], standardInput: FileHandle? = nil, standardOutput: FileHandle? = nil
  ) throws -> ToolProcess {
    try ToolProcess(
      ["connect", key, "--bootstrap", try bootstrap()] + options, standardInput: standardInput,
      standardOutput: standardOutput)
  }

  private func assertEnds(
    _ process: ToolProcess, with status: Int32, within seconds: Double = 20, saying text: String? = nil,
    file: StaticString = #filePath, line: UInt = #line
  ) throws {
    let result = try process.finish(seconds: seconds)
    XCTAssertEqual(result.status, status, result.errors, file: file, line: line)
    if let text { XCTAssertTrue(result.errors.contains(text), result.errors, file: file, line: line) }
  }

  // MARK: The end

  func testPipe_anInputThatNobodyWritesToIsNotWaitedForForEver() throws {
    let (listener, key) = try listen()
    let connector = try connect(key)
    connector.write("all of it")
    connector.closeInput()
    try assertEnds(connector, with: 0)
    let result = try listener.finish(seconds: 5)
    XCTAssertEqual(result.status, 0, result.errors)
    XCTAssertEqual(result.text, "all of it")
  }

  func testPipe_aTerminalIsNotWaitedFor() throws {
    var master: Int32 = -1
    var slave: Int32 = -1
    try XCTSkipIf(openpty(&master, &slave, nil, nil, nil) != 0, "no pseudo terminal")
    defer { close(master) }
    let (listener, key) = try listen(standardInput: FileHandle(fileDescriptor: slave, closeOnDealloc: true))
    let connector = try connect(key)
    connector.write("all of it")
    let start = Date()
    connector.closeInput()
    try assertEnds(connector, with: 0)
    try assertEnds(listener, with: 0)
    XCTAssertLessThan(Date().timeIntervalSince(start), 4.5, "ends before the silence of other inputs is up")
  }

  func testPipe_aLateAnswerArrives() throws {
    let (listener, key) = try listen()
    let connector = try connect(key)
    connector.write("question")
    connector.closeInput()
    try listener.wait(for: "question")
    Thread.sleep(forTimeInterval: 2)
    listener.write("late ")
    Thread.sleep(forTimeInterval: 4)
    listener.write("answer")
    listener.closeInput()
    let result = try connector.finish(seconds: 20)
    XCTAssertEqual(result.status, 0, result.errors)
    XCTAssertEqual(result.text, "late answer")
    try assertEnds(listener, with: 0)
  }

  func testPipe_keepOpenWaitsForTheEndOfItsInput() throws {
    let (listener, key) = try listen(["--keep-open"])
    let connector = try connect(key)
    connector.closeInput()
    try connector.wait(for: "connected with")
    Thread.sleep(forTimeInterval: 7)
    listener.write("very late")
    listener.closeInput()
    let result = try connector.finish(seconds: 20)
    XCTAssertEqual(result.text, "very late", result.errors)
    XCTAssertEqual(result.status, 0)
  }

  func testPipe_oneWayOnly() throws {
    let (listener, key) = try listen(["--recv-only"])
    let connector = try connect(key, ["--send-only"])
    connector.write("one way")
    connector.closeInput()
    listener.write("not read")
    try assertEnds(connector, with: 0, within: 5)
    let result = try listener.finish(seconds: 5)
    XCTAssertEqual(result.status, 0, result.errors)
    XCTAssertEqual(result.text, "one way")
  }

  func testPipe_aSenderEndsWellBesideAPeerThatWaitsForItsOwnInput() throws {
    let (listener, key) = try listen()
    let connector = try connect(key, ["--send-only"])
    connector.write("one way")
    connector.closeInput()
    try assertEnds(connector, with: 0)
    try assertEnds(listener, with: 0)
  }

  // MARK: Signals

  func testPipe_signalsTellThePeerAtOnce() throws {
    for (isListener, isInterrupt) in [(true, true), (true, false), (false, true), (false, false)] {
      let (listener, key) = try listen()
      let connector = try connect(key)
      try listener.wait(for: "connected with")
      try connector.wait(for: "connected with")
      let (victim, other) = isListener ? (listener, connector) : (connector, listener)
      if isInterrupt { victim.interrupt() } else { victim.terminate() }
      try assertEnds(victim, with: isInterrupt ? 130 : 143, within: 5)
      try assertEnds(other, with: 1, within: 5, saying: "ECONNRESET")
    }
  }

  func testPipe_aSignalWhileDialling() throws {
    let (listener, key) = try listen()
    // Its announcement stays: the dial goes on for seconds.
    listener.kill()
    _ = try listener.finish()
    let connector = try connect(key)
    try connector.wait(for: "connecting to \(key): no answer yet\n")
    connector.interrupt()
    try assertEnds(connector, with: 130, within: 4)
  }

  // MARK: Callers

  func testPipe_aSecondCallerIsRefused() throws {
    let (listener, key) = try listen()
    let first = try connect(key)
    try first.wait(for: "connected with")
    try listener.wait(for: "connected with")
    let second = try connect(key)
    second.write("lost?")
    try assertEnds(second, with: 1, within: 10, saying: "the server is busy")
    first.write("served")
    first.closeInput()
    listener.closeInput()
    try assertEnds(first, with: 0)
    let result = try listener.finish(seconds: 20)
    XCTAssertEqual(result.text, "served", result.errors)
  }

  // MARK: Descriptors

  func testPipe_inputThatDoesNotBlockIsReadToItsEnd() throws {
    let pipe = Foundation.Pipe()
    let reading = pipe.fileHandleForReading.fileDescriptor
    XCTAssertEqual(fcntl(reading, F_SETFL, fcntl(reading, F_GETFL) | O_NONBLOCK), 0)
    let (listener, key) = try listen(["--recv-only"])
    let connector = try connect(key, standardInput: pipe.fileHandleForReading)
    try connector.wait(for: "connected with")
    for text in ["first, ", "second, ", "third"] {
      try pipe.fileHandleForWriting.write(contentsOf: Data(text.utf8))
      // The input is empty again.
      try listener.wait(for: text)
    }
    try pipe.fileHandleForWriting.close()
    try assertEnds(connector, with: 0)
    XCTAssertEqual(try listener.finish(seconds: 20).text, "first, second, third")
  }

  func testPipe_outputThatDoesNotBlockIsWaitedFor() throws {
    let pipe = Foundation.Pipe()
    let writing = pipe.fileHandleForWriting.fileDescriptor
    XCTAssertEqual(fcntl(writing, F_SETFL, fcntl(writing, F_GETFL) | O_NONBLOCK), 0)
    let sent = [UInt8](repeating: 7, count: 1 << 20)
    var full: Int32 = 16_384
    #if os(Linux)
      let setCapacity: Int32 = 1031  // F_SETPIPE_SZ, which Swift does not import
      full = fcntl(writing, setCapacity, 4096)
    #endif
    let (listener, key) = try listen()
    let connector = try connect(key, standardOutput: pipe.fileHandleForWriting)
    try pipe.fileHandleForWriting.close()
    connector.closeInput()
    DispatchQueue.global().async {
      listener.write(sent)
      listener.closeInput()
    }
    let deadline = Date(timeIntervalSinceNow: 20)
    var waiting: Int32 = 0
    while waiting < full, Date() < deadline {
      XCTAssertEqual(ioctl(pipe.fileHandleForReading.fileDescriptor, UInt(FIONREAD), &waiting), 0)
      usleep(1000)
    }
    XCTAssertGreaterThanOrEqual(waiting, full, "the pipe is full")
    let received = try XCTUnwrap(try pipe.fileHandleForReading.readToEnd())
    XCTAssertTrue([UInt8](received) == sent, "\(received.count) bytes")
    try assertEnds(connector, with: 0)
    try assertEnds(listener, with: 0)
  }

  func testPipe_anInputThatCannotBeReadIsNoEnd() throws {
    let folder = try XCTUnwrap(FileHandle(forReadingAtPath: "/"))
    let (listener, key) = try listen()
    try assertEnds(try connect(key, standardInput: folder), with: 1, saying: "cannot read standard input")
    try assertEnds(listener, with: 1, saying: "ECONNRESET")
  }

  func testPipe_aFullDiskIsNamed() throws {
    let full = try XCTUnwrap(FileHandle(forWritingAtPath: "/dev/full"))
    let (listener, key) = try listen()
    let connector = try connect(key, standardOutput: full)
    listener.write("does not fit")
    try assertEnds(connector, with: 1, saying: "No space left on device")
    try assertEnds(listener, with: 1, saying: "ECONNRESET")
    try assertEnds(try ToolProcess(["keygen"], standardOutput: full), with: 1, saying: "No space left on device")
  }

  func testPipe_closedDescriptorsAreEmpty() throws {
    let (listener, key) = try listen(redirection: "<&- >&-")
    let connector = try connect(key)
    connector.write("into the void")
    connector.closeInput()
    let result = try connector.finish(seconds: 20)
    XCTAssertEqual(result.status, 0, result.errors)
    XCTAssertEqual(result.output, [])
    try assertEnds(listener, with: 0)
  }

  func testPipe_errorsDoNotMixWithTheData() throws {
    let (listener, key) = try listen()
    let connector = try connect(key, ["--json"])
    try listener.wait(for: "connected with")
    listener.write("DATA")
    try connector.wait(for: "DATA")
    listener.interrupt()
    let result = try connector.finish(seconds: 20)
    XCTAssertEqual(result.status, 1)
    XCTAssertEqual(result.text, "DATA")
    let last = try XCTUnwrap(result.errorLines.last)
    let object = try JSONSerialization.jsonObject(with: Data(last.utf8)) as? [String: Any]
    XCTAssertEqual(object?["code"] as? String, "ECONNRESET", result.errors)
    _ = try listener.finish(seconds: 5)
  }
}
