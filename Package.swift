// swift-tools-version: 6.2
import PackageDescription

/// The hot loops are compiled for three instruction sets from one source and chosen at run time, so no
/// `-march` flag ever makes the binary fail on an older machine. Floating-point contraction is off: a fused
/// multiply-add happens where the source says so and nowhere else, which is what keeps the bits the same.
let kernelSettings: [CSetting] = [.unsafeFlags(["-O3", "-ffp-contract=off", "-fno-math-errno"])]

let package = Package(
  name: "descent",
  products: [
    .executable(name: "descent", targets: ["descent"]),
    .executable(name: "descent-server", targets: ["descent-server"]),
    .executable(name: "descent-worker", targets: ["descent-worker"]),
    .executable(name: "descent-coordinator", targets: ["descent-coordinator"]),
    .executable(name: "descent-benchmark", targets: ["descent-benchmark"]),
  ],
  dependencies: [
    // Flags, help, completions and usage errors; nothing of ours would be better. Builds in seconds.
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    // The ecosystem's logging interface; the JSON-lines handler behind it is ours. Small, no dependencies.
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
  ],
  targets: [
    // System libraries: messages, and keys and SHA-256 (libzmq brings libsodium along).
    .systemLibrary(name: "CZeroMQ", providers: [.apt(["libzmq3-dev"])]),
    .systemLibrary(name: "CSodium", providers: [.apt(["libsodium-dev"])]),
    // What is compressed by gzip or in a ZIP archive; libpng brings it along.
    .systemLibrary(name: "CZlib", providers: [.apt(["zlib1g-dev"])]),
    // Shims around what Swift cannot call: memfd_create and a handler of SIGBUS; libpng and libjpeg, which leave a
    // function by longjmp.
    .target(name: "CLinux", publicHeadersPath: "."),
    .target(
      name: "CImages", publicHeadersPath: ".",
      linkerSettings: [.linkedLibrary("png16"), .linkedLibrary("jpeg"), .linkedLibrary("z")]),

    // The pure core: no sockets, files, clocks, environment or Foundation.
    .target(name: "CKernels", cSettings: kernelSettings, linkerSettings: [.linkedLibrary("m")]),
    .target(name: "Diagnostics"),
    .target(name: "Optimization", dependencies: ["CKernels", "Diagnostics"]),
    .target(name: "Messaging", dependencies: ["CKernels", "Diagnostics", "Optimization"]),
    .target(name: "Cluster", dependencies: ["Diagnostics", "Optimization", "Messaging"]),

    // The shells around it.
    // Opens, reads, replaces, lists and locks files; the text of every error number.
    .target(name: "Files", dependencies: ["CLinux", "CSodium", "Diagnostics"]),
    .target(
      name: "Datasets",
      dependencies: ["CKernels", "CImages", "CZlib", "Diagnostics", "Files", "Optimization"]),
    .target(
      name: "Checkpoints",
      dependencies: ["Diagnostics", "Files", "Optimization", "Messaging", "Cluster", "Datasets"]),
    // Pure as well: the store runs on a disk that the simulation plays.
    .target(
      name: "ClusterSimulation",
      dependencies: ["Diagnostics", "Optimization", "Messaging", "Cluster", "Checkpoints"]),
    // Messages through sockets with keys, and through shared memory.
    .target(
      name: "Transport", dependencies: ["CLinux", "CSodium", "CZeroMQ", "Diagnostics", "Files", "Messaging"],
      // Accepting.swift takes the place of this function for libzmq.
      linkerSettings: [.unsafeFlags(["-Xlinker", "--export-dynamic-symbol=accept4"])]),
    .target(
      name: "RunConfiguration",
      dependencies: ["Diagnostics", "Optimization"]),
    .target(
      name: "Reporting",
      dependencies: [
        "CKernels", "Checkpoints", "Diagnostics", "Files", "Messaging", "Optimization",
        .product(name: "Logging", package: "swift-log"),
      ]),
    // Charts, tiles and heat maps as SVG and PNG.
    .target(
      name: "Pictures", dependencies: ["CZlib", "Datasets", "Diagnostics", "Files", "Optimization", "Reporting"]),
    .target(
      name: "NodeRuntime",
      dependencies: [
        "CLinux", "Diagnostics", "Files", "Optimization", "Messaging", "Cluster", "Datasets", "Checkpoints",
        "Transport", "RunConfiguration", "Reporting", "Pictures", .product(name: "Logging", package: "swift-log"),
      ]),
    // What the lectures try: neighbours, searches, sweeps, slices of the loss.
    .target(
      name: "Experiments",
      dependencies: [
        "CKernels", "Checkpoints", "Datasets", "Diagnostics", "Files", "Optimization", "Pictures", "Reporting",
        "RunConfiguration",
      ]),
    // What is given away of a run: reports, model cards, files for NumPy and PyTorch.
    .target(
      name: "Publishing",
      dependencies: [
        "CZlib", "Checkpoints", "Datasets", "Diagnostics", "Experiments", "Files", "NodeRuntime", "Optimization",
        "Pictures", "Reporting", "RunConfiguration",
      ]),
    // The live page and the metrics of Prometheus, over run directories.
    .target(
      name: "Dashboard",
      dependencies: [
        "Checkpoints", "Datasets", "Diagnostics", "Experiments", "Files", "NodeRuntime", "Pictures", "Reporting",
      ],
      resources: [
        .embedInCode("Page/page.html"), .embedInCode("Page/page.css"), .embedInCode("Page/page.js"),
        .embedInCode("Page/chart.js"), .embedInCode("Page/icon.svg"),
      ]),
    .target(
      name: "Commands",
      dependencies: [
        "Dashboard", "Diagnostics", "Files", "Optimization", "Messaging", "Cluster", "Datasets", "Checkpoints",
        "ClusterSimulation", "Experiments", "Pictures", "Publishing", "RunConfiguration", "Reporting", "NodeRuntime",
        "Transport",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ]),

    // The commit that the programs are built from, for --version and run.json.
    .plugin(name: "CommitPlugin", capability: .buildTool(), path: "Sources/CommitPlugin"),
    .target(name: "SourceCommit", plugins: ["CommitPlugin"]),
    .executableTarget(name: "descent", dependencies: ["Commands", "SourceCommit"]),
    .executableTarget(name: "descent-server", dependencies: ["Commands", "SourceCommit"]),
    .executableTarget(name: "descent-worker", dependencies: ["Commands", "SourceCommit"]),
    .executableTarget(name: "descent-coordinator", dependencies: ["Commands", "SourceCommit"]),
    .executableTarget(
      name: "descent-benchmark",
      dependencies: [
        "CKernels", "CZeroMQ", "Diagnostics", "Files", "Optimization", "Messaging", "Cluster", "Datasets",
        "Checkpoints", "RunConfiguration", "Reporting", "NodeRuntime", "Pieces", "Transport",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ]),

    // The pieces of a step: descent-benchmark times them, and Scripts/count-gates.sh counts the instructions and system
    // calls of counted-cases, which repeats one of them.
    .target(
      name: "Pieces",
      dependencies: ["CKernels", "Diagnostics", "Optimization", "Messaging", "Cluster", "Transport"],
      path: "Tests/CountGates/Pieces"),
    .executableTarget(
      name: "counted-cases", dependencies: ["Diagnostics", "Messaging", "Optimization", "Pieces"],
      path: "Tests/CountGates/CountedCases"),

    .testTarget(
      name: "OptimizationTests", dependencies: ["Optimization", "CKernels", "Diagnostics", "TestSupport"],
      exclude: ["Reference"]),
    .testTarget(
      name: "MessagingTests", dependencies: ["Messaging", "CKernels", "Diagnostics", "Optimization", "TestSupport"],
      exclude: ["Golden"]),
    .testTarget(
      name: "ClusterTests", dependencies: ["Cluster", "Messaging", "Diagnostics", "Optimization", "TestSupport"]),
    .testTarget(
      name: "ClusterSimulationTests",
      dependencies: [
        "ClusterSimulation", "Checkpoints", "Cluster", "Messaging", "Diagnostics", "Files", "Optimization",
        "TestSupport",
      ],
      exclude: ["Golden"]),
    .testTarget(name: "FilesTests", dependencies: ["Files", "Diagnostics", "TestSupport"]),
    .testTarget(name: "DiagnosticsTests", dependencies: ["Diagnostics"]),
    .testTarget(
      name: "DatasetsTests",
      dependencies: ["Datasets", "CImages", "CZlib", "Diagnostics", "Files", "Optimization", "TestSupport"],
      exclude: ["Imports", "Pictures"]),
    .testTarget(
      name: "CheckpointsTests",
      dependencies: [
        "Checkpoints", "Cluster", "Datasets", "Diagnostics", "Files", "Messaging", "Optimization",
        "TestSupport",
      ],
      exclude: ["Interoperability.py"]),
    // What several test targets need: temporary directories, waiting, plans, examples, rows for Scripts/faults.sh.
    .target(name: "TestSupport", dependencies: ["Optimization"], path: "Tests/TestSupport"),
    // Attackers, for the tests of the transport and of whole runs.
    .target(
      name: "Intruders",
      dependencies: ["CZeroMQ", "Cluster", "Diagnostics", "Messaging", "Optimization", "Transport"],
      path: "Tests/Intruders"),
    // Every parser of untrusted bytes as a function of the bytes, for the fuzzer and for a test.
    .target(
      name: "Fuzzing",
      dependencies: [
        "CLinux", "Diagnostics", "Files", "Optimization", "Messaging", "Cluster", "Datasets",
        "Checkpoints", "RunConfiguration", "Transport",
      ],
      path: "Tests/Fuzzing/Parsers"),
    .testTarget(name: "FuzzingTests", dependencies: ["Fuzzing", "TestSupport"]),
    .testTarget(
      name: "TransportTests",
      dependencies: [
        "Transport", "CZeroMQ", "Messaging", "Diagnostics", "Files", "Optimization", "Intruders", "TestSupport",
      ]),
    .testTarget(
      name: "RunConfigurationTests", dependencies: ["RunConfiguration", "Diagnostics", "Optimization", "TestSupport"]),
    .testTarget(
      name: "ReportingTests",
      dependencies: [
        "Reporting", "Diagnostics", "Messaging", "Optimization", "TestSupport",
        .product(name: "Logging", package: "swift-log"),
      ]),
    .testTarget(name: "PicturesTests", dependencies: ["Pictures", "Datasets", "Diagnostics", "TestSupport"]),
    .testTarget(
      name: "DashboardTests",
      dependencies: ["Dashboard", "Diagnostics", "Optimization", "Reporting", "TestSupport"]),
    .testTarget(
      name: "ExperimentsTests",
      dependencies: [
        "Experiments", "CKernels", "Checkpoints", "Datasets", "Diagnostics", "Files", "Optimization", "Pictures",
        "Reporting", "RunConfiguration", "TestSupport",
      ],
      exclude: ["Reference"]),
    .testTarget(
      name: "PublishingTests",
      dependencies: [
        "Publishing", "Checkpoints", "Datasets", "Diagnostics", "Optimization", "Pictures", "TestSupport",
      ]),
    .testTarget(
      name: "NodeRuntimeTests",
      dependencies: [
        "NodeRuntime", "Transport", "Cluster", "Messaging", "Checkpoints", "Datasets",
        "RunConfiguration",
        "Reporting", "Diagnostics", "Optimization", "TestSupport",
      ]),
    .testTarget(
      name: "EndToEndTests",
      dependencies: [
        "Checkpoints", "Cluster", "CKernels", "Datasets", "Diagnostics", "Intruders", "Messaging",
        "NodeRuntime", "Optimization", "RunConfiguration", "descent", "descent-server", "descent-worker",
        "descent-coordinator", "descent-benchmark", "TestSupport",
      ],
      exclude: [
        "check_trace.py", "dashboard-browser.py", "dashboard-sockets.py", "evaluate.py", "event_files.py",
        "published.py", "terminal.py",
      ]),
  ],
  swiftLanguageModes: [.v6]
)

// Needs libFuzzer, which only Scripts/fuzz.sh links to it.
if Context.environment["DESCENT_FUZZ"] != nil {
  package.targets.append(
    .executableTarget(name: "descent-fuzz", dependencies: ["Fuzzing"], path: "Tests/Fuzzing/Driver"))
}
