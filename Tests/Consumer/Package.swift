// swift-tools-version: 6.1
import PackageDescription

// A program whose own targets have the names that this package's rooms could have had: target names are unique across
// all packages of a program. A program that uses what the package has behind traits for operation. And one that imports
// the other products. A test, Tests/Scripts/test_consumer, copies it to a temporary folder and runs all there.
let ownTargets = ["Environment", "RPC", "Runtime", "UDX", "Crypto", "Encoding"]

let package = Package(
  name: "consumer",
  platforms: [.macOS(.v15)],
  dependencies: [
    .package(
      name: "hyperswarm", path: Context.environment["HYPERSWARM_CHECKOUT"] ?? "../..",
      traits: ["Logging", "Metrics", "ServiceLifecycle", "Tracing"]),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    .package(url: "https://github.com/apple/swift-metrics", from: "2.13.0"),
    .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    .package(url: "https://github.com/apple/swift-distributed-tracing", from: "1.7.3"),
  ],
  targets: [
    .target(name: "CSodium"),
    .executableTarget(
      name: "Consumer",
      dependencies: [.product(name: "Hyperswarm", package: "hyperswarm"), "CSodium"]
        + ownTargets.map { .target(name: $0) }),
    .executableTarget(
      name: "Operations",
      dependencies: [
        .product(name: "Hyperswarm", package: "hyperswarm"),
        .product(name: "HyperProtomux", package: "hyperswarm"),
        .product(name: "Logging", package: "swift-log"), .product(name: "InMemoryLogging", package: "swift-log"),
        .product(name: "Metrics", package: "swift-metrics"), .product(name: "MetricsTestKit", package: "swift-metrics"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
        .product(name: "Tracing", package: "swift-distributed-tracing"),
        .product(name: "InMemoryTracing", package: "swift-distributed-tracing"),
      ]),
    .executableTarget(
      name: "Products",
      dependencies: ["Hyperswarm", "HyperDHT", "HyperNoise", "HyperProtomuxJSON", "HyperUDX", "HyperswarmTesting"].map {
        .product(name: $0, package: "hyperswarm")
      }),
  ] + ownTargets.map { .target(name: $0) },
  swiftLanguageModes: [.v6]
)
