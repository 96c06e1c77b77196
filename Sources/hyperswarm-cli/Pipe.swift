import ArgumentParser
import Foundation
import HyperDHT

/// When a connection between two standard inputs and outputs is over.
struct PipeOptions: ParsableArguments {
  @Flag(help: "Only receive: standard input is not read.")
  var recvOnly = false
  @Flag(help: "Only send: what the peer sends is dropped; over when the peer has everything.")
  var sendOnly = false
  @Flag(help: "Wait for the end of standard input, however long, also when the peer has ended.")
  var keepOpen = false

  func validate() throws {
    if recvOnly, sendOnly { throw ValidationError("--recv-only and --send-only exclude each other") }
    if recvOnly, keepOpen { throw ValidationError("--recv-only and --keep-open exclude each other") }
  }

  var isGiven: Bool { recvOnly || sendOnly || keepOpen }

  static let rules = """
    Standard input goes to the peer, what the peer sends to standard output. The command ends when both sides have \
    ended. When the peer has ended and standard input has not, a terminal is not waited for, and any other input as \
    long as no pause in it exceeds 5 seconds; --keep-open waits for its end. Errors of standard input or output abort \
    the connection, so that the peer does not take what it has for everything.
    """
}

/// Standard input to the connection and the connection to standard output, until both directions have ended
/// (`PipeOptions.rules`).
struct Pipe: Sendable {
  /// Milliseconds of silence of an input that is no terminal, after which it is taken for one without a writer.
  private static let silence: Int32 = 5_000
  /// For the end of a peer that has everything and is not listened to: longer than `silence`, which it may wait for.
  private static let farewell = Duration.seconds(10)

  private let connection: HyperDHT.Connection
  private let receives: Bool
  private let sends: Bool
  private let keepsOpen: Bool
  private let input = StandardInput()

  init(_ connection: HyperDHT.Connection, _ options: PipeOptions) {
    self.connection = connection
    receives = !options.sendOnly
    sends = !options.recvOnly
    keepsOpen = options.keepOpen
  }

  func run() async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await send() }
      group.addTask { try await receive() }
      try await group.waitForAll()
    }
    // The peer has said all, and so have we.
    if let error = try await connection.waitUntilClosed() { throw error }
  }

  private func send() async throws {
    while sends {
      switch await input.read() {
      case .data(let bytes):
        // Why it has failed is the other direction's to tell.
        guard (try? await connection.write(bytes)) != nil else { return }
        continue
      case .end, .silence: break
      case .failed(let number):
        connection.destroy()
        throw Failure("cannot read standard input: \(String(cString: strerror(number)))", code: "INPUT_FAILED")
      }
      break
    }
    guard !receives else { return connection.end() }
    guard (try? await connection.flush()) != nil else { return }
    connection.end()
    let farewell = Task {
      try await Task.sleep(for: Pipe.farewell)
      connection.destroy()
    }
    _ = try? await connection.waitUntilClosed()
    farewell.cancel()
  }

  private func receive() async throws {
    do {
      for try await message in connection.inbound where receives {
        let error = await StandardStreams.write(message)
        guard error == 0 else {
          connection.destroy()
          throw OutputFailure(error)
        }
      }
    } catch {
      input.limitSilence(to: 0)
      throw error
    }
    if !keepsOpen { input.limitSilence(to: StandardInput.isTerminal ? 0 : Pipe.silence) }
    // The peer listens on. When it is gone nothing that is typed gets anywhere.
    _ = try? await connection.waitUntilClosed()
    input.limitSilence(to: 0)
  }
}
