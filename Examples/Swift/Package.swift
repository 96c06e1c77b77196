// swift-tools-version: 6.1
import PackageDescription

// Programs to begin with, each in one file: `swift run Chat`, from this folder. All take an address of a private
// network as `HYPERSWARM_BOOTSTRAP=host:port` (`hyperswarm testnet` makes one), and enter the public network without.
let package = Package(
  name: "hyperswarm-examples",
  platforms: [.macOS(.v15)],
  dependencies: [
    .package(name: "hyperswarm", path: Context.environment["HYPERSWARM_CHECKOUT"] ?? "../..")
  ],
  targets: ["Chat", "FileDrop", "PortForward", "KeyValue", "EchoServer"].map { name in
    .executableTarget(name: name, dependencies: [.product(name: "Hyperswarm", package: "hyperswarm")])
  },
  swiftLanguageModes: [.v6]
)
