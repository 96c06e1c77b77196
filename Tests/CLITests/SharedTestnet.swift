import Foundation
import XCTest

/// One private network for all tests of a class, and what they do on it.
class SharedTestnetTestCase: XCTestCase {
  nonisolated(unsafe) private static var networks: [ObjectIdentifier: LocalTestnet] = [:]

  override static func tearDown() {
    networks[ObjectIdentifier(self)] = nil
    super.tearDown()
  }

  func bootstrap() throws -> String {
    let key = ObjectIdentifier(type(of: self))
    if let network = SharedTestnetTestCase.networks[key] { return network.bootstrap }
    let made = try LocalTestnet()
    SharedTestnetTestCase.networks[key] = made
    return made.bootstrap
  }

  /// The environment in which the tool finds the network.
  func environment(_ more: [String: String] = [:]) throws -> [String: String] {
    more.merging(["HYPERSWARM_BOOTSTRAP": try bootstrap()]) { given, _ in given }
  }

  /// A listener that has announced itself, and its key.
  func listen(
    _ options: [String] = [], standardInput: FileHandle? = nil
  ) throws -> (process: ToolProcess, key: String) {
    let process = try ToolProcess(["listen"] + options, standardInput: standardInput, environment: try environment())
    try process.wait(for: "listening as")
    try process.wait(for: "\n")
    return (process, try XCTUnwrap(process.announcedKey))
  }

  func connect(_ key: String, _ options: [String] = [], standardInput: FileHandle? = nil) throws -> ToolProcess {
    try ToolProcess(["connect", key] + options, standardInput: standardInput, environment: try environment())
  }

  func assertEnds(
    _ process: ToolProcess, with status: Int32, within seconds: Double = 20, saying text: String? = nil,
    file: StaticString = #filePath, line: UInt = #line
  ) throws {
    let result = try process.finish(seconds: seconds)
    XCTAssertEqual(result.status, status, result.errors, file: file, line: line)
    if let text { XCTAssertTrue(result.errors.contains(text), result.errors, file: file, line: line) }
  }

  /// A folder that is removed at the end of the test.
  func makeFolder() throws -> URL {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("hyperswarm-test-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: false)
    addTeardownBlock { try? FileManager.default.removeItem(at: folder) }
    return folder
  }
}
