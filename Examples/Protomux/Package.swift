// swift-tools-version: 6.1
import PackageDescription

let package = Package(
  name: "todo",
  platforms: [.macOS(.v15)],
  dependencies: [.package(name: "hyperswarm", path: "../..", traits: [])],
  targets: [
    .executableTarget(
      name: "todo",
      dependencies: [
        .product(name: "Hyperswarm", package: "hyperswarm"),
        .product(name: "HyperProtomuxJSON", package: "hyperswarm"),
      ],
      path: "Sources")
  ],
  swiftLanguageModes: [.v6]
)
