#if os(Linux)
  import Foundation
  import HyperCrypto
  import HyperEncoding
  import HyperTestVectors
  import XCTest

  @testable import HyperDHTEngine
  @testable import HyperSecretStream

  /// No seed and no session key is left in the memory of the process when the connection and the nodes have gone.
  final class SecretMemoryTests: XCTestCase {
    /// A secret to look for, kept in a form that is not the secret.
    private struct Needle {
      let name: String
      private let masked: [UInt8]

      init(_ name: String, _ bytes: UnsafeRawBufferPointer) {
        self.name = name
        masked = bytes.map { $0 ^ 0xa5 }
      }

      /// How often it is in the buffer. Meanwhile the half that is looked for stands on the stack, alone.
      func count(in buffer: UnsafeRawBufferPointer) -> Int {
        var half: (UInt64, UInt64) = (0, 0)
        return withUnsafeMutableBytes(of: &half) { half in
          for index in 0..<16 { half[index] = masked[index] ^ 0xa5 }
          defer { for index in 0..<16 { half[index] = 0 } }
          var found = 0
          var rest = buffer
          while let base = rest.baseAddress, rest.count >= 32, let hit = memchr(base, Int32(half[0]), rest.count - 31) {
            let offset = base.distance(to: UnsafeRawPointer(hit))
            if memcmp(hit, half.baseAddress!, 16) == 0, (16..<32).allSatisfy({ rest[offset + $0] ^ 0xa5 == masked[$0] })
            {
              found += 1
            }
            rest = UnsafeRawBufferPointer(rebasing: rest[(offset + 1)...])
          }
          return found
        }
      }
    }

    /// How often each of the needles is in the memory of this process that can be written.
    private func scan(_ needles: [Needle]) throws -> [String: Int] {
      let size = 1 << 20
      let block = try XCTUnwrap(mmap(nil, 2 * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))
      defer { munmap(block, 2 * size) }
      let memory = open("/proc/self/mem", O_RDONLY)
      XCTAssertGreaterThanOrEqual(memory, 0)
      defer { close(memory) }
      var counts: [String: Int] = [:]
      let own = UInt(bitPattern: block)..<UInt(bitPattern: block) + UInt(2 * size)
      // `String(contentsOfFile:)` reads no more than a page of it.
      let maps = try XCTUnwrap(FileHandle(forReadingAtPath: "/proc/self/maps")?.readToEnd())
      for line in String(decoding: maps, as: UTF8.self).split(separator: "\n") {
        let fields = line.split(separator: " ")
        let bounds = fields[0].split(separator: "-").compactMap { UInt($0, radix: 16) }
        guard fields[1].hasPrefix("rw"), bounds.count == 2, !own.overlaps(bounds[0]..<bounds[1]) else { continue }
        // Terabytes that a sanitizer has reserved are not read in a lifetime.
        if bounds[1] - bounds[0] > 1 << 40 { throw XCTSkip("the memory of a sanitizer") }
        var start = bounds[0]
        while start < bounds[1] {
          // A little more than a step, for what lies across its end.
          let count = pread(memory, block, min(size + 64, Int(bounds[1] - start)), off_t(start))
          guard count > 0 else { break }
          for needle in needles {
            counts[needle.name, default: 0] += needle.count(in: UnsafeRawBufferPointer(start: block, count: count))
          }
          start += UInt(size)
        }
      }
      memset(block, 0, 2 * size)
      return counts
    }

    /// Overwrites the stack below this frame, as the next calls of a loop do. Only small allocations are on the stack.
    @inline(never)
    private func overwriteStack(_ depth: Int = 500) {
      withUnsafeTemporaryAllocation(byteCount: 1000, alignment: 16) { memory in
        _ = memset(memory.baseAddress!, 0, memory.count)
        if depth > 0 { overwriteStack(depth - 1) }
        // Not a tail call: the frame stays.
        _ = memset(memory.baseAddress!, 0, memory.count)
      }
    }

    @inline(never)
    private func makeKeyPair(_ name: String, _ needles: inout [Needle]) -> KeyPair {
      let pair = KeyPair.random()
      pair.withSecretKey { needles.append(Needle(name, UnsafeRawBufferPointer(rebasing: $0[..<32]))) }
      return pair
    }

    @inline(never)
    private func connectAndDestroy(_ needles: inout [Needle]) throws {
      let net = Net(4, seed: 9)
      let serverPair = makeKeyPair("the server's seed", &needles)
      let clientPair = makeKeyPair("the client's seed", &needles)
      let (server, accepted) = net.listen(on: net.makeNode(), keyPair: serverPair)
      var options = ConnectOptions()
      options.keyPair = clientPair
      let peer = net.connect(net.makeNode(), to: server, options: options)
      net.wait { peer.opened > 0 }
      peer.stream.write([UInt8]("hello".utf8))
      net.wait { !peer.received.isEmpty }
      let keys = try XCTUnwrap(peer.stream.keys)
      keys.sendKey.withUnsafeBytes { needles.append(Needle("the sending key", $0)) }
      keys.receiveKey.withUnsafeBytes { needles.append(Needle("the receiving key", $0)) }
      XCTAssertEqual(accepted.peers.count, 1)
      overwriteStack()
      let before = try scan(needles)
      for needle in needles { XCTAssertGreaterThan(before[needle.name, default: 0], 0, "\(needle.name) in use") }
      peer.stream.destroy()
      net.network.advance(by: 30_000)
      net.destroy()
    }

    func testNoSecretIsLeftAfterDestroy() throws {
      var needles: [Needle] = []
      try connectAndDestroy(&needles)
      overwriteStack()
      let after = try scan(needles)
      XCTAssertEqual(needles.count, 4)
      for needle in needles { XCTAssertEqual(after[needle.name, default: 0], 0, needle.name) }
      report(
        attack: "the memory of the process is read after `destroy`", bound: "no seed and no session key",
        measured: "\(after.values.reduce(0, +)) copies of \(needles.count) secrets")
    }
  }
#endif
