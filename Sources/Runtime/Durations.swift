extension Duration {
  /// What an engine counts in milliseconds.
  package init(milliseconds: some BinaryInteger) { self = .milliseconds(Int64(clamping: milliseconds)) }

  /// Rounded up, as the loop counts; 0 for negative ones, saturating.
  package var wholeMilliseconds: UInt64 {
    let (seconds, attoseconds) = components
    guard self > .zero else { return 0 }
    let (whole, overflows) = UInt64(seconds).multipliedReportingOverflow(by: 1000)
    let rest = UInt64((attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000)
    let (sum, overflowsToo) = whole.addingReportingOverflow(rest)
    return overflows || overflowsToo ? .max : sum
  }
}
