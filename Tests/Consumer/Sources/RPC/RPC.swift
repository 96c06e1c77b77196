/// The consumer's own module of this name.
public enum OwnRPC {
  public static let name = "RPC"
}
