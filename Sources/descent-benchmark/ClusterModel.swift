import ArgumentParser
import Diagnostics
import FoundationEssentials
import Optimization
import Reporting

/// From what was measured on one machine to clusters in which every process has cores of its own.
///
/// Under `bsp` a step is three things after one another: the workers compute, all gradients go to the server and all
/// weights back, and the server updates the weights once. The second takes as long as the slowest of three: the server's
/// network interface, its thread that sends and receives, and its thread that sums.
struct ClusterFigures {
  let cores: Int
  let rows: [ClusterRow]

  /// Of a 1,500-byte Ethernet frame with IPv4, TCP and time stamps, 1,448 of 1,538 bytes on the wire are ours.
  private static let payloadShare = 1_448.0 / 1_538
  /// The rows that the constants are fitted to; those of more workers are predicted. With fewer, part of the server's
  /// time is looking out for the next message.
  private static let fitted = 4...16
  private static let counts = [8, 32, 100, 300, 1_000]

  static let measuredTitle = "One server and its workers over TCP on this machine"

  static let notes = [
    "step = examples × image + rest + update + workers × max(bytes up + down / network, sockets, sum). On one machine of "
      + "C cores, where nothing has a core of its own, it is at least all processor time / C.",
    "Fitted to the rows of \(fitted.lowerBound) to \(fitted.upperBound) workers; the rows of more are predicted.",
    "The network: \(Display.percent(payloadShare, places: 0)) of its rate is payload, and the server's interface sends "
      + "and receives after one another, because a step of bsp begins when the one before is complete.",
  ]

  var tables: [(title: String, rows: [[Cell]])] {
    let models = models
    return [
      ("Constants", models.map(\.constants)),
      ("Model beside measurement on this machine", comparison(models)),
    ]
      + models.flatMap { model in
        Network.allCases.map { network in
          (
            "\(model.kind.rawValue), \(model.kind.examples) examples a worker and step, \(network.rawValue) Gbit/s",
            Self.counts.map { model.step($0, on: network).cells }
          )
        }
      } + [
        ("Workers with which half of a step is computing", models.flatMap(\.halves)),
        ("Examples of a worker and step with which four fifths of a step are computing", models.flatMap(\.examples)),
        ("Memory of the server", models.map { $0.memory(Self.counts) }),
      ]
  }

  enum Network: Int, CaseIterable {
    case ten = 10
    case hundred = 100
    /// Bytes of messages a second in one direction.
    var rate: Double { Double(rawValue) * 1e9 / 8 * payloadShare }
  }

  private var models: [ClusterModel] {
    ClusterModelKind.allCases.compactMap { kind in
      let own = rows.filter { $0.model == kind }
      return own.isEmpty ? nil : ClusterModel(kind, own, fitted: own.filter { Self.fitted.contains($0.workers) })
    }
  }

  private func comparison(_ models: [ClusterModel]) -> [[Cell]] {
    rows.compactMap { row in
      guard let model = models.first(where: { $0.kind == row.model }) else { return nil }
      let predicted = model.secondsOnOneMachine(workers: row.workers, cores: cores)
      return [
        Cell("model", row.model.rawValue), Cell("workers", row.workers),
        Cell("fitted", Self.fitted.contains(row.workers) ? "yes" : "no"),
        Cell("step ms, model", predicted, scale: 1e3, places: 2),
        Cell("step ms, measured", row.stepSeconds, scale: 1e3, places: 2),
        Cell("model is off by %", predicted / row.stepSeconds - 1, scale: 100),
      ]
    }
  }
}

/// The constants of one kind of model, in seconds of a processor and bytes.
private struct ClusterModel {
  let kind: ClusterModelKind
  /// One example more of a worker; the rest of a worker's step.
  private let image, rest: Double
  /// Of the server: once a step, and for each worker in the thread that sums and those that send and receive.
  private let update, sum, sockets: Double
  /// Of one worker and step, both ways together.
  private let bytes: Double
  /// Of the server: with no worker, and for each.
  private let memoryAtRest, memoryOfWorker: Double

  init(_ kind: ClusterModelKind, _ rows: [ClusterRow], fitted: [ClusterRow]) {
    self.kind = kind
    func line(_ rows: [ClusterRow], _ value: (ClusterRow) -> Double) -> (Double, Double) {
      let values = rows.map(value)
      let fit = leastSquares(rows.map { [1, Double($0.workers)][...] }, values, relativeTo: values)
      // What is too small to be seen beside the workers' part is nothing.
      guard fit[0] < 0 else { return (fit[0], fit[1]) }
      return (0, leastSquares(rows.map { [Double($0.workers)][...] }, values, relativeTo: values)[0])
    }
    image = rows.map(\.imageSeconds).median
    let computing = Double(kind.examples) * image
    rest = max(0, fitted.map(\.workerSeconds).median - computing)
    (update, sum) = line(fitted, \.summing)
    // Nothing of it is done once a step.
    sockets = fitted.map { $0.sockets / Double($0.workers) }.median
    bytes = (fitted.last ?? rows[0]).bytesUp + (fitted.last ?? rows[0]).bytesDown
    (memoryAtRest, memoryOfWorker) = line(rows, \.serverBytes)
  }

  var constants: [Cell] {
    [
      Cell("model", kind.rawValue), Cell("parameters", kind.parameters),
      Cell("image µs", image, scale: 1e6, places: 2), Cell("rest of a worker's step µs", rest, scale: 1e6),
      Cell("update µs", update, scale: 1e6), Cell("sum µs/worker", sum, scale: 1e6),
      Cell("sockets µs/worker", sockets, scale: 1e6), Cell("kB/worker, up and down", bytes, scale: 1e-3),
    ]
  }

  /// All processes share the cores; what cannot overlap is a bound of its own.
  func secondsOnOneMachine(workers: Int, cores: Int) -> Double {
    let each = Double(workers)
    let worker = rest + Double(kind.examples) * image
    let all = each * (worker + sum + sockets) + update
    return max(all / Double(cores), worker + update + sockets + each * sum)
  }

  struct Step {
    let workers: Int
    let examples: Int
    /// In the order of `names`.
    let computing: Double
    let update: Double
    let parts: [(name: String, seconds: Double)]

    var slowest: (name: String, seconds: Double) { parts.max { $0.seconds < $1.seconds } ?? ("", 0) }
    var seconds: Double { computing + update + slowest.seconds }

    var cells: [Cell] {
      [
        Cell("workers", workers), Cell("step ms", seconds * 1e3, places: seconds < 0.1 ? 1 : 0),
        Cell("images/s", Double(workers * examples) / seconds),
        Cell("computing %", computing / seconds, scale: 100),
      ]
        + parts.map { Cell("\($0.name) ms", $0.seconds * 1e3, places: seconds < 0.1 ? 1 : 0) }
        + [Cell("most of the rest", slowest.name)]
    }
  }

  func step(_ workers: Int, on network: ClusterFigures.Network, examples: Int? = nil) -> Step {
    let (each, examples) = (Double(workers), examples ?? kind.examples)
    return Step(
      workers: workers, examples: examples, computing: rest + Double(examples) * image, update: update,
      parts: [
        ("network", each * bytes / network.rate), ("sockets", each * sockets), ("sum", each * sum),
      ])
  }

  /// For each network.
  var halves: [[Cell]] {
    ClusterFigures.Network.allCases.map { network in
      let one = step(1, on: network)
      return [
        Cell("model", kind.rawValue), Cell("Gbit/s", network.rawValue), Cell("examples", kind.examples),
        Cell("workers", ((one.computing - update) / one.slowest.seconds).rounded(.down)),
        Cell("limited by", one.slowest.name),
      ]
    }
  }

  /// For each network.
  var examples: [[Cell]] {
    ClusterFigures.Network.allCases.map { network in
      let counts = [8, 32, 100, 1_000]
      return [Cell("model", kind.rawValue), Cell("Gbit/s", network.rawValue)]
        + counts.map { workers in
          let step = step(workers, on: network)
          let wanted = (4 * (step.slowest.seconds + update) - rest) / image
          return Cell("\(workers) workers", max(1, wanted.rounded(.up)))
        }
    }
  }

  func memory(_ counts: [Int]) -> [Cell] {
    [
      Cell("model", kind.rawValue), Cell("at rest MB", memoryAtRest, scale: 1e-6),
      Cell("each worker MB", memoryOfWorker, scale: 1e-6, places: 2),
    ] + counts.map { Cell("\($0) workers GB", memoryAtRest + Double($0) * memoryOfWorker, scale: 1e-9, places: 1) }
  }
}

/// Prints the tables of a page again from what was measured once.
struct ClusterTablesCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "cluster-tables",
    abstract: "Print the tables of the group cluster from a file of --json, in Markdown.")

  @Argument(help: "The file.") var file: String

  func run() throws {
    let document = try JSONFields(parsing: Array(fileText(file).utf8), source: file)
    let groups = try document.objects("groups") { (group) throws(Failure) -> [ClusterRow] in
      let name: String = try group["group"]
      guard name == Group.cluster.rawValue else { return [] }
      let tables = try group.objects("tables") { (table) throws(Failure) -> [ClusterRow] in
        let title: String = try table["title"]
        return title == ClusterFigures.measuredTitle ? try table.objects("rows", ClusterRow.init(json:)) : []
      }
      return tables.flatMap { $0 }
    }
    let rows = groups.flatMap { $0 }
    guard !rows.isEmpty else {
      throw Failure(
        .badData, "\(file) has no measurement of the group cluster",
        remedy: "Make one with: Scripts/benchmark.sh --json \(file) cluster")
    }
    let figures = ClusterFigures(cores: try document.object("machine")["cores"], rows: rows)
    let tables = [(ClusterFigures.measuredTitle, rows.map(\.cells))] + figures.tables
    print(tables.map { "\($0)\n\n\(Table(title: $0, rows: $1).markdown)" }.joined(separator: "\n"), terminator: "")
  }
}
