import HyperCrypto
import HyperEncoding

/// The entries of an offer in their order, as they come in: checks each, and counts.
///
/// Paths ascend, compared name by name, and the folder of an entry comes before it: so no path comes twice, and no file
/// is also a folder.
package struct Manifest: Sendable {
  package private(set) var entries: [FileEntry] = []
  /// Of the files that were accepted.
  package private(set) var bytes: UInt64 = 0
  private let announced: (entries: UInt64, bytes: UInt64)
  private let nameLimit: Int
  private var nameBytes = 0
  /// The folders that the last entry lies in, itself included if it is one.
  private var folders: [ArraySlice<UInt8>] = []
  private var lastNames: [ArraySlice<UInt8>] = []

  /// For an offer that a peer announces.
  package init(entries: UInt64, bytes: UInt64, nameLimit: Int = Limits.names) throws(TransferError) {
    guard entries <= UInt64(Limits.entries) else { throw .violation("an offer of \(entries) entries") }
    guard bytes <= Limits.total else { throw .violation("an offer of \(bytes) bytes") }
    announced = (entries, bytes)
    self.nameLimit = nameLimit
  }

  package var isComplete: Bool { UInt64(entries.count) == announced.entries && bytes == announced.bytes }

  /// Takes a page of entries.
  package mutating func add(_ page: [FileEntry]) throws(TransferError) {
    guard !page.isEmpty else { throw .violation("a page without entries") }
    guard UInt64(entries.count + page.count) <= announced.entries else {
      throw .violation("more entries than announced")
    }
    for entry in page { try add(entry) }
    if UInt64(entries.count) == announced.entries, bytes != announced.bytes {
      throw .violation("sizes that do not sum up to what was announced")
    }
  }

  private mutating func add(_ entry: FileEntry) throws(TransferError) {
    let names = entry.names
    guard entry.path.count <= Limits.path, names.count <= Limits.depth, names.allSatisfy({ FileName.isAllowed($0) })
    else { throw .violation("the path \(FileName.printable(entry.path.prefix(Limits.text)))") }
    guard Manifest.ascends(lastNames, names) else { throw .violation("paths that do not ascend") }
    let shared = zip(folders, names.dropLast()).prefix { $0 == $1 }.count
    guard shared == names.count - 1 else { throw .violation("an entry without its folder") }
    folders.removeSubrange(shared...)
    if entry.kind == .folder, let name = names.last { folders.append(name) }
    nameBytes += entry.path.count
    guard nameBytes <= nameLimit else { throw .violation("names of more than \(nameLimit) bytes") }
    // Both are below 2^53.
    bytes += entry.size
    guard bytes <= announced.bytes else { throw .violation("sizes above what was announced") }
    lastNames = names
    entries.append(entry)
  }

  /// Whether `b` comes after `a`, name by name, each by its bytes.
  package static func ascends(_ a: [ArraySlice<UInt8>], _ b: [ArraySlice<UInt8>]) -> Bool {
    for (left, right) in zip(a, b) where left != right { return left.lexicographicallyPrecedes(right) }
    return a.count < b.count
  }

  /// The same for the same entries, from any sender, so that a transfer can be taken up again.
  package var identifier: Bytes32 {
    let hasher = Blake2bHasher()
    for entry in entries {
      var writer = CompactWriter()
      entry.encode(into: &writer)
      writer.bytes.withUnsafeBytes { hasher.update($0) }
    }
    return hasher.finalize()
  }

  /// The entries in messages.
  package static func pages(_ entries: [FileEntry]) -> [ArraySlice<FileEntry>] {
    var pages: [ArraySlice<FileEntry>] = []
    var start = 0
    var size = 0
    for (index, entry) in entries.enumerated() {
      // The fields other than the path take 33 bytes at most.
      let entrySize = entry.path.count + 33
      if size + entrySize > Limits.page, index > start {
        pages.append(entries[start..<index])
        (start, size) = (index, 0)
      }
      size += entrySize
    }
    if start < entries.count { pages.append(entries[start...]) }
    return pages
  }
}
