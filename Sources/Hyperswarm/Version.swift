/// The version of this package. `Scripts/check` compares it with the file VERSION; `Scripts/set-version` writes both.
package let versionText: StaticString = "0.1.0"

extension Hyperswarm {
  /// The version of this package.
  public static var version: String { versionText.description }
}
