/// The consumer's own module of this name.
public enum OwnCrypto {
  public static let name = "Crypto"
}
