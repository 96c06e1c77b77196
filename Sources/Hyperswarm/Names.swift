/// Another name of `Hyperswarm`, for programs that have something else of that name.
public typealias Swarm = Hyperswarm

// Module and class share a name, of which the class is found first: `Hyperswarm.HyperswarmError` is looked for inside
// the class. Module interfaces (.swiftinterface) of libraries write all names like that. So what the module has is in
// the class, too: docs/public-api.md.

extension Hyperswarm {
  /// The class itself: what the module's name in front means, too.
  public typealias Hyperswarm = Hyperswarm::Hyperswarm
  /// `HyperswarmError` with the module's name in front.
  public typealias HyperswarmError = Hyperswarm::HyperswarmError
  /// `Swarm` with the module's name in front.
  public typealias Swarm = Hyperswarm::Swarm
}
