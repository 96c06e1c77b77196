import HyperEncoding

/// One message of the stream (file-transfer.md 2).
package enum Message: Hashable, Sendable {
  /// First of each side. The share is there when the receiver has a code.
  case hello(version: UInt64, share: Bytes32?)
  case confirm(Bytes32)
  case offer(entries: UInt64, bytes: UInt64)
  case entries([FileEntry])
  case want(index: UInt64, offset: UInt64)
  /// Content of the oldest file that was wanted and has not been answered.
  case data(ArraySlice<UInt8>)
  /// As many zero bytes.
  case hole(UInt64)
  case done(Bytes32)
  /// The file cannot be had: why.
  case unavailable([UInt8])
  /// The receiver has all that it wants: the number of files that it could not get.
  case complete(failures: UInt64)
  case refuse(Refusal, [UInt8])

  package static let version: UInt64 = 1
  static let magic = Array("hyperswarm-files".utf8)
  /// Type of a message of data, its first byte; the content follows.
  package static let dataType: UInt8 = 6

  package var encoded: [UInt8] {
    var writer = CompactWriter()
    switch self {
    case .hello(let version, let share):
      writer.uint8(1)
      writer.raw(Message.magic)
      writer.uint(version)
      writer.bool(share != nil)
      if let share { writer.fixed32(share) }
    case .confirm(let value):
      writer.uint8(2)
      writer.fixed32(value)
    case .offer(let entries, let bytes):
      writer.uint8(3)
      writer.uint(entries)
      writer.uint(bytes)
    case .entries(let entries):
      writer.uint8(4)
      writer.array(entries) { $1.encode(into: &$0) }
    case .want(let index, let offset):
      writer.uint8(5)
      writer.uint(index)
      writer.uint(offset)
    case .data(let bytes):
      writer.uint8(Message.dataType)
      writer.raw(bytes)
    case .hole(let count):
      writer.uint8(7)
      writer.uint(count)
    case .done(let digest):
      writer.uint8(8)
      writer.fixed32(digest)
    case .unavailable(let text):
      writer.uint8(9)
      writer.buffer(text.prefix(Limits.text))
    case .complete(let failures):
      writer.uint8(10)
      writer.uint(failures)
    case .refuse(let refusal, let text):
      writer.uint8(11)
      writer.uint(refusal.number)
      writer.buffer(text.prefix(Limits.text))
    }
    return writer.bytes
  }

  package init(_ bytes: [UInt8]) throws(TransferError) {
    guard bytes.count <= Limits.message else { throw .violation("a message of \(bytes.count) bytes") }
    if bytes.first == Message.dataType {
      guard bytes.count > 1 else { throw .violation("a message of data without data") }
      self = .data(bytes[1...])
      return
    }
    let result: Result<Message, CompactError> = bytes.withUnsafeBytes { buffer in
      var reader = CompactReader(buffer)
      do throws(CompactError) { return .success(try Message(from: &reader)) } catch { return .failure(error) }
    }
    guard case .success(let message) = result else {
      throw bytes.first == 1 ? .foreign : .violation("a malformed message")
    }
    self = message
  }

  private init(from reader: inout CompactReader) throws(CompactError) {
    switch try reader.uint8() {
    case 1:
      guard try reader.take(Message.magic.count).elementsEqual(Message.magic) else { throw .invalidValue }
      let version = try reader.uint()
      // What follows is another version's own.
      guard version == Message.version else {
        self = .hello(version: version, share: nil)
        return
      }
      self = .hello(version: version, share: try reader.bool() ? try reader.fixed32() : nil)
    case 2: self = .confirm(try reader.fixed32())
    case 3: self = .offer(entries: try reader.uint(), bytes: try reader.uint())
    case 4:
      self = .entries(try reader.array { reader throws(CompactError) in try FileEntry(from: &reader) })
    case 5: self = .want(index: try reader.uint(), offset: try reader.uint())
    case 7: self = .hole(try reader.uint())
    case 8: self = .done(try reader.fixed32())
    case 9: self = .unavailable(Array(try reader.buffer().prefix(Limits.text)))
    case 10: self = .complete(failures: try reader.uint())
    case 11:
      let refusal = Refusal(try reader.uint())
      self = .refuse(refusal, Array(try reader.buffer().prefix(Limits.text)))
    default: throw .invalidValue
    }
  }
}
