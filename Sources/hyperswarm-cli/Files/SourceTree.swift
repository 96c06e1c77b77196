import Foundation
import HyperFileTransfer

/// The files and folders that are offered, as they were found at the start.
struct SourceTree: Sendable {
  private(set) var entries: [FileEntry] = []
  /// What is left out, and why.
  private(set) var skipped: [Skipped] = []
  private(set) var bytes: UInt64 = 0
  /// Bytes of the files before each entry.
  private(set) var bytesBefore: [UInt64] = []
  /// Where the first names of paths lie.
  private var places: [[UInt8]: [UInt8]] = [:]

  struct Skipped: Sendable {
    /// For people.
    let path: String
    let reason: String
  }

  init(paths: [String]) throws {
    var roots: [(name: [UInt8], place: [UInt8])] = []
    for path in paths {
      if path.isEmpty { throw Failure("one of the paths is empty", code: "FILE") }
      guard let resolved = realpath(path, nil) else { throw FileFailure("open", path, errno) }
      defer { free(resolved) }
      let place = rawBytes(resolved)
      // A link is offered under its own name.
      let typed = Array(path.utf8).split(separator: FileName.separator).last.map(Array.init) ?? []
      let isName = !typed.isEmpty && typed != Array(".".utf8) && typed != Array("..".utf8)
      let name = isName ? typed : place.split(separator: FileName.separator).last.map(Array.init) ?? []
      guard FileName.isAllowed(name) else { throw Failure("cannot send \(path) under its name", code: "FILE") }
      guard places.updateValue(place, forKey: name) == nil else {
        throw Failure("two of the paths have the name \(FileName.printable(name))", code: "FILE")
      }
      roots.append((name, place))
    }
    for root in roots.sorted(by: { $0.name.lexicographicallyPrecedes($1.name) }) {
      try add(root.place, as: root.name, depth: 1)
    }
    var sum: UInt64 = 0
    for entry in entries {
      bytesBefore.append(sum)
      sum += entry.size
    }
    bytes = sum
    guard bytes <= HyperFileTransfer.Limits.total else { throw Failure("more than 64 TiB", code: "FILE") }
  }

  private mutating func add(_ place: [UInt8], as path: [UInt8], depth: Int) throws {
    var status = stat()
    guard lstat(cString(place), &status) == 0 else { throw FileFailure("look at", text(place), errno) }
    guard status.isFile || status.isFolder else {
      // What the user has named is not left out silently.
      if depth == 1 { throw Failure("\(text(place)) is neither a file nor a folder", code: "FILE") }
      skipped.append(Skipped(path: text(place), reason: status.isLink ? "a link" : "neither a file nor a folder"))
      return
    }
    let names = HyperFileTransfer.Limits.self
    guard entries.count < names.entries else { throw Failure("more than \(names.entries) files", code: "FILE") }
    guard path.count <= names.path, depth <= names.depth else {
      throw Failure("\(text(place)) lies too deep", code: "FILE")
    }
    // Now, before the other side has said yes to something that cannot be had.
    guard access(cString(place), R_OK | (status.isFolder ? X_OK : 0)) == 0 else {
      throw FileFailure("read", text(place), errno)
    }
    entries.append(
      FileEntry(
        kind: status.isFile ? .file : .folder, path: path, size: status.isFile ? UInt64(status.st_size) : 0,
        permissions: UInt16(status.st_mode & 0o777), seconds: Int64(status.changed.tv_sec),
        nanoseconds: UInt32(status.changed.tv_nsec)))
    guard status.isFolder else { return }
    for name in try SourceTree.names(in: place) {
      guard FileName.isAllowed(name) else {
        let path = text(place + [FileName.separator] + name)
        skipped.append(Skipped(path: path, reason: "a name that other systems may not have"))
        continue
      }
      try add(place + [FileName.separator] + name, as: path + [FileName.separator] + name, depth: depth + 1)
    }
  }

  private static func names(in folder: [UInt8]) throws -> [[UInt8]] {
    guard let listing = opendir(cString(folder)) else { throw FileFailure("read", text(folder), errno) }
    defer { closedir(listing) }
    var names: [[UInt8]] = []
    while true {
      errno = 0
      guard let item = readdir(listing) else {
        guard errno == 0 else { throw FileFailure("read", text(folder), errno) }
        break
      }
      let name = withUnsafePointer(to: &item.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { rawBytes($0) }
      }
      if name != Array(".".utf8), name != Array("..".utf8) { names.append(name) }
    }
    return names.sorted { $0.lexicographicallyPrecedes($1) }
  }

  /// Opens a file that is still what it was.
  func open(_ index: Int) throws -> SourceReader {
    let entry = entries[index]
    let first = Array(entry.path.prefix { $0 != FileName.separator })
    guard let root = places[first] else { preconditionFailure("every path begins with one of the roots") }
    let place = root + entry.path.dropFirst(first.count)
    // Without O_NONBLOCK a pipe in the place of the file would hold up everything.
    let number = Foundation.open(cString(place), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
    guard number >= 0 else { throw FileFailure("open", text(place), errno) }
    let reader = try SourceReader(Descriptor(number, name: text(place)), entry)
    guard try reader.isUnchanged() else { throw Failure("\(text(place)) has changed", code: "FILE") }
    return reader
  }
}

/// Reads a file and its digest, of holes no more than where they are.
final class SourceReader {
  private let file: Descriptor
  private let entry: FileEntry
  private let isSparse: Bool
  private let digest: BackgroundDigest
  private var piece = Descriptor.Piece.data(0)
  var position: UInt64 { digest.count }

  init(_ file: Descriptor, _ entry: FileEntry) throws {
    self.file = file
    self.entry = entry
    digest = BackgroundDigest(for: entry.size)
    isSparse = try file.status().isSparse
  }

  func isUnchanged() throws -> Bool {
    let status = try file.status()
    return status.isFile && UInt64(status.st_size) == entry.size
      && status.hasChanged(at: entry.seconds, entry.nanoseconds)
  }

  /// Hashes what the other side has already.
  func skip(to offset: UInt64) throws {
    while position < offset {
      switch next(end: offset) {
      case .hole(let end): digest.update(zeros: end - position)
      case .data(let end):
        let count = Int(min(end - position, UInt64(FileLimits.rereading)))
        try withUnsafeTemporaryAllocation(byteCount: count, alignment: 16) { buffer in
          let read = try file.read(into: buffer, at: position)
          guard read > 0 else { throw Failure("\(file.name) is shorter than it was", code: "FILE") }
          digest.update(UnsafeRawBufferPointer(rebasing: buffer[..<read]))
        }
      }
    }
  }

  /// The next message of content; `nil` at the end.
  func nextMessage() throws -> [UInt8]? {
    guard position < entry.size else { return nil }
    switch next(end: entry.size) {
    case .hole(let end):
      let count = end - position
      digest.update(zeros: count)
      return Message.hole(count).encoded
    case .data(let end):
      // Up to a multiple of the size: messages from there on are hashed several at once.
      let size = UInt64(HyperFileTransfer.Limits.data)
      let count = Int(min(end - position, size - position % size))
      let message = try [UInt8](unsafeUninitializedCapacity: count + 1) { buffer, initialized in
        buffer[0] = Message.dataType
        let content = UnsafeMutableRawBufferPointer(rebasing: UnsafeMutableRawBufferPointer(buffer)[1...count])
        let read = try file.read(into: content, at: position)
        guard read > 0 else { throw Failure("\(file.name) is shorter than it was", code: "FILE") }
        initialized = read + 1
      }
      digest.update(message[1...])
      return message
    }
  }

  /// The piece at the position, up to `end`; asked of the system once for each.
  private func next(end: UInt64) -> Descriptor.Piece {
    switch piece {
    case .data(let known) where known > position: return .data(min(known, end))
    case .hole(let known) where known > position: return .hole(min(known, end))
    default: break
    }
    piece = file.piece(at: position, end: entry.size, isSparse: isSparse)
    return next(end: end)
  }

  func finish() throws -> Message {
    guard try isUnchanged() else { throw Failure("\(file.name) has changed while it was sent", code: "FILE") }
    return .done(digest.finalize())
  }
}

private func rawBytes(_ text: UnsafePointer<CChar>) -> [UInt8] {
  Array(UnsafeRawBufferPointer(start: text, count: strlen(text)))
}

private func cString(_ bytes: [UInt8]) -> [CChar] { bytes.map { CChar(bitPattern: $0) } + [0] }

private func text(_ bytes: [UInt8]) -> String { FileName.printable(bytes) }
