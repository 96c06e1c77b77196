import Foundation
import HyperDHT

/// A command of the user's shell whose standard input and output are joined with a connection.
struct ChildCommand: Sendable {
  /// For the end of a peer whose command has ended: it may wait for its own input for `Pipe.silence`.
  private static let farewell = Duration.seconds(10)
  /// For a command to end by itself when its peer is gone, before it is killed.
  private static let grace = Duration.seconds(5)

  /// Descriptors that a command takes at most: two pipes, and their other ends until it has begun.
  static let files = 4

  let command: String

  static let rules = """
    The command runs in /bin/sh with HYPERSWARM_REMOTE_KEY, the key of the caller, in its environment. Its standard \
    input ends when the peer has ended its half; the connection ends when the command does. A command that ends with \
    another status than 0 resets the connection, after what it has written has arrived.
    """

  func serve(_ connection: HyperDHT.Connection) async throws {
    let child = try ChildProcess(command, ["HYPERSWARM_REMOTE_KEY": connection.remotePublicKey.hex])
    let status = await withTaskCancellationHandler {
      let receiving = Task { await feed(child, from: connection) }
      await drain(child, to: connection)
      let status = await child.wait()
      receiving.cancel()
      return status
    } onCancel: {
      child.signal(SIGTERM)
    }
    if let error = connection.isClosed ? try? await connection.waitUntilClosed() : nil { throw error }
    guard status == 0 else {
      try? await connection.flush()
      connection.destroy()
      throw Failure("the command ended with \(ChildProcess.describe(status))", code: "COMMAND_FAILED")
    }
    connection.end()
    let farewell = Task {
      try await Task.sleep(for: ChildCommand.farewell)
      connection.destroy()
    }
    if let error = try await connection.waitUntilClosed() { throw error }
    farewell.cancel()
  }

  /// What the peer sends, until it ends or the command has closed its input: then the rest is dropped, as by a pipe.
  private func feed(_ child: ChildProcess, from connection: HyperDHT.Connection) async {
    let input = OutputDescriptor(child.input)
    var isOpen = true
    do {
      for try await message in connection.inbound where isOpen { isOpen = await input.write(message) == 0 }
      input.close()
    } catch {
      input.close()
      guard error != .cancelled else { return }
      child.signal(SIGTERM)
      try? await Task.sleep(for: ChildCommand.grace)
      child.signal(SIGKILL)
    }
  }

  private func drain(_ child: ChildProcess, to connection: HyperDHT.Connection) async {
    let output = StandardInput(child.output)
    while case .data(let bytes) = await output.read() {
      guard (try? await connection.write(bytes)) != nil else { break }
    }
    close(child.output)
  }
}

/// In a process group of its own, so that Ctrl-C reaches this program only, which then ends it.
final class ChildProcess: Sendable {
  /// The ends of pipes: to its standard input, from its standard output.
  let input: Int32
  let output: Int32
  private let number: pid_t
  private let queue = DispatchQueue(label: "hyperswarm.child")

  init(_ command: String, _ variables: [String: String]) throws {
    let toChild = try ChildProcess.pipe()
    let fromChild: (read: Int32, write: Int32)
    do {
      fromChild = try ChildProcess.pipe()
    } catch {
      for end in [toChild.read, toChild.write] { close(end) }
      throw error
    }
    defer { for end in [toChild.read, fromChild.write] { close(end) } }
    var environment = ProcessInfo.processInfo.environment
    for name in Secret.variables { environment[name] = nil }
    environment.merge(variables) { _, new in new }
    do {
      number = try ChildProcess.spawn(
        ["/bin/sh", "-c", command], environment.map { "\($0)=\($1)" }, toChild.read, fromChild.write)
    } catch {
      for end in [toChild.write, fromChild.read] { close(end) }
      throw error
    }
    input = toChild.write
    output = fromChild.read
  }

  private static func pipe() throws -> (read: Int32, write: Int32) {
    var ends: [Int32] = [-1, -1]
    guard Foundation.pipe(&ends) == 0 else {
      throw Failure("cannot make a pipe: \(String(cString: strerror(errno)))", code: "PIPE")
    }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    return (ends[0], ends[1])
  }

  private static func spawn(
    _ arguments: [String], _ environment: [String], _ input: Int32, _ output: Int32
  ) throws -> pid_t {
    #if canImport(Darwin)
      var actions: posix_spawn_file_actions_t?
      var attributes: posix_spawnattr_t?
    #else
      var actions = posix_spawn_file_actions_t()
      var attributes = posix_spawnattr_t()
    #endif
    posix_spawn_file_actions_init(&actions)
    posix_spawnattr_init(&attributes)
    defer {
      posix_spawn_file_actions_destroy(&actions)
      posix_spawnattr_destroy(&attributes)
    }
    posix_spawn_file_actions_adddup2(&actions, input, 0)
    posix_spawn_file_actions_adddup2(&actions, output, 1)
    // The tool ignores SIGPIPE, which a shell could not undo.
    var signals = sigset_t()
    sigemptyset(&signals)
    sigaddset(&signals, SIGPIPE)
    posix_spawnattr_setsigdefault(&attributes, &signals)
    // Threads of a pool block signals.
    var mask = sigset_t()
    sigemptyset(&mask)
    posix_spawnattr_setsigmask(&attributes, &mask)
    let flags = POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP
    posix_spawnattr_setflags(&attributes, Int16(flags))
    var argumentList: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
    var environmentList: [UnsafeMutablePointer<CChar>?] = environment.map { strdup($0) } + [nil]
    defer { for text in argumentList + environmentList { free(text) } }
    var number: pid_t = 0
    let error = posix_spawn(&number, arguments[0], &actions, &attributes, &argumentList, &environmentList)
    guard error == 0 else {
      throw Failure("cannot run \(arguments[0]): \(String(cString: strerror(error)))", code: "COMMAND_FAILED")
    }
    return number
  }

  func signal(_ signal: Int32) { kill(-number, signal) }

  /// Its status in the form of the system. Once only.
  func wait() async -> Int32 {
    await withCheckedContinuation { continuation in
      queue.async { [number] in
        var status: Int32 = 0
        while waitpid(number, &status, 0) < 0, errno == EINTR {}
        continuation.resume(returning: status)
      }
    }
  }

  static func describe(_ status: Int32) -> String {
    let signal = status & 0x7f
    return signal == 0 ? "status \(status >> 8 & 0xff)" : "signal \(signal)"
  }
}
