/// Callbacks in the order of their registration; may be changed while they run.
package final class ObserverList<Value> {
  private var observers: [(id: Int, body: (Value) -> Void)] = []
  private var nextID = 0

  package init() {}

  /// A handle for `remove`.
  @discardableResult
  package func add(_ body: @escaping (Value) -> Void) -> Int {
    nextID += 1
    observers.append((nextID, body))
    return nextID
  }

  /// The result removes the observer.
  package func observe(_ body: @escaping (Value) -> Void) -> () -> Void {
    let id = add(body)
    return { [weak self] in self?.remove(id) }
  }

  package var count: Int { observers.count }

  package func remove(_ id: Int) { observers.removeAll { $0.id == id } }

  func notify(_ value: Value) {
    for observer in observers { observer.body(value) }
  }
}
