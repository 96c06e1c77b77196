import ArgumentParser
import Foundation

/// Words that only this user is to know, and the ways for them that no list of processes shows.
enum Secret {
  /// Variables of the environment that hold one. Commands that serve callers do not get them.
  static let variables = [IdentityOptions.variable, Beam.variable, Receive.variable, Forward.variable]
  /// Bytes of a line that is typed.
  private static let lengthLimit = 1024

  /// - Parameters:
  ///   - what: with its article.
  ///   - way: one that keeps it.
  static func warnOfArgument(_ what: String, _ way: String) {
    Console.warn("other users of this machine can see \(what) among the arguments; \(way)")
  }

  /// Asks on the terminal, without showing what is typed. Standard input is data.
  static func prompt(for what: String) throws -> String {
    let terminal = open("/dev/tty", O_RDWR | O_CLOEXEC)
    guard terminal >= 0 else { throw Failure("there is no terminal to ask for the \(what)", code: "NO_TERMINAL") }
    defer { close(terminal) }
    var settings = termios()
    tcgetattr(terminal, &settings)
    var quiet = settings
    // Signals as bytes: an end of the process would leave the terminal without an echo.
    quiet.c_lflag &= ~tcflag_t(ECHO | ICANON | ISIG)
    tcsetattr(terminal, TCSAFLUSH, &quiet)
    _ = writeAll(Array("\(what): ".utf8), to: terminal)
    defer {
      tcsetattr(terminal, TCSAFLUSH, &settings)
      _ = writeAll([0x0a], to: terminal)
    }
    var line: [UInt8] = []
    var byte: UInt8 = 0
    while read(terminal, &byte, 1) == 1, line.count < lengthLimit {
      switch byte {
      case 0x03: throw ExitCode(128 + SIGINT)
      case 0x04, 0x0a, 0x0d: return String(decoding: line, as: UTF8.self).trimmingCharacters(in: .whitespaces)
      case 0x08, 0x7f: _ = line.popLast()
      default: line.append(byte)
      }
    }
    return ""
  }

  /// The next line of standard input, `nil` at its end. Byte by byte: what follows may be data.
  static func inputLine() -> String? {
    var line: [UInt8] = []
    var byte: UInt8 = 0
    while line.count < lengthLimit {
      let count = read(0, &byte, 1)
      if count < 0, errno == EINTR { continue }
      if count < 0, errno == EAGAIN {
        var ready = pollfd(fd: 0, events: Int16(POLLIN), revents: 0)
        poll(&ready, 1, -1)
        continue
      }
      if count <= 0, line.isEmpty { return nil }
      if count <= 0 || byte == 0x0a { break }
      line.append(byte)
    }
    return String(decoding: line, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
  }

  /// What to do on the other side with a secret that is printed: the command asks for it, because other users of that
  /// machine can see arguments.
  static func instruction(_ command: String, _ what: String, _ secret: String) -> String {
    "hyperswarm \(command)\nand there the \(what):\n    \(secret)"
  }
}
