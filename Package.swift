// swift-tools-version: 6.2
import PackageDescription

// The rooms and what each may use: docs/ARCHITECTURE.md. A target lists exactly what it imports, so this file is the
// graph of the layers; continuous integration enforces it. Every target has a name of our own, because target names are
// unique across all packages of a program; folders are short.

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Whether libcrypto's description for pkg-config is where pkg-config looks: then the frame cipher uses it by default.
/// The version is the compiler's to judge: Sources/CCipher falls back to libsodium before OpenSSL 3. Builds with a
/// system root of their own say `--traits LibCrypto` or `--disable-default-traits`.
let hasLibCrypto: Bool = {
  let environment = Context.environment
  var folders = (environment["PKG_CONFIG_PATH"] ?? "").split(separator: ":").map(String.init)
  if let replacement = environment["PKG_CONFIG_LIBDIR"] {
    folders += replacement.split(separator: ":").map(String.init)
  } else {
    for prefix in ["/usr", "/usr/local", "/opt/homebrew/opt/openssl@3", "/usr/local/opt/openssl@3"] {
      for library in ["lib", "lib64", "lib/x86_64-linux-gnu", "lib/aarch64-linux-gnu", "share"] {
        folders.append("\(prefix)/\(library)/pkgconfig")
      }
    }
  }
  return folders.contains { access("\($0)/libcrypto.pc", R_OK) == 0 }
}()

/// Whether the package manager has fetched this package for another one, which has no use for the command-line tool.
/// While it chooses versions it reads the manifest out of the repository, whose folder is "/" then.
let isFetched: Bool = {
  let folder = Context.packageDirectory
  return folder == "/" || folder.contains("/checkouts/") && access("\(folder)/../../repositories", R_OK) == 0
}()

/// What needs a package of another origin: left out by the CMake build of the C library, which then needs no network.
let isForLibrary = Context.environment["HYPERSWARM_LIBRARY_ONLY"] == "1"

/// What nodes and swarms have for programs that log, measure, trace and run services: each behind the trait of the same
/// name.
let operations: [Target.Dependency] =
  isForLibrary
  ? []
  : [
    .product(name: "Logging", package: "swift-log", condition: .when(traits: ["Logging"])),
    .product(name: "Metrics", package: "swift-metrics", condition: .when(traits: ["Metrics"])),
    .product(
      name: "ServiceLifecycle", package: "swift-service-lifecycle", condition: .when(traits: ["ServiceLifecycle"])),
    .product(name: "Tracing", package: "swift-distributed-tracing", condition: .when(traits: ["Tracing"])),
  ]

/// The engines and the ground they stand on: no libuv, no sockets, no clock.
let engines: [Target] = [
  .target(name: "HyperEncoding", path: "Sources/Encoding"),
  .target(name: "HyperCollections", dependencies: ["HyperEncoding"], path: "Sources/Collections"),
  .target(name: "HyperCrypto", dependencies: ["HyperEncoding", "CHyperSodium"], path: "Sources/Crypto"),
  .target(name: "HyperEnvironment", dependencies: ["HyperEncoding"], path: "Sources/Environment"),
  .target(
    name: "HyperSecretStream",
    dependencies: ["HyperEncoding", "HyperCrypto", "HyperEnvironment", "CHyperCipher", "CHyperSodium"],
    path: "Sources/SecretStream"),
  .target(
    name: "HyperRPC", dependencies: ["HyperEncoding", "HyperCollections", "HyperCrypto", "HyperEnvironment"],
    path: "Sources/RPC"),
  .target(name: "HyperProtomuxEngine", dependencies: ["HyperEncoding"], path: "Sources/ProtomuxEngine"),
  .target(
    name: "HyperDHTEngine",
    dependencies: [
      "HyperEncoding", "HyperCollections", "HyperCrypto", "HyperEnvironment", "HyperSecretStream", "HyperRPC",
      "HyperProtomuxEngine",
    ],
    path: "Sources/DHTEngine"),
  .target(
    name: "HyperswarmEngine",
    dependencies: [
      "HyperEncoding", "HyperCollections", "HyperCrypto", "HyperEnvironment", "HyperSecretStream", "HyperRPC",
      "HyperDHTEngine",
    ],
    path: "Sources/SwarmEngine"),
]

/// What the engines run on: the C transport, the event loop, the helpers between threads.
let runtime: [Target] = [
  .systemLibrary(
    name: "CHyperUV", path: "Sources/CLibuv", pkgConfig: "libuv",
    providers: [.apt(["libuv1-dev"]), .brew(["libuv"])]),
  .systemLibrary(
    name: "CHyperSodium", path: "Sources/CSodium", pkgConfig: "libsodium",
    providers: [.apt(["libsodium-dev"]), .brew(["libsodium"])]),
  .systemLibrary(
    name: "CHyperCrypto", path: "Sources/CCrypto", pkgConfig: "libcrypto",
    providers: [.apt(["libssl-dev"]), .brew(["openssl@3"])]),
  .target(
    name: "CHyperCipher",
    dependencies: ["CHyperSodium", .target(name: "CHyperCrypto", condition: .when(traits: ["LibCrypto"]))],
    path: "Sources/CCipher", cSettings: [.define("HYPER_LIBCRYPTO", .when(traits: ["LibCrypto"]))]),
  .target(name: "CHyperLoop", dependencies: ["CHyperUV"], path: "Sources/CLoop", cSettings: [.define("_GNU_SOURCE")]),
  .target(
    name: "CHyperUDX", dependencies: ["CHyperUV", "CHyperLoop"], path: "Sources/CUDX",
    cSettings: [
      .headerSearchPath("."), .headerSearchPath("../../include"), .define("_GNU_SOURCE"),
      // The engine proves its invariants after every entry point.
      .define("UDX_CHECKS", .when(configuration: .debug)),
    ]),
  .target(
    name: "HyperRuntime", dependencies: ["HyperEncoding", "HyperEnvironment", "CHyperLoop", "CHyperUV"],
    path: "Sources/Runtime"),
]

/// What programs use.
let faces: [Target] = [
  .target(
    name: "HyperUDX",
    dependencies: ["HyperEncoding", "HyperCrypto", "HyperEnvironment", "HyperRuntime", "CHyperUDX", "CHyperUV"],
    path: "Sources/UDX"),
  .target(
    name: "HyperNoise",
    dependencies: [
      "HyperEncoding", "HyperCrypto", "HyperEnvironment", "HyperSecretStream", "HyperRuntime", "HyperUDX", "CHyperUV",
    ],
    path: "Sources/Noise"),
  .target(
    name: "HyperDHT",
    dependencies: [
      "HyperEncoding", "HyperCollections", "HyperCrypto", "HyperEnvironment", "HyperSecretStream", "HyperRPC",
      "HyperDHTEngine",
      "HyperRuntime", "HyperUDX",
    ] + operations),
  .target(
    name: "Hyperswarm",
    dependencies: [
      "HyperEncoding", "HyperCrypto", "HyperEnvironment", "HyperSecretStream", "HyperDHTEngine", "HyperswarmEngine",
      "HyperRuntime", "HyperUDX", "HyperDHT",
    ] + operations),
  .target(
    name: "HyperProtomux",
    dependencies: [
      "HyperEncoding", "HyperEnvironment", "HyperDHTEngine", "HyperProtomuxEngine", "HyperRuntime", "HyperUDX",
      "HyperDHT",
    ],
    path: "Sources/Protomux"),
  .target(name: "HyperProtomuxJSON", dependencies: ["HyperProtomux"], path: "Sources/ProtomuxJSON"),
  .systemLibrary(name: "CHyperswarm", path: "Sources/CHyperswarm"),
  .target(
    name: "HyperswarmABI",
    dependencies: [
      "HyperEncoding", "HyperCrypto", "HyperEnvironment", "HyperSecretStream", "HyperRPC", "HyperDHTEngine",
      "HyperswarmEngine", "HyperProtomuxEngine", "HyperRuntime", "HyperUDX", "HyperDHT", "Hyperswarm", "CHyperswarm",
      "CHyperUV", "CHyperLoop",
    ]),
  // Whole stacks on a virtual network in virtual time.
  .target(
    name: "HyperswarmTesting",
    dependencies: [
      "HyperEncoding", "HyperCrypto", "HyperEnvironment", "HyperSecretStream", "HyperRPC", "HyperDHTEngine",
      "HyperswarmEngine", "HyperRuntime", "HyperUDX", "CHyperUDX",
    ]),
]

let programs: [Target] = [
  // The protocol of `send` and `receive`: no files, no sockets.
  .target(
    name: "HyperFileTransfer", dependencies: ["HyperEncoding", "HyperCrypto", "CHyperBlake2", "CHyperSodium"],
    path: "Sources/FileTransfer"),
  // BLAKE2b of several inputs at once.
  .target(name: "CHyperBlake2", path: "Sources/CBlake2"),
  .executableTarget(
    name: "hyperswarm-cli",
    dependencies: [
      "HyperEncoding", "HyperCrypto", "HyperDHT", "Hyperswarm", "HyperProtomux", "HyperFileTransfer",
      .product(
        name: "ArgumentParser", package: "swift-argument-parser", condition: .when(traits: ["CommandLineTool"])),
    ]),
  .executableTarget(
    name: "hyperswarm-example-simulation", dependencies: ["HyperswarmTesting"], path: "Examples/Simulation"),
  // A package of its own; here for the tests.
  .executableTarget(
    name: "hyperswarm-example-protomux", dependencies: ["Hyperswarm", "HyperProtomuxJSON"],
    path: "Examples/Protomux/Sources"),
  .executableTarget(
    name: "hyperswarm-benchmark-secret-stream",
    dependencies: [
      "HyperSecretStream", "HyperEncoding", "HyperCrypto", "HyperEnvironment", "CHyperCipher", "CHyperSodium",
    ],
    path: "Benchmarks/SecretStream"),
  .executableTarget(
    name: "hyperswarm-benchmark-rpc",
    dependencies: ["HyperRPC", "HyperEncoding", "HyperEnvironment", "HyperRuntime", "HyperUDX"],
    path: "Benchmarks/RPC/Sources"),
  .executableTarget(
    name: "hyperswarm-benchmark-stack", dependencies: ["Hyperswarm", "HyperDHT", "HyperEncoding", "CHyperCounters"],
    path: "Benchmarks/Stack", exclude: ["RESULTS.md"]),
  .executableTarget(
    name: "hyperswarm-benchmark-interfaces",
    dependencies: [
      "HyperDHT", "HyperEncoding", "HyperRuntime", "HyperswarmABI", "CHyperswarm", "CHyperAllocations",
    ], path: "Benchmarks/Interfaces", exclude: ["run"]),
  .executableTarget(
    name: "hyperswarm-benchmark-workloads",
    dependencies: ["Hyperswarm", "HyperDHT", "HyperEncoding", "HyperswarmTesting"],
    path: "Benchmarks/Workloads"),
  .executableTarget(
    name: "hyperswarm-benchmark-c", dependencies: ["HyperswarmABI", "CHyperUV"], path: "Benchmarks/C",
    cSettings: [.headerSearchPath("../../include"), .define("_GNU_SOURCE")]),
  .target(name: "CHyperCounters", path: "Benchmarks/Counters", cSettings: [.define("_GNU_SOURCE")]),
]

let tests: [Target] = [
  .target(name: "HyperTestVectors", dependencies: ["CHyperAllocations"], path: "Tests/TestVectors"),
  .target(name: "CHyperAllocations", path: "Tests/CAllocations", cSettings: [.define("_GNU_SOURCE")]),
  .target(name: "CHyperCryptoCalls", path: "Tests/CCryptoCalls", cSettings: [.define("_GNU_SOURCE")]),
  .testTarget(name: "EncodingTests", dependencies: ["HyperEncoding", "HyperTestVectors"]),
  .testTarget(name: "CollectionsTests", dependencies: ["HyperCollections", "HyperEncoding"]),
  .testTarget(name: "CryptoTests", dependencies: ["HyperCrypto", "HyperEncoding", "HyperTestVectors"]),
  .testTarget(
    name: "SecretStreamTests",
    dependencies: [
      "HyperSecretStream", "HyperEncoding", "HyperCrypto", "HyperEnvironment", "HyperTestVectors",
      "HyperswarmTesting", "CHyperAllocations", "CHyperCipher",
    ]),
  .testTarget(
    name: "RPCTests",
    dependencies: [
      "HyperRPC", "HyperEncoding", "HyperCollections", "HyperCrypto", "HyperEnvironment", "HyperswarmTesting",
      "HyperTestVectors", "CHyperAllocations",
    ]),
  .testTarget(
    name: "DHTEngineTests",
    dependencies: [
      "HyperCollections", "HyperDHTEngine", "HyperRPC", "HyperSecretStream", "HyperProtomuxEngine", "HyperEncoding",
      "HyperCrypto",
      "HyperEnvironment", "HyperRuntime", "HyperUDX", "HyperswarmTesting", "HyperTestVectors", "CHyperCryptoCalls",
    ]),
  .testTarget(
    name: "NoiseTests", dependencies: ["HyperNoise", "HyperEncoding", "HyperCrypto", "HyperRuntime", "HyperUDX"]),
  .testTarget(
    name: "ProtomuxTests",
    dependencies: [
      "HyperProtomux", "HyperProtomuxJSON", "HyperProtomuxEngine", "HyperDHT", "HyperEncoding", "HyperNoise",
      "HyperRuntime", "HyperswarmTesting", "HyperTestVectors", "CHyperswarmChecks", "hyperswarm-example-protomux",
    ]),
  .testTarget(
    name: "SwarmEngineTests",
    dependencies: [
      "HyperswarmEngine", "HyperDHTEngine", "HyperSecretStream", "HyperEncoding", "HyperCrypto", "HyperEnvironment",
      "HyperswarmTesting", "HyperTestVectors",
    ]),
  .testTarget(
    name: "RuntimeTests",
    dependencies: ["HyperRuntime", "HyperEncoding", "HyperEnvironment", "CHyperUV", "CHyperAllocations"]),
  .testTarget(
    name: "UDXTests",
    dependencies: [
      "HyperUDX", "HyperRuntime", "HyperEncoding", "HyperEnvironment", "HyperswarmTesting", "CHyperUDX", "CHyperUV",
    ]),
  .testTarget(
    name: "HyperswarmTests",
    dependencies: [
      "Hyperswarm", "HyperDHT", "HyperswarmEngine", "HyperDHTEngine", "HyperRPC", "HyperSecretStream",
      "HyperEncoding", "HyperCrypto", "HyperEnvironment", "HyperRuntime", "HyperUDX", "HyperswarmTesting", "CHyperUV",
      "CHyperAllocations", "hyperswarm-example-simulation", "hyperswarm-trials",
    ]),
  // Swarms in a bad world, for hours of virtual time; HyperswarmTests runs some minutes of it.
  .executableTarget(
    name: "hyperswarm-trials",
    dependencies: [
      "HyperEncoding", "HyperCrypto", "HyperSecretStream", "HyperRPC", "HyperDHTEngine", "HyperswarmEngine",
      "HyperswarmTesting",
    ], path: "Tests/Trials"),
  .testTarget(
    name: "CLITests",
    dependencies: ["hyperswarm-cli", "HyperCrypto", "HyperEncoding", "HyperFileTransfer", "HyperTestVectors"]),
  .testTarget(
    name: "FileTransferTests",
    dependencies: ["HyperFileTransfer", "HyperCrypto", "HyperEncoding", "HyperTestVectors"]),
  // The programs of the README, compiled as they stand.
  .executableTarget(name: "hyperswarm-readme", dependencies: ["Hyperswarm"], path: "Tests/Readme/Example"),
  .executableTarget(
    name: "hyperswarm-readme-c", dependencies: ["HyperswarmABI"], path: "Tests/Readme/CExample",
    cSettings: [.headerSearchPath("../../../include")]),
  .target(
    name: "HyperswarmArticles",
    dependencies: [
      "Hyperswarm", "HyperDHT", "HyperNoise", "HyperProtomux", "HyperProtomuxJSON", "HyperUDX", "HyperswarmTesting",
    ],
    path: "Tests/Readme/Articles"),
  .testTarget(name: "ReadmeTests", path: "Tests/Readme/ReadmeTests"),
  // The C interface, used from C.
  .target(
    name: "CHyperswarmChecks", dependencies: ["HyperswarmABI", "CHyperUV"], path: "Tests/HyperswarmABIChecks",
    cSettings: [.headerSearchPath("../../include"), .define("_GNU_SOURCE")]),
  // The same as a program, which is built in no time under a sanitizer: `hyperswarm-c-checks [NAME]`.
  .executableTarget(
    name: "hyperswarm-c-checks", dependencies: ["CHyperswarmChecks"], path: "Tests/CLibrary",
    exclude: ["abi", "debian", "installed", "parent", "quiet", "javascript", "pair", "run", "valgrind.supp"],
    sources: ["checks.c"]),
  .testTarget(
    name: "HyperswarmABITests",
    dependencies: [
      "HyperswarmABI", "CHyperswarmChecks", "CHyperswarm", "Hyperswarm", "HyperDHT", "HyperDHTEngine",
      "HyperEncoding", "HyperSecretStream", "HyperswarmEngine",
    ]),
]

let tools: [Product] = isForLibrary ? [] : [.executable(name: "hyperswarm", targets: ["hyperswarm-cli"])]
/// Fetched only with the trait that needs it.
let packages: [Package.Dependency] =
  isForLibrary
  ? []
  : [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    .package(url: "https://github.com/apple/swift-metrics", from: "2.13.0"),
    .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    .package(url: "https://github.com/apple/swift-distributed-tracing", from: "1.7.3"),
  ]

let package = Package(
  name: "hyperswarm",
  platforms: [.macOS(.v15), .iOS(.v18)],
  products: [
    .library(name: "Hyperswarm", targets: ["Hyperswarm"]),
    .library(name: "HyperDHT", targets: ["HyperDHT"]),
    .library(name: "HyperNoise", targets: ["HyperNoise"]),
    .library(name: "HyperProtomux", targets: ["HyperProtomux"]),
    // Messages of Codable types, with Foundation.
    .library(name: "HyperProtomuxJSON", targets: ["HyperProtomuxJSON"]),
    .library(name: "HyperUDX", targets: ["HyperUDX"]),
    .library(name: "HyperswarmTesting", targets: ["HyperswarmTesting"]),
    // For C: include/hyperswarm.h.
    .library(name: "hyperswarm-c", type: .dynamic, targets: ["HyperswarmABI"]),
    .library(name: "hyperswarm-c-static", type: .static, targets: ["HyperswarmABI"]),
  ] + tools,
  traits: [
    .default(enabledTraits: Set((hasLibCrypto ? ["LibCrypto"] : []) + (isFetched ? [] : ["CommandLineTool"]))),
    .trait(
      name: "LibCrypto",
      description: "Frames are encrypted by libcrypto (OpenSSL 3) where it is faster than libsodium"),
    .trait(name: "CommandLineTool", description: "The executable product hyperswarm, with swift-argument-parser"),
    .trait(name: "Logging", description: "A Logger in the options of nodes and swarms, with swift-log"),
    .trait(name: "Metrics", description: "Gauges of nodes and swarms for swift-metrics"),
    .trait(name: "ServiceLifecycle", description: "Nodes and swarms are services of swift-service-lifecycle"),
    .trait(name: "Tracing", description: "Calls and dials are spans of swift-distributed-tracing"),
  ],
  dependencies: packages,
  targets: engines + runtime + faces + (isForLibrary ? [] : programs + tests),
  swiftLanguageModes: [.v6]
)
