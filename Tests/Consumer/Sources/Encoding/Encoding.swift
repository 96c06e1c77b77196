/// The consumer's own module of this name.
public enum OwnEncoding {
  public static let name = "Encoding"
}
