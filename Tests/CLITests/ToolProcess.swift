import Foundation
import XCTest

/// The built `hyperswarm` binary, running.
final class ToolProcess: @unchecked Sendable {
  struct Finished {
    var status: Int32
    var output: [UInt8]
    var errors: String
    var text: String { String(decoding: output, as: UTF8.self) }
    var errorLines: [Substring] { errors.split(separator: "\n") }
    /// Standard output as JSON lines.
    var objects: [[String: Any]] {
      text.split(separator: "\n").compactMap {
        (try? JSONSerialization.jsonObject(with: Data($0.utf8))) as? [String: Any]
      }
    }
    func object(_ event: String) -> [String: Any]? { objects.first { $0["event"] as? String == event } }
  }

  struct TimedOut: Error, CustomStringConvertible {
    var description: String
  }

  private let process = Process()
  private let input = Pipe()
  private let condition = NSCondition()
  private var output: [UInt8] = []
  private var errors: [UInt8] = []
  private var openPipes = 2
  private var hasExited = false

  /// Beside the test bundle.
  static var binary: URL {
    var folder = Bundle(for: ToolProcess.self).bundleURL
    if folder.pathExtension == "xctest" { folder.deleteLastPathComponent() }
    return folder.appendingPathComponent("hyperswarm")
  }

  /// - Parameters:
  ///   - standardInput: instead of a pipe that `write` writes to.
  ///   - standardOutput: instead of being collected.
  ///   - redirection: of a shell, behind the command.
  ///   - program: instead of the tool.
  ///   - environment: besides what the tests have; the tool's own variables come from here only.
  init(
    _ arguments: [String], standardInput: FileHandle? = nil, standardOutput: FileHandle? = nil,
    redirection: String? = nil, environment: [String: String] = [:], program: URL = ToolProcess.binary
  ) throws {
    signal(SIGPIPE, SIG_IGN)
    process.environment = ProcessInfo.processInfo.environment.filter { !$0.key.hasPrefix("HYPERSWARM_") }
      // No file of the person that runs the tests.
      .merging(["HYPERSWARM_CONFIG": "/dev/null"]) { _, new in new }
      .merging(environment) { _, new in new }
    process.executableURL = redirection == nil ? program : URL(fileURLWithPath: "/bin/sh")
    process.arguments =
      redirection.map { ["-c", "exec \"$0\" \"$@\" \($0)", program.path] + arguments } ?? arguments
    process.standardInput = standardInput ?? input
    let out = Pipe()
    let err = Pipe()
    process.standardOutput = standardOutput ?? out
    process.standardError = err
    collect(out) { $0.output += $1 }
    collect(err) { $0.errors += $1 }
    try process.run()
    // Threads instead of handlers: those miss the end of short processes now and then.
    Thread { [self] in
      process.waitForEnd()
      update { $0.hasExited = true }
    }.start()
    // The child has its own copies; ours would keep the pipes open.
    try? out.fileHandleForWriting.close()
    try? err.fileHandleForWriting.close()
  }

  private func update(_ change: (ToolProcess) -> Void) {
    condition.lock()
    change(self)
    condition.broadcast()
    condition.unlock()
  }

  private func collect(_ pipe: Pipe, _ keep: @escaping @Sendable (ToolProcess, ArraySlice<UInt8>) -> Void) {
    Thread { [self] in
      var bytes = [UInt8](repeating: 0, count: 65_536)
      while true {
        let count = read(pipe.fileHandleForReading.fileDescriptor, &bytes, bytes.count)
        if count < 0 && errno == EINTR { continue }
        guard count > 0 else { break }
        update { keep($0, bytes[..<count]) }
      }
      update { $0.openPipes -= 1 }
    }.start()
  }

  func write(_ bytes: [UInt8]) { try? input.fileHandleForWriting.write(contentsOf: Data(bytes)) }
  func write(_ text: String) { write(Array(text.utf8)) }
  func closeInput() { try? input.fileHandleForWriting.close() }
  var identifier: Int32 { process.processIdentifier }
  func interrupt() { process.interrupt() }
  func terminate() { process.terminate() }
  func kill() { Foundation.kill(process.processIdentifier, SIGKILL) }

  /// Waits until standard output and errors together contain the text.
  func wait(for text: String, seconds: Double = 30) throws {
    try wait(seconds, "'\(text)'") {
      String(decoding: output, as: UTF8.self).contains(text) || String(decoding: errors, as: UTF8.self).contains(text)
    }
  }

  func finish(seconds: Double = 60) throws -> Finished {
    do {
      try wait(seconds, "the end") { hasExited && openPipes == 0 }
    } catch {
      kill()
      throw error
    }
    return Finished(
      status: process.terminationStatus, output: output, errors: String(decoding: errors, as: UTF8.self))
  }

  private func wait(_ seconds: Double, _ what: String, _ isDone: () -> Bool) throws {
    let deadline = Date(timeIntervalSinceNow: seconds)
    condition.lock()
    defer { condition.unlock() }
    while !isDone() {
      guard condition.wait(until: deadline) else {
        throw TimedOut(
          description:
            "waited \(seconds) s for \(what) (exited: \(hasExited), open pipes: \(openPipes)); output: "
            + "\(String(decoding: output, as: UTF8.self)) errors: \(String(decoding: errors, as: UTF8.self))")
      }
    }
  }

  /// First 64 hexadecimal digits in a row on standard error.
  var announcedKey: String? {
    condition.lock()
    defer { condition.unlock() }
    return String(decoding: errors, as: UTF8.self).split { !$0.isHexDigit }.first { $0.count == 64 }.map(String.init)
  }
}

/// Runs to the end.
func runTool(
  _ arguments: [String], input: [UInt8] = [], environment: [String: String] = [:], seconds: Double = 60
) throws -> ToolProcess.Finished {
  let process = try ToolProcess(arguments, environment: environment)
  if !input.isEmpty { process.write(input) }
  process.closeInput()
  return try process.finish(seconds: seconds)
}

/// A running `hyperswarm testnet`.
final class LocalTestnet {
  let process: ToolProcess
  let bootstrap: String
  var port: String { String(bootstrap.split(separator: ":")[1]) }

  init(size: Int = 5) throws {
    process = try ToolProcess(["testnet", "--size", "\(size)", "--port", "0", "--json"])
    try process.wait(for: "bootstrap")
    try process.wait(for: "\n")
    var found: String?
    let parts = process.outputText.split { !$0.isNumber && $0 != "." && $0 != ":" }
    found = parts.first { $0.hasPrefix("127.0.0.1:") }.map(String.init)
    guard let found else { throw ToolProcess.TimedOut(description: "no bootstrap address in \(process.outputText)") }
    bootstrap = found
  }

  deinit {
    process.interrupt()
    _ = try? process.finish(seconds: 20)
  }
}

extension ToolProcess {
  var outputText: String {
    condition.lock()
    defer { condition.unlock() }
    return String(decoding: output, as: UTF8.self)
  }
  var errorText: String {
    condition.lock()
    defer { condition.unlock() }
    return String(decoding: errors, as: UTF8.self)
  }
}

extension ToolProcess {
  /// What `send` tells to give to `receive`: a key behind the command, or a code below it.
  func offeredSource() throws -> String {
    try wait(for: "hyperswarm receive ")
    try wait(for: "\n")
    let words = outputText.split(whereSeparator: \.isWhitespace).map(String.init)
    let place = try XCTUnwrap(words.firstIndex(of: "receive"))
    guard words[place + 1] == "--ask" else { return words[place + 1] }
    XCTAssertEqual(words[(place + 2)..<(place + 6)].joined(separator: " "), "and there the code:")
    return words[place + 6]
  }
}

extension Process {
  /// As `waitUntilExit`, which computes for as long as it waits, and takes a processor from what is tested.
  func waitForEnd() {
    var information = siginfo_t()
    // The end is left to Foundation, which may also have come first.
    while waitid(P_PID, id_t(processIdentifier), &information, WEXITED | WNOWAIT) != 0, errno == EINTR {}
    waitUntilExit()
  }
}
