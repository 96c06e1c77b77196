import Foundation
import XCTest

/// `join` on a terminal: the line that is typed can be edited, and what the others say does not mix with it.
final class LineEditorTests: SharedTestnetTestCase {
  func testALineIsEditedAndStaysApartFromWhatOthersSay() throws {
    let names: [String] = ["libedit.so.2", "libedit.so.0", "libedit.3.dylib"]
    try XCTSkipIf(names.allSatisfy { dlopen($0, RTLD_NOW) == nil }, "libedit is not installed")
    let terminal = try Terminal()
    var before = termios()
    XCTAssertEqual(tcgetattr(terminal.slave.fileDescriptor, &before), 0)
    let environment = try environment().merging(["TERM": "xterm", "LC_ALL": "C.UTF-8"]) { $1 }
    let typist = try ToolProcess(
      ["join", "a room for typists"], standardInput: terminal.slave, standardOutput: terminal.slave,
      environment: environment)
    try typist.wait(for: "joined ")
    let other = try ToolProcess(["join", "a room for typists", "--json"], environment: environment)
    try terminal.wait(for: " joined")
    // In the midst of a word the other one speaks; then the word is mended, and taken up again.
    terminal.type("helo")
    try terminal.wait(for: "helo")
    other.write("not now\n")
    try terminal.wait(for: "> not now\r\n> helo")
    terminal.type("\u{1b}[Dl\u{5} wörld\n")
    try other.wait(for: "\"text\":\"hello wörld\"")
    terminal.type("\u{1b}[A!\n")
    try other.wait(for: "\"text\":\"hello wörld!\"")
    typist.interrupt()
    _ = try typist.finish(seconds: 20)
    var after = termios()
    XCTAssertEqual(tcgetattr(terminal.slave.fileDescriptor, &after), 0)
    XCTAssertEqual([after.c_lflag, after.c_iflag, after.c_oflag], [before.c_lflag, before.c_iflag, before.c_oflag])
    other.interrupt()
    _ = try other.finish(seconds: 20)
  }

  func testADumbTerminalKeepsItsOwnEditing() throws {
    let terminal = try Terminal()
    let typist = try ToolProcess(
      ["join", "a dumb room"], standardInput: terminal.slave, standardOutput: terminal.slave,
      environment: try environment().merging(["TERM": "dumb"]) { $1 })
    try typist.wait(for: "joined ")
    terminal.type("a line\n")
    try typist.wait(for: "no peer is here yet")
    XCTAssertFalse(terminal.text.contains("> "))
    typist.interrupt()
    _ = try typist.finish(seconds: 20)
  }
}

/// A pseudo terminal, and what was written to it.
private final class Terminal: @unchecked Sendable {
  let slave: FileHandle
  private let master: Int32
  private let condition = NSCondition()
  private var bytes: [UInt8] = []

  init() throws {
    var (master, slave): (Int32, Int32) = (-1, -1)
    try XCTSkipIf(openpty(&master, &slave, nil, nil, nil) != 0, "no pseudo terminal")
    self.master = master
    self.slave = FileHandle(fileDescriptor: slave, closeOnDealloc: true)
    Thread { [self] in
      var buffer = [UInt8](repeating: 0, count: 4096)
      while true {
        let count = read(self.master, &buffer, buffer.count)
        guard count > 0 else { break }
        condition.lock()
        bytes += buffer[..<count]
        condition.broadcast()
        condition.unlock()
      }
      close(self.master)
    }.start()
  }

  var text: String {
    condition.lock()
    defer { condition.unlock() }
    return String(decoding: bytes, as: UTF8.self)
  }

  func type(_ text: String) {
    let bytes = Array(text.utf8)
    XCTAssertEqual(write(master, bytes, bytes.count), bytes.count)
  }

  func wait(for text: String) throws {
    let deadline = Date(timeIntervalSinceNow: 30)
    condition.lock()
    defer { condition.unlock() }
    while !String(decoding: bytes, as: UTF8.self).contains(text) {
      guard condition.wait(until: deadline) else {
        throw ToolProcess.TimedOut(description: "no '\(text)' in \(String(decoding: bytes, as: UTF8.self))")
      }
    }
  }
}
