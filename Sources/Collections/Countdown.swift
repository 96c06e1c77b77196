/// Runs a closure once, as soon as everything that has entered has left and no more will enter.
package final class Countdown {
  /// What has entered and not left, and 1 until ``seal()``.
  private var open = 1
  private var body: (() -> Void)?

  package init(_ body: @escaping () -> Void) { self.body = body }

  /// The closure that leaves; calls of it after the first do nothing. Entering a finished countdown delays nothing.
  package func enter() -> () -> Void {
    open += 1
    var hasLeft = false
    return {
      guard !hasLeft else { return }
      hasLeft = true
      self.leave()
    }
  }

  /// Nothing enters any more; called once.
  package func seal() { leave() }

  private func leave() {
    open -= 1
    guard open == 0, let body else { return }
    self.body = nil
    body()
  }
}
