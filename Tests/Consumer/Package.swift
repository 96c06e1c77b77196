// swift-tools-version: 6.1
import PackageDescription

// A program whose own targets have the names that this package's rooms could have had: target names are unique across
// all packages of a program. Tests/Scripts/test_consumer copies it to a temporary folder and runs it there.
let ownTargets = ["Environment", "RPC", "Runtime", "UDX", "Crypto", "Encoding"]

let package = Package(
  name: "consumer",
  platforms: [.macOS(.v15)],
  dependencies: [
    .package(name: "hyperswarm", path: Context.environment["HYPERSWARM_CHECKOUT"] ?? "../..")
  ],
  targets: [
    .target(name: "CSodium"),
    .executableTarget(
      name: "Consumer",
      dependencies: [.product(name: "Hyperswarm", package: "hyperswarm"), "CSodium"]
        + ownTargets.map { .target(name: $0) }),
  ] + ownTargets.map { .target(name: $0) },
  swiftLanguageModes: [.v6]
)
