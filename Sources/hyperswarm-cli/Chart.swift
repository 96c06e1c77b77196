import Foundation

/// Figures drawn with characters, and in words.
enum Chart {
  /// One character for each value, the largest at full height.
  static func sparks(_ values: [Double]) -> String {
    let highest = values.max() ?? 0
    let steps = Array("\u{2581}\u{2582}\u{2583}\u{2584}\u{2585}\u{2586}\u{2587}\u{2588}")
    return String(values.map { highest > 0 ? steps[min(7, max(0, Int($0 / highest * 8)))] : steps[0] })
  }

  /// A bar in eighths of a character, `width` characters for the whole.
  static func bar(_ part: Double, of whole: Double, width: Int) -> String {
    guard whole > 0, part > 0 else { return "" }
    let eighths = max(1, Int((min(1, part / whole) * Double(width * 8)).rounded()))
    let rest = ["", "\u{258f}", "\u{258e}", "\u{258d}", "\u{258c}", "\u{258b}", "\u{258a}", "\u{2589}"][eighths % 8]
    return String(repeating: "\u{2588}", count: eighths / 8) + rest
  }

  /// Three significant digits and a unit.
  static func bytes(_ count: Double) -> String {
    let units = ["B", "kB", "MB", "GB", "TB", "PB"]
    var value = count
    var unit = 0
    while value >= 999.5, unit < units.count - 1 {
      value /= 1000
      unit += 1
    }
    if unit == 0 || value >= 99.95 { return "\(Int(value.rounded())) \(units[unit])" }
    return String(format: value >= 9.995 ? "%.1f" : "%.2f", value) + " \(units[unit])"
  }
}
