/// Why bytes could not be decoded, or a value not encoded.
public enum CompactError: Error, Hashable, Sendable {
  /// The input ends before the value does.
  case outOfBounds
  /// An array announces more than ``Limits/maximumArrayCount`` elements.
  case arrayTooBig
  /// A fixed-size value has another size.
  case wrongSize
  /// A number is negative or above what the field holds.
  case notAnUnsignedInteger
  /// A number above 2^53 - 1, which the JavaScript peers cannot represent.
  case unsafeInteger
  /// Text that is not a literal address.
  case invalidAddress
  /// A field holds a value outside its enumeration.
  case invalidValue
}
