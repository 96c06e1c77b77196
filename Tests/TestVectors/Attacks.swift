/// Prints a row of the table of `Tests/Attacks/run`: what was done, what has to hold, what was measured. The test
/// itself asserts the bound; the row says "held" if the test passes.
public func report(attack: String, bound: String, measured: String) {
  print("attack: \(attack) | \(bound) | \(measured)")
}
