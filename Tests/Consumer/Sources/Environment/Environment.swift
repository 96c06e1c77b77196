/// The consumer's own module of this name.
public enum OwnEnvironment {
  public static let name = "Environment"
}
