/// A QR code (ISO/IEC 18004) of a short text in its alphanumeric mode: versions 1 to 6, error correction M, which
/// restores 15 % of the codewords.
struct QRCode {
  /// A version's data codewords and error correction codewords of a block, and its number of blocks, all of one size.
  private struct Shape {
    let data: Int
    let correction: Int
    let blocks: Int
    /// Bits that 11 of a pair of characters and the header of 13 leave room for, in characters.
    var capacity: Int { (data * blocks * 8 - 13) * 2 / 11 }
  }

  /// Table 9 of the standard.
  private static let shapes = [
    Shape(data: 16, correction: 10, blocks: 1), Shape(data: 28, correction: 16, blocks: 1),
    Shape(data: 44, correction: 26, blocks: 1), Shape(data: 32, correction: 18, blocks: 2),
    Shape(data: 43, correction: 24, blocks: 2), Shape(data: 27, correction: 16, blocks: 4),
  ]
  private static let alphabet = Array("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:".utf8)

  private(set) var size: Int
  private(set) var isDark: [[Bool]]
  /// Finder and timing patterns and the like, which no mask changes.
  private var isFixed: [[Bool]]

  /// - Parameter mask: 0 to 7; `nil` takes the one that is best to read.
  /// - Returns: `nil` when the text is too long, or has a character without a code.
  init?(_ text: String, mask: Int? = nil) {
    let values = text.utf8.compactMap { QRCode.alphabet.firstIndex(of: $0) }
    guard values.count == text.utf8.count else { return nil }
    guard let version = QRCode.shapes.firstIndex(where: { $0.capacity >= values.count }) else { return nil }
    size = 21 + 4 * version
    isDark = Array(repeating: Array(repeating: false, count: size), count: size)
    isFixed = isDark
    drawPatterns(version + 1)
    place(QRCode.codewords(values, QRCode.shapes[version]))
    let masks = mask.map { [$0] } ?? Array(0..<8)
    let candidates = masks.map { masked($0) }
    guard let best = candidates.min(by: { $0.penalty < $1.penalty }) else { return nil }
    self = best
  }

  // MARK: Codewords

  private static func codewords(_ values: [Int], _ shape: Shape) -> [UInt8] {
    var bits: [Bool] = []
    func append(_ value: Int, _ count: Int) {
      for bit in (0..<count).reversed() { bits.append(value >> bit & 1 == 1) }
    }
    append(0b0010, 4)
    append(values.count, 9)
    for start in stride(from: 0, to: values.count, by: 2) {
      if start + 1 < values.count {
        append(values[start] * 45 + values[start + 1], 11)
      } else {
        append(values[start], 6)
      }
    }
    let room = shape.data * shape.blocks * 8
    append(0, min(4, room - bits.count))
    append(0, (8 - bits.count % 8) % 8)
    var data = stride(from: 0, to: bits.count, by: 8).map { start in
      bits[start..<start + 8].reduce(UInt8(0)) { $0 << 1 | ($1 ? 1 : 0) }
    }
    var padding: UInt8 = 0xec
    while data.count < room / 8 {
      data.append(padding)
      padding ^= 0xec ^ 0x11
    }
    let blocks = (0..<shape.blocks).map { Array(data[$0 * shape.data..<($0 + 1) * shape.data]) }
    let corrections = blocks.map { correction(of: $0, shape.correction) }
    return (0..<shape.data).flatMap { index in blocks.map { $0[index] } }
      + (0..<shape.correction).flatMap { index in corrections.map { $0[index] } }
  }

  /// The remainder of the block by the generator polynomial, over GF(256) modulo 0x11d.
  private static func correction(of block: [UInt8], _ count: Int) -> [UInt8] {
    var generator: [UInt8] = [1]
    var root: UInt8 = 1
    for _ in 0..<count {
      var next = generator + [0]
      for (index, factor) in generator.enumerated() { next[index + 1] ^= product(factor, root) }
      generator = next
      root = product(root, 2)
    }
    var remainder = [UInt8](repeating: 0, count: count)
    for byte in block {
      let factor = byte ^ remainder.removeFirst()
      remainder.append(0)
      for index in 0..<count { remainder[index] ^= product(generator[index + 1], factor) }
    }
    return remainder
  }

  private static func product(_ a: UInt8, _ b: UInt8) -> UInt8 {
    var (result, a, b) = (UInt8(0), a, b)
    while b > 0 {
      if b & 1 == 1 { result ^= a }
      a = a << 1 ^ (a & 0x80 != 0 ? 0x1d : 0)
      b >>= 1
    }
    return result
  }

  // MARK: Modules

  private mutating func fix(_ row: Int, _ column: Int, _ dark: Bool) {
    isDark[row][column] = dark
    isFixed[row][column] = true
  }

  private mutating func drawPatterns(_ version: Int) {
    for index in 0..<size {
      fix(6, index, index.isMultiple(of: 2))
      fix(index, 6, index.isMultiple(of: 2))
    }
    for (row, column) in [(3, 3), (3, size - 4), (size - 4, 3)] { drawFinder(row, column) }
    if version > 1 {
      for row in -2...2 {
        for column in -2...2 { fix(size - 7 + row, size - 7 + column, max(abs(row), abs(column)) != 1) }
      }
    }
    // Room for the format, which depends on the mask.
    drawFormat(0)
  }

  private mutating func drawFinder(_ row: Int, _ column: Int) {
    for y in -4...4 {
      for x in -4...4 where (0..<size).contains(row + y) && (0..<size).contains(column + x) {
        let distance = max(abs(y), abs(x))
        fix(row + y, column + x, distance != 2 && distance != 4)
      }
    }
  }

  /// Error correction M, whose number is 0, and the mask, with the remainder of a BCH code.
  private mutating func drawFormat(_ mask: Int) {
    var remainder = mask
    for _ in 0..<10 { remainder = remainder << 1 ^ (remainder >> 9) * 0x537 }
    let bits = (mask << 10 | remainder) ^ 0x5412
    func bit(_ index: Int) -> Bool { bits >> index & 1 == 1 }
    for index in 0...5 { fix(index, 8, bit(index)) }
    fix(7, 8, bit(6))
    fix(8, 8, bit(7))
    fix(8, 7, bit(8))
    for index in 9..<15 { fix(8, 14 - index, bit(index)) }
    for index in 0..<8 { fix(8, size - 1 - index, bit(index)) }
    for index in 8..<15 { fix(size - 15 + index, 8, bit(index)) }
    fix(size - 8, 8, true)
  }

  /// In columns of two modules, from the right to the left, upwards and downwards in turn.
  private mutating func place(_ codewords: [UInt8]) {
    var index = 0
    var isUpward = true
    for right in [Int](stride(from: size - 1, to: 6, by: -2)) + [5, 3, 1] {
      for step in 0..<size {
        let row = isUpward ? size - 1 - step : step
        for column in [right, right - 1] where !isFixed[row][column] && index < codewords.count * 8 {
          isDark[row][column] = codewords[index >> 3] >> (7 - index & 7) & 1 == 1
          index += 1
        }
      }
      isUpward.toggle()
    }
  }

  private func masked(_ mask: Int) -> QRCode {
    var code = self
    code.drawFormat(mask)
    for row in 0..<size {
      for column in 0..<size where !isFixed[row][column] && QRCode.inverts(mask, row, column) {
        code.isDark[row][column].toggle()
      }
    }
    return code
  }

  private static func inverts(_ mask: Int, _ row: Int, _ column: Int) -> Bool {
    switch mask {
    case 0: (row + column) % 2 == 0
    case 1: row % 2 == 0
    case 2: column % 3 == 0
    case 3: (row + column) % 3 == 0
    case 4: (row / 2 + column / 3) % 2 == 0
    case 5: row * column % 2 + row * column % 3 == 0
    case 6: (row * column % 2 + row * column % 3) % 2 == 0
    default: ((row + column) % 2 + row * column % 3) % 2 == 0
    }
  }

  /// What makes a code hard to read: runs, blocks, what looks like a finder, and too much of one colour.
  private var penalty: Int {
    let columns = (0..<size).map { column in isDark.map { $0[column] } }
    var sum = (isDark + columns).reduce(0) { $0 + QRCode.penalty(of: $1) }
    for row in 0..<size - 1 {
      for column in 0..<size - 1 {
        let dark = isDark[row][column]
        if isDark[row][column + 1] == dark, isDark[row + 1][column] == dark, isDark[row + 1][column + 1] == dark {
          sum += 3
        }
      }
    }
    let dark = isDark.reduce(0) { $0 + $1.count { $0 } }
    return sum + abs(dark * 20 - size * size * 10) / (size * size) * 10
  }

  private static let finder = [true, false, true, true, true, false, true]
  private static let margin = [Bool](repeating: false, count: 4)

  private static func penalty(of line: [Bool]) -> Int {
    var sum = 0
    var start = 0
    for index in 1...line.count where index == line.count || line[index] != line[start] {
      if index - start >= 5 { sum += index - start - 2 }
      start = index
    }
    for start in 0...line.count - 11 {
      let part = Array(line[start..<start + 11])
      if part == finder + margin || part == margin + finder { sum += 40 }
    }
    return sum
  }

  // MARK: Text

  /// Two rows of modules in a line, with a margin of two modules: light ones are drawn, in white on black where the
  /// terminal has colours, else as on a dark background.
  func lines(inColour: Bool) -> [String] {
    let margin = 2
    func isLight(_ row: Int, _ column: Int) -> Bool {
      guard row < size + margin else { return false }
      guard (0..<size).contains(row), (0..<size).contains(column) else { return true }
      return !isDark[row][column]
    }
    return stride(from: -margin, to: size + margin, by: 2).map { row in
      let line = (-margin..<size + margin).map { column -> String in
        switch (isLight(row, column), isLight(row + 1, column)) {
        case (true, true): "█"
        case (true, false): "▀"
        case (false, true): "▄"
        case (false, false): " "
        }
      }.joined()
      return inColour ? "\u{1b}[97;40m\(line)\u{1b}[0m" : line
    }
  }
}
