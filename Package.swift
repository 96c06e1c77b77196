// swift-tools-version: 6.1
import PackageDescription

// The map of the house is in README.md. Layers only look downwards:
// Hyperswarm > HyperDHT > RPC, SecretStream > Environment, CryptoPrimitives > CompactEncoding,
// and beside them EventLoop and UDX, the production drivers over libuv.
let package = Package(
  name: "hyperswarm",
  platforms: [.macOS(.v15)],
  products: [
    .library(name: "Hyperswarm", targets: ["Hyperswarm"]),
    .library(name: "HyperDHT", targets: ["HyperDHT"]),
    // Not "UDX": its file would collide with that of the C library libudx on file systems that ignore case.
    .library(name: "HyperswarmUDX", targets: ["UDX"]),
    // For C: include/hyperswarm.h.
    .library(name: "hyperswarm-c", type: .dynamic, targets: ["HyperswarmABI"]),
    .library(name: "hyperswarm-c-static", type: .static, targets: ["HyperswarmABI"]),
    .executable(name: "hyperswarm", targets: ["hyperswarm-cli"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2")
  ],
  targets: [
    .systemLibrary(
      name: "CLibuv", path: "Sources/CLibuv", pkgConfig: "libuv",
      providers: [.apt(["libuv1-dev"]), .brew(["libuv"])]),
    .systemLibrary(
      name: "CSodium", path: "Sources/CSodium", pkgConfig: "libsodium",
      providers: [.apt(["libsodium-dev"]), .brew(["libsodium"])]),

    .target(name: "CompactEncoding"),
    .target(name: "CryptoPrimitives", dependencies: ["CompactEncoding", "CSodium"]),
    .target(name: "Environment", dependencies: ["CompactEncoding"]),
    .target(name: "SecretStream", dependencies: ["CompactEncoding", "CryptoPrimitives", "Environment", "CSodium"]),
    .target(name: "RPC", dependencies: ["CompactEncoding", "CryptoPrimitives", "Environment"]),
    .target(name: "HyperDHT", dependencies: ["RPC", "SecretStream", "EventLoop", "UDX"]),
    .target(name: "Hyperswarm", dependencies: ["HyperDHT", "EventLoop", "UDX"]),

    .target(name: "HyperswarmABI", dependencies: ["Hyperswarm", "CUDX", "EventLoop", "UDX"]),

    .target(
      name: "CUDX", dependencies: ["CLibuv"], path: "Sources/CUDX",
      cSettings: [.headerSearchPath("."), .define("_GNU_SOURCE")]),
    .target(
      name: "UDX", dependencies: ["CUDX", "CLibuv", "CompactEncoding", "CryptoPrimitives", "Environment", "EventLoop"]),
    .target(name: "EventLoop", dependencies: ["CompactEncoding", "Environment", "CLibuv"]),

    // Whole stacks on a virtual network in virtual time.
    .target(
      name: "HyperswarmTesting",
      dependencies: ["CUDX", "CompactEncoding", "Environment", "TestSupport", "UDX"]),

    .executableTarget(
      name: "hyperswarm-cli",
      dependencies: ["Hyperswarm", .product(name: "ArgumentParser", package: "swift-argument-parser")]),

    .executableTarget(
      name: "secret-stream-benchmark",
      dependencies: ["SecretStream", "CompactEncoding", "CryptoPrimitives", "Environment", "CSodium"],
      path: "Benchmarks/SecretStream"),

    .executableTarget(name: "stack-benchmark", dependencies: ["Hyperswarm"], path: "Benchmarks/Stack"),

    .target(name: "VectorSupport", path: "Tests/VectorSupport"),
    .target(name: "TestSupport", dependencies: ["CompactEncoding", "Environment"], path: "Tests/TestSupport"),
    .testTarget(name: "CompactEncodingTests", dependencies: ["CompactEncoding", "VectorSupport"]),
    .testTarget(name: "CryptoPrimitivesTests", dependencies: ["CryptoPrimitives", "VectorSupport"]),
    .testTarget(name: "CLITests", dependencies: ["hyperswarm-cli", "CryptoPrimitives"]),
    .testTarget(
      name: "HyperswarmTests", dependencies: ["Hyperswarm", "HyperswarmTesting", "TestSupport", "VectorSupport"]),
    .testTarget(
      name: "HyperDHTTests", dependencies: ["HyperDHT", "HyperswarmTesting", "TestSupport", "VectorSupport"]),
    .testTarget(name: "UDXTests", dependencies: ["UDX", "HyperswarmTesting", "TestSupport"]),
    .testTarget(name: "EventLoopTests", dependencies: ["EventLoop"]),
    .testTarget(
      name: "SecretStreamTests",
      dependencies: [
        "SecretStream", "CompactEncoding", "CryptoPrimitives", "Environment", "VectorSupport", "TestSupport",
      ]),
    // The programs of the README, compiled as they stand.
    .executableTarget(name: "ReadmeExample", dependencies: ["Hyperswarm"], path: "Tests/Readme/Example"),
    .executableTarget(
      name: "ReadmeCExample", dependencies: ["HyperswarmABI"], path: "Tests/Readme/CExample",
      cSettings: [.headerSearchPath("../../../include")]),
    .testTarget(name: "ReadmeTests", path: "Tests/Readme/ReadmeTests"),
    // The C interface, used from C.
    .target(
      name: "HyperswarmABIChecks", dependencies: ["HyperswarmABI", "CLibuv"], path: "Tests/HyperswarmABIChecks",
      cSettings: [.headerSearchPath("../../include"), .define("_GNU_SOURCE")]),
    .testTarget(
      name: "HyperswarmABITests", dependencies: ["HyperswarmABI", "HyperswarmABIChecks", "Hyperswarm"]),
    .testTarget(name: "RPCTests", dependencies: ["RPC", "TestSupport", "VectorSupport"]),
  ],
  swiftLanguageModes: [.v6]
)
