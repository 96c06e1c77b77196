/// The consumer's own module of this name.
public enum OwnRuntime {
  public static let name = "Runtime"
}
