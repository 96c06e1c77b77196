import HyperRuntime

extension HyperDHT {
  /// Things that happen one after the other. Each element goes to one reader, also when there are several: iterators of
  /// one sequence share it.
  ///
  /// Buffered up to a number that the source states; what happens with more is the source's affair, too. Cancelling the
  /// reading task ends its loop (with `nil`), the sequence itself goes on.
  public struct Events<Element: Sendable, Failure: Error>: AsyncSequence, Sendable {
    let queue: EventQueue<Element, Failure>

    package init(_ queue: EventQueue<Element, Failure>) { self.queue = queue }

    public func makeAsyncIterator() -> Iterator { Iterator(queue: queue) }

    /// Takes the elements one by one.
    public struct Iterator: AsyncIteratorProtocol {
      let queue: EventQueue<Element, Failure>

      public mutating func next(isolation actor: isolated (any Actor)?) async throws(Failure) -> Element? {
        try await queue.next()
      }

      public mutating func next() async throws(Failure) -> Element? { try await queue.next() }
    }
  }
}
