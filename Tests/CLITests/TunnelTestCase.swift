import Foundation
import XCTest

@testable import hyperswarm_cli

/// Tests of `expose` and `forward` with real sockets.
class TunnelTestCase: SharedTestnetTestCase {
  func run(
    _ arguments: [String], until text: String, environment more: [String: String] = [:]
  ) throws -> ToolProcess {
    let process = try ToolProcess(arguments, environment: try environment(more))
    try process.wait(for: text)
    try process.wait(for: "\n")
    return process
  }

  /// What stands behind `forward PORT` in each line.
  func keys(_ process: ToolProcess) -> [String] {
    process.outputText.split(separator: "\n").compactMap { $0.split(separator: " ").last.map(String.init) }
  }

  func port(_ process: ToolProcess) throws -> UInt16 {
    let address = try XCTUnwrap(process.outputText.split(separator: " ").first)
    return try XCTUnwrap(UInt16(try XCTUnwrap(address.split(separator: ":").last)))
  }

  func end(_ processes: ToolProcess...) throws {
    for process in processes { process.interrupt() }
    for process in processes { XCTAssertEqual(try process.finish(seconds: 20).status, 130) }
  }

  /// Sends, ends its half, and reads to the end.
  static func ask(_ address: LocalAddress, _ bytes: [UInt8]) async throws -> [UInt8] {
    let socket = try await address.connect()
    async let sent: Void = socket.write(bytes)
    try await sent
    socket.end()
    var answer: [UInt8] = []
    while let more = try await socket.read() { answer += more }
    return answer
  }

  static func ask(_ port: UInt16, _ bytes: [UInt8]) async throws -> [UInt8] {
    try await ask(try XCTUnwrap(LocalAddress("\(port)")), bytes)
  }
}

/// A local service for the tests.
final class Service: Sendable {
  let port: UInt16
  private let task: Task<Void, Never>

  init(path: String? = nil, _ body: @escaping @Sendable (Socket) async throws -> Void) async throws {
    let place = try XCTUnwrap(LocalAddress(path ?? "0"))
    let (listening, address) = try await place.listen()
    port = UInt16(address.split(separator: ":").last ?? "") ?? 0
    task = Task {
      while !Task.isCancelled {
        guard await Poller.shared.wait(listening.descriptor, for: Int32(POLLIN), seconds: 1) else { continue }
        let accepted = accept(listening.descriptor, nil, nil)
        guard accepted >= 0 else { continue }
        let socket = Socket(accepted)
        Task { try await body(socket) }
      }
    }
  }

  deinit { task.cancel() }
}
