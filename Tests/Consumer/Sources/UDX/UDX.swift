/// The consumer's own module of this name.
public enum OwnUDX {
  public static let name = "UDX"
}
