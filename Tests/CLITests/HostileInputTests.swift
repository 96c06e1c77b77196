import Foundation
import XCTest

@testable import hyperswarm_cli

/// What other users of the machine and peers cannot make the tool do.
final class HostileInputTests: XCTestCase {
  func testAPlantedLinkIsNotFollowed() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("hyperswarm-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: false)
    defer { try? FileManager.default.removeItem(at: folder) }
    let precious = folder.appendingPathComponent("precious")
    try Data([1, 2, 3]).write(to: precious)
    let links = ["to a file", "to nothing"].map { folder.appendingPathComponent($0).path }
    try FileManager.default.createSymbolicLink(atPath: links[0], withDestinationPath: precious.path)
    try FileManager.default.createSymbolicLink(atPath: links[1], withDestinationPath: precious.path + "2")
    for path in links + [precious.path] { XCTAssertThrowsError(try SourceFile(generating: 10, at: path), path) }
    XCTAssertEqual(try Data(contentsOf: precious), Data([1, 2, 3]))
    XCTAssertFalse(FileManager.default.fileExists(atPath: precious.path + "2"))
    let fresh = folder.appendingPathComponent("fresh").path
    _ = try SourceFile(generating: 10, at: fresh)
    let attributes = try FileManager.default.attributesOfItem(atPath: fresh)
    XCTAssertEqual(attributes[.posixPermissions] as? Int, 0o600)
  }

  func testBytesOfATunnelCostTheirMemoryHoweverTheyAreCut() {
    var received = ReceivedBytes()
    let window = TunnelLimits.largestWindow
    for index in 0..<window { received.append([UInt8(truncatingIfNeeded: index)]) }
    XCTAssertLessThanOrEqual(received.count, window / TunnelLimits.piece + 1)
    var bytes: [UInt8] = []
    while let piece = received.next() { bytes += piece }
    XCTAssertTrue(received.isEmpty)
    XCTAssertTrue(bytes == (0..<window).map { UInt8(truncatingIfNeeded: $0) })
    // Large pieces are not copied together.
    received.append([UInt8](repeating: 1, count: TunnelLimits.piece))
    received.append([2])
    received.append([3])
    XCTAssertEqual(received.next()?.count, TunnelLimits.piece)
    XCTAssertEqual(received.next(), [2, 3])
    XCTAssertNil(received.next())
  }

  func testTextOfPeersDoesNotSteerTheTerminal() {
    XCTAssertEqual(Join.printable("plain, ümlaut, 🐚"), "plain, ümlaut, 🐚")
    XCTAssertEqual(
      Join.printable("\u{1b}[2J\r\n\u{7}\u{9b}1m\u{7f}"), "\u{fffd}[2J\u{fffd}\u{fffd}\u{fffd}\u{fffd}1m\u{fffd}")
  }
}
