import Foundation

/// A file descriptor that closes itself, and calls that say what has failed.
final class Descriptor: @unchecked Sendable {
  let number: Int32
  /// For messages.
  let name: String

  init(_ number: Int32, name: String) {
    self.number = number
    self.name = name
  }

  deinit { close(number) }

  /// Opens a path relative to a folder; the last name is not followed if it is a link.
  static func open(
    _ path: String, in folder: Descriptor? = nil, flags: Int32, name: String? = nil
  ) throws(FileFailure) -> Descriptor {
    let number = openat(folder?.number ?? AT_FDCWD, path, flags | O_CLOEXEC | O_NOFOLLOW, 0o600)
    guard number >= 0 else { throw FileFailure("open", name ?? path, errno) }
    return Descriptor(number, name: name ?? path)
  }

  func status() throws(FileFailure) -> stat {
    var status = stat()
    guard fstat(number, &status) == 0 else { throw FileFailure("look at", name, errno) }
    return status
  }

  /// Reads up to the room at an offset; 0 at the end.
  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(FileFailure) -> Int {
    while true {
      let count = pread(number, buffer.baseAddress, buffer.count, off_t(offset))
      if count >= 0 { return count }
      guard errno == EINTR else { throw FileFailure("read", name, errno) }
    }
  }

  func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(FileFailure) {
    var rest = bytes
    var position = offset
    while let base = rest.baseAddress, !rest.isEmpty {
      let count = pwrite(number, base, rest.count, off_t(position))
      if count < 0 {
        guard errno == EINTR else { throw FileFailure("write", name, errno) }
        continue
      }
      position += UInt64(count)
      rest = UnsafeRawBufferPointer(rebasing: rest[count...])
    }
  }

  func resize(to size: UInt64) throws(FileFailure) {
    guard ftruncate(number, off_t(size)) == 0 else { throw FileFailure("resize", name, errno) }
  }

  /// Returns when everything written, or named in a folder, survives a loss of power.
  func synchronize() throws(FileFailure) {
    #if canImport(Darwin)
      // Beyond the cache of the drive, where it can.
      if fcntl(number, F_FULLFSYNC) == 0 { return }
    #endif
    while fsync(number) != 0 {
      if errno == EINTR { continue }
      // A file system that keeps nothing has nothing to wait for.
      guard errno == EINVAL || errno == ENOTSUP else { throw FileFailure("write to the disk", name, errno) }
      return
    }
  }

  /// Begins to write what is there to the disk, so that `synchronize` has less to wait for.
  func beginWriting(at offset: UInt64, count: UInt64) {
    #if os(Linux)
      // Linux writes what it is told not to be needed.
      _ = posix_fadvise(number, off_t(offset), off_t(count), POSIX_FADV_DONTNEED)
    #endif
  }

  /// The next piece of a file from `offset` on, up to `end`.
  func piece(at offset: UInt64, end: UInt64, isSparse: Bool) -> Piece {
    guard isSparse else { return .data(end) }
    let start = lseek(number, off_t(offset), Descriptor.seekData)
    if start < 0 { return errno == ENXIO ? .hole(end) : .data(end) }
    if UInt64(start) > offset { return .hole(min(UInt64(start), end)) }
    let hole = lseek(number, off_t(offset), Descriptor.seekHole)
    return .data(hole <= start ? end : min(UInt64(hole), end))
  }

  /// Up to which offset there is data, or none.
  enum Piece {
    case data(UInt64)
    case hole(UInt64)
  }

  // Not imported from the C library.
  #if os(Linux)
    private static let seekData: Int32 = 3
    private static let seekHole: Int32 = 4
  #else
    private static let seekData: Int32 = 4
    private static let seekHole: Int32 = 3
  #endif
}

/// A call on a file has failed.
struct FileFailure: Error, CustomStringConvertible {
  let number: Int32
  let description: String
  var code: String { number == ENOSPC || number == EDQUOT ? "ENOSPC" : "FILE" }

  init(_ verb: String, _ path: String, _ number: Int32) {
    self.number = number
    description = "cannot \(verb) \(path): \(String(cString: strerror(number)))"
  }
}

extension stat {
  var isFile: Bool { st_mode & S_IFMT == S_IFREG }
  var isLink: Bool { st_mode & S_IFMT == S_IFLNK }
  var isFolder: Bool { st_mode & S_IFMT == S_IFDIR }
  /// Fewer blocks than the size needs.
  var isSparse: Bool { Int64(st_blocks) * 512 < Int64(st_size) }

  var changed: timespec {
    #if canImport(Darwin)
      st_mtimespec
    #else
      st_mtim
    #endif
  }

  func hasChanged(at seconds: Int64, _ nanoseconds: UInt32) -> Bool {
    Int64(changed.tv_sec) == seconds && Int64(changed.tv_nsec) == Int64(nanoseconds)
  }
}
