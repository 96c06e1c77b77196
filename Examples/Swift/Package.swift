// swift-tools-version: 6.1
import PackageDescription

// Programs to begin with, each in one file: `swift run Chat`, from this folder. All take an address of a private
// network as `HYPERSWARM_BOOTSTRAP=host:port` (`hyperswarm testnet` makes one), and enter the public network without.
let names = ["Chat", "FileDrop", "PortForward", "KeyValue", "EchoServer", "Cores"]

// The one that needs other packages, which are fetched for it alone: `SERVICE_EXAMPLE=1 swift run Service ...`.
let hasService = Context.environment["SERVICE_EXAMPLE"] == "1"

let package = Package(
  name: "hyperswarm-examples",
  platforms: [.macOS(.v15)],
  dependencies: [
    .package(
      name: "hyperswarm", path: Context.environment["HYPERSWARM_CHECKOUT"] ?? "../..",
      traits: hasService ? ["Logging", "Metrics", "ServiceLifecycle", "Tracing"] : [])
  ],
  targets: names.map { name in
    .executableTarget(name: name, dependencies: [.product(name: "Hyperswarm", package: "hyperswarm")])
  },
  swiftLanguageModes: [.v6]
)

if hasService {
  package.dependencies += [
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
    .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
  ]
  package.targets.append(
    .executableTarget(
      name: "Service",
      dependencies: [
        .product(name: "Hyperswarm", package: "hyperswarm"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOHTTP1", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
      ]))
}
