import ArgumentParser
import Foundation
import Synchronization

/// Defaults of options from a file: lines `name = value`, for all commands or, below `[command]`, for one.
struct Configuration {
  static let variable = "HYPERSWARM_CONFIG"
  /// Bytes: a thousand lines of a hundred.
  private static let sizeLimit = 1 << 20
  /// Commands whose arguments may stand in the file as `target`.
  private static let withTargets = ["expose", "forward"]
  /// Options whose values are secrets: files and the key store keep them.
  private static let secret = ["seed"]
  /// Options that say the same as each other: of the arguments any one takes the place of them all.
  private static let alternatives = [["seed-file", "identity", "seed"]]
  /// Variables of the environment that take the place of options.
  private static let variables = [
    "bootstrap": CommonOptions.bootstrapVariable, "seed-file": IdentityOptions.variable,
    "identity": IdentityOptions.variable,
  ]

  /// One line.
  struct Item: Hashable {
    let line: Int
    /// `nil`: of all commands that have the option.
    let command: String?
    let name: String
    let value: String
  }

  /// What is wrong with the file, and where.
  struct Flaw: Error, CustomStringConvertible {
    let description: String
    init(_ path: String, _ line: Int, _ text: String) { description = "\(path):\(line): \(text)" }
  }

  let path: String
  private(set) var items: [Item] = []

  /// That of this process. Set once, before the arguments are parsed.
  static var current: Configuration? {
    get { held.withLock { $0 } }
    set { held.withLock { $0 = newValue } }
  }
  private static let held = Mutex<Configuration?>(nil)

  // MARK: Reading

  /// The file that an argument or the environment names, or the user's own if it is there.
  static func load(_ arguments: [String]) throws -> Configuration? {
    let given = value(of: "config", in: arguments) ?? environment(variable)
    let path = given ?? ownPath
    if given == nil, access(path, F_OK) != 0, errno == ENOENT || errno == ENOTDIR { return nil }
    let file = try File(path: path, flags: O_RDONLY)
    var bytes: [UInt8] = []
    while case let chunk = try file.read(65_536), !chunk.isEmpty {
      bytes += chunk
      guard bytes.count <= sizeLimit else { throw Failure("'\(path)' is too large", code: "FILE") }
    }
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw Failure("'\(path)' is no text in UTF-8", code: "FILE")
    }
    let configuration = try Configuration(path: path, text: text)
    configuration.warnOfReaders()
    return configuration
  }

  private static var ownPath: String {
    userFolder("XDG_CONFIG_HOME", ".config") + "/hyperswarm/config"
  }

  init(path: String, text: String) throws(Flaw) {
    self.path = path
    var command: String?
    let lines = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
    for (index, raw) in lines.enumerated() {
      let line = raw.trimmingCharacters(in: .whitespaces)
      if line.isEmpty || line.hasPrefix("#") { continue }
      if line.hasPrefix("[") {
        guard line.hasSuffix("]") else { throw Flaw(path, index + 1, "'\(line)' has no ]") }
        let name = line.dropFirst().dropLast().trimmingCharacters(in: .whitespaces)
        command = name
        guard Known.shared.commands[name] != nil else { throw Flaw(path, index + 1, "there is no command '\(name)'") }
        continue
      }
      items.append(try Configuration.item(line, at: index + 1, of: command, in: path))
    }
  }

  private static func item(
    _ line: String, at number: Int, of command: String?, in path: String
  ) throws(Flaw) -> Item {
    guard let equals = line.firstIndex(of: "=") else { throw Flaw(path, number, "no '=' in '\(line)'") }
    let name = line[..<equals].trimmingCharacters(in: .whitespaces)
    let value = line[line.index(after: equals)...].trimmingCharacters(in: .whitespaces)
    let item = Item(line: number, command: command, name: name, value: value)
    if secret.contains(name) {
      throw Flaw(path, number, "a secret does not belong here; seed-file and identity name one")
    }
    guard !value.isEmpty else { throw Flaw(path, number, "'\(name)' has no value") }
    if name == "target" {
      guard let command, withTargets.contains(command) else {
        throw Flaw(path, number, "'target' belongs below [expose] or [forward]")
      }
      let words = value.split(whereSeparator: \.isWhitespace).map(String.init)
      guard words.count == (command == "expose" ? 1 : 2), LocalAddress(words[0]) != nil else {
        let form = command == "expose" ? "a port, host:port or path" : "a port, host:port or path, and a key"
        throw Flaw(path, number, "'target' is \(form)")
      }
      // It may be a secret: it is not repeated.
      guard words.count == 1 || Forward.Remote(words[1], isPrivate: false) != nil else {
        throw Flaw(path, number, "the key for \(words[0]) is none")
      }
      return item
    }
    guard let option = Known.shared.option(name, of: command) else {
      throw Flaw(path, number, "\(command ?? "no command") has \(command == nil ? "an" : "no") option '\(name)'")
    }
    if option.isFlag, isOn(value) == nil, !(option.isCounted && ["2"].contains(value)) {
      throw Flaw(path, number, "'\(name)' is yes or no, not '\(value)'")
    }
    return item
  }

  /// `nil`: neither.
  private static func isOn(_ value: String) -> Bool? {
    switch value.lowercased() {
    case "yes", "true", "on", "1": true
    case "no", "false", "off", "0": false
    default: nil
    }
  }

  /// Keys of private services are secrets.
  private func warnOfReaders() {
    var status = stat()
    guard items.contains(where: { $0.name == "target" && $0.value.contains("hs://s") }), stat(path, &status) == 0,
      status.st_mode & S_IFMT == S_IFREG, status.st_mode & 0o077 != 0
    else { return }
    Console.warn("other users of this machine may read the keys in '\(path)'; chmod 600 keeps them to you")
  }

  // MARK: Use

  /// The words of the `target` lines of a command.
  func targets(of command: String) -> [String] {
    items.filter { $0.command == command && $0.name == "target" }
      .flatMap { $0.value.split(whereSeparator: \.isWhitespace).map(String.init) }
  }

  /// The arguments that the file adds to these, each with its line. What is given by an argument, or by a variable of
  /// the environment, is not taken from the file; what stands below the command goes before what is for all.
  func additions(to arguments: [String]) -> [(item: Item, words: [String])] {
    guard let command = arguments.first, let options = Known.shared.commands[command] else { return [] }
    let own = Set(items.lazy.filter { $0.command == command }.map(\.name))
    return items.compactMap { item in
      guard item.name != "target", item.command == command || item.command == nil && !own.contains(item.name),
        let option = options.first(where: { $0.name == item.name }), !isGiven(option, in: arguments, options),
        Configuration.variables[item.name].flatMap(environment) == nil
      else { return nil }
      guard option.isFlag else { return (item, ["--\(item.name)=\(item.value)"]) }
      let isOn = Configuration.isOn(item.value) ?? true
      return isOn ? (item, Array(repeating: "--\(item.name)", count: item.value == "2" ? 2 : 1)) : nil
    }
  }

  private func isGiven(_ option: Known.Option, in arguments: [String], _ options: [Known.Option]) -> Bool {
    let names = Configuration.alternatives.first { $0.contains(option.name) } ?? [option.name]
    return options.contains { other in
      names.contains(other.name)
        && arguments.contains { word in
          word == "--\(other.name)" || word.hasPrefix("--\(other.name)=")
            || other.letters.contains { word.hasPrefix("-\($0)") }
        }
    }
  }

  /// The value of an option that is needed before the arguments are parsed.
  private static func value(of name: String, in arguments: [String]) -> String? {
    for (index, word) in arguments.enumerated() {
      if word.hasPrefix("--\(name)=") { return String(word.dropFirst(name.count + 3)) }
      if word == "--\(name)", index + 1 < arguments.count { return arguments[index + 1] }
    }
    return nil
  }
}

/// The commands and their options, from the tool's own description.
private struct Known {
  struct Option: Hashable {
    let name: String
    let letters: [String]
    let isFlag: Bool
    let isCounted: Bool
  }

  let commands: [String: [Option]]

  static let shared = Known()

  private struct Dump: Decodable {
    struct Name: Decodable {
      let kind: String
      let name: String
    }
    struct Argument: Decodable {
      let kind: String
      let names: [Name]?
    }
    struct Command: Decodable {
      let commandName: String
      let arguments: [Argument]?
      let subcommands: [Command]?
    }
    let command: Command
  }

  private init() {
    // The description is made by the same program: without it no name is known, and each line is a flaw.
    let dump = try? JSONDecoder().decode(Dump.self, from: Data(Tool._dumpHelp().utf8))
    var commands: [String: [Option]] = [:]
    for command in dump?.command.subcommands ?? [] where command.commandName != "help" {
      commands[command.commandName] = (command.arguments ?? []).compactMap { argument in
        guard argument.kind != "positional", let names = argument.names,
          let long = names.first(where: { $0.kind == "long" }), !["help", "version", "config"].contains(long.name)
        else { return nil }
        return Option(
          name: long.name, letters: names.filter { $0.kind == "short" }.map(\.name), isFlag: argument.kind == "flag",
          isCounted: long.name == "verbose")
      }
    }
    self.commands = commands
  }

  func option(_ name: String, of command: String?) -> Option? {
    if let command { return commands[command]?.first { $0.name == name } }
    return commands.values.lazy.flatMap { $0 }.first { $0.name == name }
  }
}
