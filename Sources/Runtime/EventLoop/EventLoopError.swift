import CHyperUV

/// Why a loop could not be made or run: a negative errno as libuv has it, and its text.
public struct EventLoopError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The negative errno of libuv.
  public let code: Int32
  /// What libuv says of it, for people.
  public let description: String

  init(_ code: Int32) {
    self.code = code
    description = String(cString: uv_strerror(code))
  }
}
