/// An error with a code that is stable across releases and languages.
package protocol CodedError: Error, Hashable, CustomStringConvertible {
  var code: String { get }
}

/// An error of another layer, which passes through with its type and payload.
package struct AnyCodedError: CodedError {
  package let error: any CodedError

  package init(_ error: some CodedError) { self.error = error }

  package var code: String { error.code }
  package var description: String { error.description }

  package static func == (left: AnyCodedError, right: AnyCodedError) -> Bool {
    AnyHashable(left.error) == AnyHashable(right.error)
  }

  package func hash(into hasher: inout Hasher) { error.hash(into: &hasher) }
}
