extension Duration {
  /// What an engine counts in milliseconds.
  package init(milliseconds: some BinaryInteger) { self = .milliseconds(Int64(clamping: milliseconds)) }

  /// Rounded up, as the loop counts; 0 for negative ones, `Limits.longestDuration` at most.
  package var wholeMilliseconds: UInt64 {
    let (seconds, attoseconds) = min(max(self, .zero), .milliseconds(Limits.longestDuration)).components
    return UInt64(seconds) * 1000 + UInt64((attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000)
  }
}
