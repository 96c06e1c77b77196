import HyperEncoding

/// A file or folder of an offer.
package struct FileEntry: Hashable, Sendable {
  package enum Kind: UInt8, Sendable {
    case file = 1
    case folder = 2
  }

  package var kind: Kind
  /// Names separated by `/`, bytes as the sender's file system has them.
  package var path: [UInt8]
  /// Bytes; 0 for a folder.
  package var size: UInt64
  /// Permissions: the nine lowest bits of the mode.
  package var permissions: UInt16
  /// Time of the last change: seconds since 1970, and nanoseconds.
  package var seconds: Int64
  package var nanoseconds: UInt32

  package init(
    kind: Kind, path: [UInt8], size: UInt64 = 0, permissions: UInt16 = 0o644, seconds: Int64 = 0,
    nanoseconds: UInt32 = 0
  ) {
    self.kind = kind
    self.path = path
    self.size = size
    self.permissions = permissions
    self.seconds = seconds
    self.nanoseconds = nanoseconds
  }

  package var names: [ArraySlice<UInt8>] { path.split(separator: FileName.separator, omittingEmptySubsequences: false) }

  func encode(into writer: inout CompactWriter) {
    writer.uint8(kind.rawValue)
    writer.buffer(path)
    writer.uint(size)
    writer.uint16(permissions)
    writer.int(seconds)
    writer.uint32(nanoseconds)
  }

  init(from reader: inout CompactReader) throws(CompactError) {
    guard let kind = Kind(rawValue: try reader.uint8()) else { throw .invalidValue }
    self.kind = kind
    path = try reader.buffer()
    size = try reader.safeUint()
    permissions = try reader.uint16()
    seconds = try reader.int()
    nanoseconds = try reader.uint32()
    guard permissions <= 0o777, nanoseconds < 1_000_000_000, kind == .file || size == 0 else { throw .invalidValue }
  }
}
