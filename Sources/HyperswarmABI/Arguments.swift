import CHyperswarm
import HyperCrypto
import HyperEncoding
import HyperRuntime
import HyperswarmEngine

/// A code of `hyperswarm.h`, and what the system said about it.
struct Failure: Error {
  let code: Int32
  let detail: String?

  init(_ code: Int32, _ detail: String? = nil) {
    self.code = code
    self.detail = detail
  }

  init(_ code: Int, _ detail: String? = nil) { self.init(Int32(code), detail) }
}

/// Runs a function's body; its result is the code.
func checked(_ body: () throws(Failure) -> Void) -> Int32 {
  do throws(Failure) {
    try body()
    return Int32(HYPERSWARM_OK)
  } catch {
    LastError.set(error.detail)
    return error.code
  }
}

func require<T>(_ value: T?) throws(Failure) -> T {
  guard let value else { throw Failure(HYPERSWARM_ERR_INVALID_ARGUMENT) }
  return value
}

func find<T>(_ table: HandleTable<T>, _ handle: OpaquePointer?) throws(Failure) -> T {
  if Process.isInherited(handle) { throw Failure(HYPERSWARM_ERR_FORKED) }
  guard let object = table.find(handle) else { throw Failure(HYPERSWARM_ERR_BAD_HANDLE) }
  return object
}

func key(_ pointer: UnsafePointer<UInt8>?) throws(Failure) -> Bytes32 {
  try require(Bytes32(UnsafeRawBufferPointer(start: try require(pointer), count: Bytes32.count)))
}

/// `nil` for NULL; fails for a key whose halves do not belong together.
func keyPair(_ secretKey: UnsafePointer<UInt8>?) throws(Failure) -> KeyPair? {
  guard let secretKey else { return nil }
  return try require(
    KeyPair(secretKey: Array(UnsafeBufferPointer(start: secretKey, count: Int(HYPERSWARM_SECRET_KEY_SIZE)))))
}

/// Keys one after another; none for none.
func keys(_ pointer: UnsafePointer<UInt8>?, _ count: Int) throws(Failure) -> [Bytes32] {
  guard count >= 0, count <= Limits.relays, pointer != nil || count == 0 else {
    throw Failure(HYPERSWARM_ERR_INVALID_ARGUMENT)
  }
  var keys: [Bytes32] = []
  for index in 0..<count { keys.append(try key(pointer.map { $0 + index * Bytes32.count })) }
  return keys
}

func bytes(_ data: UnsafeRawPointer?, _ length: Int) throws(Failure) -> UnsafeRawBufferPointer {
  guard length >= 0, data != nil || length == 0 else { throw Failure(HYPERSWARM_ERR_INVALID_ARGUMENT) }
  return UnsafeRawBufferPointer(start: data, count: length)
}

func text(_ pointer: UnsafePointer<CChar>?) throws(Failure) -> String? {
  guard let pointer else { return nil }
  var length = 0
  while pointer[length] != 0 {
    length += 1
    if length > Limits.text { throw Failure(HYPERSWARM_ERR_INVALID_ARGUMENT) }
  }
  return String(decoding: UnsafeRawBufferPointer(start: pointer, count: length), as: UTF8.self)
}

/// The parts of a list with commas; none for an empty text.
func list(_ text: String) -> [String] {
  text.split(separator: ",").map { part in
    String(part.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
  }
}

/// A struct of the caller that begins with its size: shorter ones come from older programs, longer ones from newer,
/// which must not use what this library does not know. `last` is the last field of the first version that was ever
/// published: nothing is shorter than that. It never changes (docs/c-abi.md).
func sized<T: BitwiseCopyable, Last>(
  _ pointer: UnsafePointer<T>?, from last: KeyPath<T, Last>, zero: T
) throws(Failure) -> T {
  let raw = UnsafeRawPointer(try require(pointer))
  let size = raw.loadUnaligned(as: Int.self)
  guard let offset = MemoryLayout<T>.offset(of: last), size >= offset + MemoryLayout<Last>.size,
    size <= Limits.structSize, size.isMultiple(of: MemoryLayout<T>.alignment)
  else { throw Failure(HYPERSWARM_ERR_INVALID_SIZE) }
  let known = MemoryLayout<T>.size
  var rest = known
  while rest < size {
    guard raw.load(fromByteOffset: rest, as: UInt8.self) == 0 else { throw Failure(HYPERSWARM_ERR_INVALID_SIZE) }
    rest += 1
  }
  var value = zero
  withUnsafeMutableBytes(of: &value) {
    $0.copyMemory(from: UnsafeRawBufferPointer(start: raw, count: min(size, known)))
  }
  return value
}

extension Bytes32 {
  func copy(to target: UnsafeMutablePointer<UInt8>) {
    withUnsafeBytes { UnsafeMutableRawPointer(target).copyMemory(from: $0.baseAddress!, byteCount: Self.count) }
  }
}

extension Bytes64 {
  func copy(to target: UnsafeMutablePointer<UInt8>) {
    withUnsafeBytes { UnsafeMutableRawPointer(target).copyMemory(from: $0.baseAddress!, byteCount: Self.count) }
  }
}

extension String {
  /// At most `count` bytes of the text, no character of it in part.
  package func prefixOfUTF8(_ count: Int) -> Substring.UTF8View {
    var end = utf8.index(utf8.startIndex, offsetBy: count, limitedBy: utf8.endIndex) ?? utf8.endIndex
    while end > utf8.startIndex, end < utf8.endIndex, utf8[end] & 0xc0 == 0x80 { end = utf8.index(before: end) }
    return utf8[..<end]
  }
}
