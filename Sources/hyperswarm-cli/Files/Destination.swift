import Foundation
import HyperEncoding
import HyperFileTransfer

/// Where an offer is stored: every name under one folder, no link followed, a file under its name only when it is
/// verified. Until then it lies in a folder of this user's own beside, with a record of what is done, from which a
/// later transfer of the same offer goes on.
///
/// Confined to the task of the transfer.
final class Destination {
  struct Options: Sendable {
    /// Replaces files that are there.
    var replaces = false
    /// Files are on the disk before they get their names, and the names before the end.
    var synchronizes = true
  }

  private let manifest: Manifest
  private let options: Options
  private let output: Descriptor
  private let stagingName: String
  private let staging: Descriptor
  private let record: Descriptor
  private var recordSize: UInt64 = 0
  private var done: Set<Int> = []
  /// Folders that this transfer has made, whose permissions and times are set at the end.
  private var madeFolders: Set<Int> = []
  /// The last folder that was opened.
  private var lastFolder: (path: [String], descriptor: Descriptor)?
  /// A folder with names that are not on the disk yet.
  private var renamed: Descriptor?
  /// Verified small files that have no names yet.
  private var unnamed: [(partial: Partial, index: Int)] = []

  /// What is at the place before anything is made.
  private struct Survey {
    let output: Descriptor
    let stagingName: String
    let staging: Descriptor?
    let record: Descriptor?
    var done: Set<Int> = []
    var folders: Set<Int> = []
    var recordSize: UInt64 = 0

    init(_ path: String, _ manifest: Manifest, replacing: Bool) throws {
      let number = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
      guard number >= 0 else { throw FileFailure("open", path, errno) }
      output = Descriptor(number, name: path)
      stagingName = FileName.reserved + manifest.identifier.hex.prefix(16)
      staging = try Destination.openStaging(stagingName, in: output)
      record = try staging.flatMap { try Destination.openRecord(in: $0, making: false) }
      if let record {
        (done, folders, recordSize) = try Destination.read(record, limit: manifest.entries.count)
      }
      try Destination.check(manifest, in: output, replacing: replacing, done: &done)
    }
  }

  /// Throws when something is in the way.
  static func check(_ path: String, _ manifest: Manifest, replacing: Bool) throws {
    _ = try Survey(path, manifest, replacing: replacing)
  }

  /// - Throws: `Failure` when something is in the way; then nothing has been made.
  init(at path: String, manifest: Manifest, _ options: Options) throws {
    self.manifest = manifest
    self.options = options
    let survey = try Survey(path, manifest, replacing: options.replaces)
    output = survey.output
    stagingName = survey.stagingName
    if let existing = survey.staging {
      staging = existing
    } else {
      guard mkdirat(output.number, stagingName, 0o700) == 0 else { throw FileFailure("make a folder in", path, errno) }
      guard let made = try Destination.openStaging(stagingName, in: output) else {
        throw FileFailure("open", stagingName, ENOENT)
      }
      staging = made
    }
    guard let record = try survey.record ?? Destination.openRecord(in: staging, making: true) else {
      throw FileFailure("make a file in", stagingName, ENOENT)
    }
    guard flock(record.number, LOCK_EX | LOCK_NB) == 0 else {
      throw Failure("the same is being received there already", code: "BUSY")
    }
    self.record = record
    if options.synchronizes {
      try staging.synchronize()
      try output.synchronize()
    }
    (done, madeFolders, recordSize) = (survey.done, survey.folders, survey.recordSize)
  }

  func isDone(_ index: Int) -> Bool { done.contains(index) }

  // MARK: Beginning

  /// Only a folder of this user that no other may write to.
  private static func openStaging(_ name: String, in output: Descriptor) throws -> Descriptor? {
    let folder: Descriptor
    do {
      folder = try Descriptor.open(name, in: output, flags: O_RDONLY | O_DIRECTORY)
    } catch {
      guard error.number == ENOENT else { throw error }
      return nil
    }
    let status = try folder.status()
    guard status.st_uid == geteuid(), status.st_mode & 0o077 == 0 else {
      throw Failure("\(name) is not this user's own", code: "FILE")
    }
    return folder
  }

  private static func openRecord(in staging: Descriptor, making: Bool) throws -> Descriptor? {
    do {
      return try Descriptor.open("record", in: staging, flags: O_RDWR | (making ? O_CREAT | O_EXCL : 0))
    } catch {
      guard error.number == ENOENT else { throw error }
      return nil
    }
  }

  /// Lines of a letter and an index: `f` a file is about to get its name, `d` a folder was made.
  private static func read(_ record: Descriptor, limit: Int) throws -> (Set<Int>, Set<Int>, UInt64) {
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65_536)
    // A line has at most 9 bytes, and a torn one may be there for each crash.
    while bytes.count < 16 * limit + 65_536 {
      let count = try chunk.withUnsafeMutableBytes { try record.read(into: $0, at: UInt64(bytes.count)) }
      guard count > 0 else { break }
      bytes += chunk[..<count]
    }
    var files: Set<Int> = []
    var folders: Set<Int> = []
    for line in bytes.split(separator: 10) {
      guard let index = Int(String(decoding: line.dropFirst(), as: UTF8.self)), (0..<limit).contains(index) else {
        continue
      }
      if line.first == UInt8(ascii: "f") { files.insert(index) }
      if line.first == UInt8(ascii: "d") { folders.insert(index) }
    }
    return (files, folders, UInt64(bytes.count))
  }

  /// Whether everything can get its name. What the record calls done and is not there is not done.
  private static func check(
    _ manifest: Manifest, in output: Descriptor, replacing: Bool, done: inout Set<Int>
  ) throws {
    var taken: Set<String> = []
    let isChanged = manifest.entries.contains { !FileName.sanitized($0.path).utf8.elementsEqual($0.path) }
    var missing: [String] = []
    for (index, entry) in manifest.entries.enumerated() {
      let path = components(entry)
      let text = path.joined(separator: "/")
      if isChanged, !taken.insert(text).inserted { throw Failure("two files would be called \(text)", code: "EXISTS") }
      // Below what is not there nothing is.
      if !missing.isEmpty, path.starts(with: missing) {
        done.remove(index)
        continue
      }
      missing = []
      guard let status = try status(of: path, in: output) else {
        done.remove(index)
        missing = path
        continue
      }
      if entry.kind == .folder {
        guard status.isFolder else { throw Failure("\(text) is there, and no folder", code: "EXISTS") }
      } else if done.contains(index), status.isFile, UInt64(status.st_size) == entry.size,
        status.hasChanged(at: entry.seconds, entry.nanoseconds)
      {
        continue
      } else if status.isFolder {
        throw Failure("\(text) is there, and a folder", code: "EXISTS")
      } else if !replacing {
        throw Failure("\(text) is there already; --force replaces it", code: "EXISTS")
      }
      done.remove(index)
    }
  }

  private static func components(_ entry: FileEntry) -> [String] { entry.names.map { FileName.sanitized($0) } }

  /// Walks from folder to folder, so that no link on the way is followed.
  private static func status(of path: [String], in output: Descriptor) throws -> stat? {
    var folder = output
    for name in path.dropLast() {
      do {
        folder = try Descriptor.open(name, in: folder, flags: O_RDONLY | O_DIRECTORY)
      } catch {
        guard error.number == ENOENT else { throw error }
        return nil
      }
    }
    var status = stat()
    guard fstatat(folder.number, path[path.count - 1], &status, AT_SYMLINK_NOFOLLOW) == 0 else {
      guard errno == ENOENT else { throw FileFailure("look at", path.joined(separator: "/"), errno) }
      return nil
    }
    return status
  }

  // MARK: Files

  /// What is there of a file, or a new one.
  func partial(_ index: Int) throws -> Partial {
    let name = "\(index).part"
    let shown = FileName.printable(manifest.entries[index].path)
    do {
      let file = try Descriptor.open(name, in: staging, flags: O_RDWR, name: shown)
      let status = try file.status()
      if status.isFile, status.st_nlink == 1, UInt64(status.st_size) <= manifest.entries[index].size {
        return try Partial(
          file, total: manifest.entries[index].size, writesBack: options.synchronizes, rereading: status)
      }
      unlinkat(staging.number, name, 0)
    } catch let error as FileFailure {
      guard error.number == ENOENT else { throw error }
    }
    let file = try Descriptor.open(name, in: staging, flags: O_RDWR | O_CREAT | O_EXCL, name: shown)
    return Partial(file, total: manifest.entries[index].size, writesBack: options.synchronizes)
  }

  /// Whether there is something of the file from before.
  func hasPartial(_ index: Int) -> Bool { faccessat(staging.number, "\(index).part", F_OK, 0) == 0 }

  func discard(_ index: Int) { unlinkat(staging.number, "\(index).part", 0) }

  /// Gives a verified file its name, now or with others a little later.
  func place(_ partial: Partial, _ index: Int) throws {
    guard options.synchronizes else {
      try partial.settle(manifest.entries[index])
      try note("f", index)
      return try name(index)
    }
    unnamed.append((partial, index))
    if partial.count <= FileLimits.smallFile, unnamed.count < FileLimits.named {
      partial.beginWriting()
    } else {
      try placeUnnamed()
    }
  }

  /// Gives the files that wait for it their names, when all of them are on the disk, and the record of them.
  private func placeUnnamed() throws {
    guard !unnamed.isEmpty else { return }
    for (partial, index) in unnamed {
      try partial.settle(manifest.entries[index])
      try partial.synchronize()
    }
    for (_, index) in unnamed { try note("f", index) }
    try record.synchronize()
    while let index = unnamed.first?.index {
      unnamed.removeFirst()
      try name(index)
    }
  }

  private func name(_ index: Int) throws {
    let entry = manifest.entries[index]
    let path = Destination.components(entry)
    let text = path.joined(separator: "/")
    let folder = try self.folder(Array(path.dropLast()), lastIndex: index)
    let name = path[path.count - 1]
    try markRenamed(folder)
    let temporary = "\(index).part"
    if !options.replaces {
      if linkat(staging.number, temporary, folder.number, name, 0) == 0 {
        unlinkat(staging.number, temporary, 0)
        done.insert(index)
        return
      }
      guard [EPERM, ENOTSUP, EOPNOTSUPP, ENOSYS, EMLINK].contains(errno) else { throw FileFailure("name", text, errno) }
      // A file system without links: what appears between this look and the renaming is lost.
      var status = stat()
      guard fstatat(folder.number, name, &status, AT_SYMLINK_NOFOLLOW) != 0, errno == ENOENT else {
        throw FileFailure("name", text, EEXIST)
      }
    }
    guard renameat(staging.number, temporary, folder.number, name) == 0 else { throw FileFailure("name", text, errno) }
    done.insert(index)
  }

  /// The names in a folder go to the disk when the next ones are in another.
  private func markRenamed(_ folder: Descriptor?) throws {
    guard options.synchronizes, renamed !== folder else { return }
    let last = renamed
    renamed = folder
    try last?.synchronize()
  }

  private func note(_ letter: Character, _ index: Int) throws {
    // A torn line of a crash ends here.
    let line = Array("\n\(letter)\(index)".utf8)
    try line.withUnsafeBytes { try record.write($0, at: recordSize) }
    recordSize += UInt64(line.count)
  }

  /// The folder of this path, made with those above it.
  private func folder(_ path: [String], lastIndex: Int) throws -> Descriptor {
    if let lastFolder, lastFolder.path == path { return lastFolder.descriptor }
    var folder = output
    for (depth, name) in path.enumerated() {
      if mkdirat(folder.number, name, 0o700) == 0 {
        if let index = index(of: Array(path[...depth]), before: lastIndex) {
          madeFolders.insert(index)
          try note("d", index)
        }
        if options.synchronizes { try folder.synchronize() }
      } else if errno != EEXIST {
        throw FileFailure("make", path[...depth].joined(separator: "/"), errno)
      }
      folder = try Descriptor.open(name, in: folder, flags: O_RDONLY | O_DIRECTORY)
    }
    lastFolder = (path, folder)
    return folder
  }

  /// Folders come before what is in them.
  private func index(of path: [String], before last: Int) -> Int? {
    var index = min(last, manifest.entries.count - 1)
    while index >= 0 {
      let entry = manifest.entries[index]
      if entry.kind == .folder, Destination.components(entry) == path { return index }
      index -= 1
    }
    return nil
  }

  // MARK: End

  /// Makes the empty folders, sets the permissions and times of folders, and removes what was only for the way.
  func finish() throws {
    try placeUnnamed()
    try markRenamed(nil)
    for (index, entry) in manifest.entries.enumerated() where entry.kind == .folder {
      _ = try folder(Destination.components(entry), lastIndex: index)
    }
    lastFolder = nil
    // What is inside comes first: a folder that may not be entered any more is done.
    for index in madeFolders.sorted(by: >) {
      let entry = manifest.entries[index]
      let folder = try self.folder(Destination.components(entry), lastIndex: index)
      try Destination.settle(folder, entry)
      if options.synchronizes { try folder.synchronize() }
      lastFolder = nil
    }
    removeStaging()
  }

  /// Nothing of this is wanted any more.
  func removeStaging() {
    for name in stagedNames() { unlinkat(staging.number, name, 0) }
    unlinkat(output.number, stagingName, Int32(AT_REMOVEDIR))
  }

  /// Removes what was made when there is nothing to go on from. Returns the name of what is left behind.
  func leave() -> String? {
    try? placeUnnamed()
    try? markRenamed(nil)
    guard done.isEmpty, stagedNames() == ["record"] else { return stagingName }
    removeStaging()
    return nil
  }

  private func stagedNames() -> [String] {
    let number = openat(staging.number, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard number >= 0, let listing = fdopendir(number) else { return [] }
    defer { closedir(listing) }
    var names: [String] = []
    while let item = readdir(listing) {
      let name = withUnsafePointer(to: &item.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if name != ".", name != ".." { names.append(name) }
    }
    return names
  }

  fileprivate static func settle(_ file: Descriptor, _ entry: FileEntry) throws {
    guard fchmod(file.number, mode_t(entry.permissions)) == 0 else {
      throw FileFailure("set the permissions of", file.name, errno)
    }
    let time = timespec(tv_sec: Int(entry.seconds), tv_nsec: Int(entry.nanoseconds))
    let times = [time, time]
    guard futimens(file.number, times) == 0 else { throw FileFailure("set the time of", file.name, errno) }
  }
}

/// A file on its way, and its digest so far.
final class Partial {
  private let file: Descriptor
  private let digest: BackgroundDigest
  private let writesBack: Bool
  /// Up to where it is being written to the disk.
  private var begun: UInt64 = 0
  var count: UInt64 { digest.count }

  /// - Parameters:
  ///   - total: what it will have.
  ///   - writesBack: whether it begins to go to the disk while it comes.
  fileprivate init(_ file: Descriptor, total: UInt64, writesBack: Bool) {
    self.file = file
    self.writesBack = writesBack
    digest = BackgroundDigest(for: total)
  }

  /// Goes on behind what is there.
  fileprivate convenience init(
    _ file: Descriptor, total: UInt64, writesBack: Bool, rereading status: stat
  ) throws {
    self.init(file, total: total, writesBack: writesBack)
    let size = UInt64(status.st_size)
    while digest.count < size {
      switch file.piece(at: digest.count, end: size, isSparse: status.isSparse) {
      case .hole(let end): digest.update(zeros: end - digest.count)
      case .data(let end):
        let wanted = Int(min(end - digest.count, UInt64(FileLimits.rereading)))
        try withUnsafeTemporaryAllocation(byteCount: wanted, alignment: 16) { buffer in
          let read = try file.read(into: buffer, at: digest.count)
          guard read > 0 else { throw FileFailure("read", file.name, EIO) }
          digest.update(UnsafeRawBufferPointer(rebasing: buffer[..<read]))
        }
      }
    }
  }

  func write(_ bytes: ArraySlice<UInt8>) throws {
    try bytes.withUnsafeBytes { try file.write($0, at: count) }
    digest.update(bytes)
    if writesBack, count - begun >= FileLimits.writeBack { beginWriting() }
  }

  func hole(_ length: UInt64) throws {
    try file.resize(to: count + length)
    digest.update(zeros: length)
  }

  /// Ends the digest: nothing may be written afterwards.
  func finish() -> Bytes32 { digest.finalize() }

  fileprivate func settle(_ entry: FileEntry) throws { try Destination.settle(file, entry) }
  fileprivate func synchronize() throws { try file.synchronize() }

  /// What has not begun to go to the disk.
  fileprivate func beginWriting() {
    file.beginWriting(at: begun, count: count - begun)
    begun = count
  }
}
