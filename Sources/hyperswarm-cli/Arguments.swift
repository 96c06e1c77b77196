import ArgumentParser
import Foundation
import HyperCrypto
import HyperDHT
import HyperEncoding
import Hyperswarm

/// What every command takes.
struct CommonOptions: ParsableArguments {
  static let bootstrapVariable = "HYPERSWARM_BOOTSTRAP"

  @Option(
    help: ArgumentHelp(
      "Nodes to enter the network by; by default those of \(bootstrapVariable), or the public ones.",
      valueName: "host:port,..."),
    transform: BootstrapList.init(parsing:))
  var bootstrap: BootstrapList?

  // Read before the arguments are parsed.
  @Option(
    help: ArgumentHelp(
      "File with defaults of options; by default that of \(Configuration.variable), or hyperswarm/config in "
        + "$XDG_CONFIG_HOME or ~/.config.", valueName: "path"))
  var config: String?

  @Flag(help: "Print one JSON object per line.")
  var json = false

  @Flag(name: .shortAndLong, help: "Say more on standard error; -vv also how each connection came about.")
  var verbose: Int

  /// Whether the nodes come from an argument, not from the environment.
  static var isBootstrapGiven: Bool {
    CommandLine.arguments.contains { $0 == "--bootstrap" || $0.hasPrefix("--bootstrap=") }
  }

  mutating func validate() throws {
    if config?.isEmpty == true { throw ValidationError("--config has no value") }
    Console.isJSON = json
    Console.verbosity = verbose
    if bootstrap == nil, let text = environment(CommonOptions.bootstrapVariable) {
      do {
        bootstrap = try BootstrapList(parsing: text)
      } catch {
        throw ValidationError("\(CommonOptions.bootstrapVariable): \(error)")
      }
    }
  }
}

/// With the plural of all but one.
func counted(_ count: Int, _ noun: String) -> String { "\(count) \(noun)\(count == 1 ? "" : "s")" }

/// A variable of the environment; an empty one counts as none.
func environment(_ name: String) -> String? {
  ProcessInfo.processInfo.environment[name].flatMap { $0.isEmpty ? nil : $0 }
}

/// A folder of the user, by the XDG Base Directory Specification, which has relative paths ignored.
func userFolder(_ variable: String, _ usual: String) -> String {
  if let path = environment(variable), path.hasPrefix("/") { return path }
  return (environment("HOME") ?? NSHomeDirectory()) + "/" + usual
}

/// What is wrong with a value, behind its name.
struct InvalidValue: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}

/// `host:port,...`; also `name:port` and `address@name:port`.
struct BootstrapList {
  let nodes: [String]

  init(parsing text: String) throws {
    nodes = text.split(separator: ",", omittingEmptySubsequences: false).map { $0.trimmingCharacters(in: .whitespaces) }
    for node in nodes {
      let parts = node.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false)
      _ = try HostPort(parsing: parts.last.map(String.init) ?? node)
      if parts.count == 2, IPv4Address(String(parts[0]))?.isUnicast != true {
        throw InvalidValue("what stands before the @ of '\(node)' is no IPv4 address of a node")
      }
    }
  }
}

/// A host by name or address, and a port.
struct HostPort {
  let host: String
  let port: UInt16

  init(parsing text: String) throws {
    guard !text.hasPrefix("["), text.filter({ $0 == ":" }).count < 2 else {
      throw InvalidValue("'\(text)' is an IPv6 address; the network has IPv4 addresses only")
    }
    guard let colon = text.firstIndex(of: ":") else { throw InvalidValue("'\(text)' has no port; host:port is wanted") }
    guard let port = UInt16(text[text.index(after: colon)...]), port != 0 else {
      throw InvalidValue("the port of '\(text)' is no number from 1 to 65535")
    }
    let host = String(text[..<colon])
    let isName = host.utf8.allSatisfy { $0 == 0x2d || $0 == 0x2e || $0 == 0x5f || HostPort.isAlphanumeric($0) }
    // Names of digits only are meant as addresses.
    let isAddress = host.utf8.allSatisfy { $0 == 0x2e || (0x30...0x39).contains($0) }
    guard !host.isEmpty, isName, !isAddress || IPv4Address(host) != nil else {
      throw InvalidValue("the host of '\(text)' is neither an IPv4 address nor a name")
    }
    if let address = IPv4Address(host), !address.isUnicast {
      throw InvalidValue("the host of '\(text)' is the address of no host")
    }
    self.host = host
    self.port = port
  }

  private static func isAlphanumeric(_ byte: UInt8) -> Bool {
    (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte) || byte >= 0x80
  }

  /// The first IPv4 address of the name. Blocks while the system asks name servers.
  func resolve() throws -> Endpoint {
    if let address = IPv4Address(host) { return Endpoint(host: address, port: port) }
    var hints = addrinfo()
    hints.ai_family = AF_INET
    var found: UnsafeMutablePointer<addrinfo>?
    let status = getaddrinfo(host, nil, &hints, &found)
    defer { if let found { freeaddrinfo(found) } }
    let value = found?.pointee.ai_addr.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
      $0.pointee.sin_addr.s_addr
    }
    guard status == 0, let value else {
      throw Failure("cannot resolve '\(host)': \(String(cString: gai_strerror(status)))", code: "NAME_NOT_FOUND")
    }
    return Endpoint(host: IPv4Address(value: UInt32(bigEndian: value)), port: port)
  }
}

/// A public key in any accepted form.
struct KeyArgument: ExpressibleByArgument {
  let key: Bytes32

  init?(argument: String) {
    guard let key = try? KeyText.parse(argument) else { return nil }
    self.key = key
  }
}

/// 64 hexadecimal digits as they stand, any other text hashed with BLAKE2b-256.
struct TopicArgument: ExpressibleByArgument {
  let topic: Bytes32

  init?(argument: String) {
    guard !argument.isEmpty else { return nil }
    if let bytes = Bytes32(hex: argument) {
      topic = bytes
      return
    }
    topic = HyperDHT.hash(Array(argument.utf8))
    if TopicArgument.looksLikeKey(argument) {
      Console.warn("'\(argument)' looks like a damaged key: it is taken for text, as the topic \(topic.hex)")
    }
  }

  /// Almost as many digits as a topic has.
  private static func looksLikeKey(_ text: String) -> Bool {
    (56...72).contains(text.count) && text.allSatisfy(\.isHexDigit)
  }
}

struct HostArgument: ExpressibleByArgument {
  let host: IPv4Address

  init?(argument: String) {
    guard let host = IPv4Address(argument) else { return nil }
    self.host = host
  }

  var defaultValueDescription: String { host.description }
  init(_ host: IPv4Address) { self.host = host }
}
