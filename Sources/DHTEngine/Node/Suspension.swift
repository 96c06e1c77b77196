/// A suspension that is under way, and what waits for its end.
final class Suspension {
  var waiters: [() -> Void] = []

  init(_ first: (() -> Void)?) {
    if let first { waiters.append(first) }
  }

  func finish() {
    let waiters = waiters
    self.waiters = []
    for waiter in waiters { waiter() }
  }
}
