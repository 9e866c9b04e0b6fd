import Diagnostics
import Glibc
import Messaging
import NodeRuntime
import Optimization
import Pieces
import Reporting

/// One server and 1 to 64 workers over TCP, each worker with as many examples in a step: what a step costs the server
/// and each worker, for the linear model and a network, and what that means for larger clusters and other networks.
func measureCluster(_ rig: Rig, _ report: inout Report) throws {
  var rows: [ClusterRow] = []
  for model in ClusterModelKind.allCases {
    let imageSeconds = try rig.imageSeconds(model)
    for workers in rig.isQuick ? [1, 4, 16] : [1, 2, 4, 8, 16, 32, 64] {
      say("cluster: \(model.rawValue), \(workers) workers")
      rows.append(try ClusterRow(rig, model, workers: workers, imageSeconds: imageSeconds))
    }
  }
  report.table(ClusterFigures.measuredTitle, rows.map(\.cells))
  let figures = ClusterFigures(cores: rig.cores, rows: rows)
  for (title, rows) in figures.tables { report.table(title, rows) }
  report.notes = ClusterFigures.notes
}

/// What is trained.
enum ClusterModelKind: String, CaseIterable {
  case linear
  case hidden = "hidden 1024"

  var hidden: [Int] { self == .linear ? [] : [1_024] }
  var parameters: Int { ModelShape(classes: 10, pixels: 3_072, hidden: hidden).parameterCount }
  /// Of a worker and step.
  var examples: Int { self == .linear ? 256 : 64 }
}

extension Rig {
  /// What one example more costs a worker, on one core that nothing else uses.
  fileprivate func imageSeconds(_ model: ClusterModelKind) throws -> Double {
    let counts = [model.examples, 4 * model.examples]
    let gradients = try counts.map { try gradient(hidden: model.hidden, batchSize: $0, shards: 1) }
    let medians = measure(samples: isQuick ? 10 : 30, gradients).map(\.median)
    return (medians[1] - medians[0]) / Double(counts[1] - counts[0])
  }
}

/// What was measured with one number of workers. Seconds are those of one step, and of a processor unless they say
/// otherwise.
struct ClusterRow {
  let model: ClusterModelKind
  let workers: Int
  /// On the clock: the median step.
  let stepSeconds: Double
  /// Of the server's thread that sums and updates, and of those that send and receive.
  let summing, sockets: Double
  /// Of one worker, all its threads.
  let workerSeconds: Double
  /// Of one worker and step: what the server received from it, and it from the server.
  let bytesUp, bytesDown: Double
  /// Shards that were computed twice, of all.
  let takenOver: Double
  /// The most that the server had in memory.
  let serverBytes: Double
  /// What one example more costs a worker.
  let imageSeconds: Double

  var imagesPerSecond: Double { Double(workers * model.examples) / stepSeconds }

  var cells: [Cell] {
    let each = Double(workers)
    return [
      Cell("model", model.rawValue), Cell("workers", workers),
      Cell("steps/s", 1 / stepSeconds, places: stepSeconds > 0.1 ? 2 : 0), Cell("images/s", imagesPerSecond),
      Cell("server: sum µs/worker", summing / each, scale: 1e6),
      Cell("sockets µs/worker", sockets / each, scale: 1e6), Cell("worker µs", workerSeconds, scale: 1e6),
      Cell("kB up", bytesUp, scale: 1e-3, places: 1), Cell("kB down", bytesDown, scale: 1e-3, places: 1),
      Cell("server MB", serverBytes, scale: 1e-6), Cell("taken over %", takenOver, scale: 100, places: 1),
      Cell("image µs", imageSeconds, scale: 1e6, places: 2),
    ]
  }

  /// From `cells` as JSON.
  init(json fields: JSONFields) throws(Failure) {
    let name: String = try fields["model"]
    guard let model = ClusterModelKind(rawValue: name) else {
      throw Failure(
        .badData, "\(fields.context): unknown model", found: name,
        expected: ClusterModelKind.allCases.map(\.rawValue).joined(separator: ", "))
    }
    let each: Double = try fields["workers"]
    (self.model, workers) = (model, Int(each))
    stepSeconds = 1 / (try fields["steps/s"] as Double)
    summing = try fields["server: sum µs/worker"] * 1e-6 * each
    sockets = try fields["sockets µs/worker"] * 1e-6 * each
    workerSeconds = try fields["worker µs"] * 1e-6
    (bytesUp, bytesDown) = (try fields["kB up"] * 1e3, try fields["kB down"] * 1e3)
    (takenOver, serverBytes) = (try fields["taken over %"] / 100, try fields["server MB"] * 1e6)
    imageSeconds = try fields["image µs"] * 1e-6
  }

  /// Trains, and compares the weights with those of the sequential trainer.
  init(_ rig: Rig, _ model: ClusterModelKind, workers: Int, imageSeconds: Double) throws {
    (self.model, self.workers, self.imageSeconds) = (model, workers, imageSeconds)
    let estimate = Double(workers) * (model == .linear ? 3e-4 : 2.5e-2)
    let steps = min(max(Int((rig.isQuick ? 1 : 2.5) / estimate), 12), 4_000)
    let plan = try plainPlan(
      batchSize: workers * model.examples, shards: 64, exampleCount: rig.dataset.count
    ) {
      ($0.learningRate.base, $0.initialStandardDeviation) = (0.0078125, 0.015625)
      ($0.totalSteps, $0.evaluateEvery) = (UInt64(steps), UInt64(max(steps / 4, 1)))
    }
    let hidden = model.hidden.isEmpty ? "" : " --hidden 1024 --initialization normal"
    let flags = plan.flags + hidden + " --test never"
    var samples: [ServerSample] = []
    let run = TrainingRun(flags: flags + " --transport tcp --lease-seconds 10", workers: workers)
    let outcome = try run.run(rig) { programs, _, step in
      guard step > samples.last?.step ?? 0, let sample = ServerSample(step, programs) else { return }
      samples.append(sample)
    }
    // Its result goes to a file.
    let sequential = TrainingRun(flags: flags, workers: 0, isOneCommand: true, printsProgress: true)
    let alone = try sequential.run(rig).result
    guard outcome.result.weightsSHA256 == alone.weightsSHA256 else {
      throw Failure(
        .internalError, "\(workers) workers have other weights than the sequential trainer",
        found: outcome.result.weightsSHA256, expected: alone.weightsSHA256)
    }
    guard let first = samples.first, let last = samples.last, first.step < last.step else {
      throw Failure(.internalError, "the run was over before it was measured", found: "\(samples.count) samples")
    }
    let measured = Double(last.step - first.step)
    stepSeconds = outcome.result.stepSeconds.p50 ?? .nan
    (summing, sockets) = ((last.summing - first.summing) / measured, (last.sockets - first.sockets) / measured)
    workerSeconds = (last.workers - first.workers) / measured / Double(workers)
    let pushes = Double(steps * workers)
    (bytesUp, bytesDown) = (Double(outcome.received.server) / pushes, Double(outcome.received.workers) / pushes)
    takenOver = Double(outcome.result.takenOverShards) / Double(steps * plan.shardCount)
    serverBytes = last.bytes
  }
}

/// Of the processes, at a step: seconds of processor time since their start, and bytes.
private struct ServerSample {
  let step: Int
  let summing, sockets, workers: Double
  let bytes: Double

  /// Nil where the server has ended.
  init?(_ step: Int, _ programs: Programs) {
    guard let server = programs.running.first(where: { $0.name == "server" }),
      let status = try? lines(of: "/proc/\(server.processID)/status"),
      let peak = status.first(where: { $0.hasPrefix("VmHWM:") }), let kilobytes = Int(peak.filter(\.isNumber)),
      let threads = Self.threadSeconds(server.processID)
    else { return nil }
    self.step = step
    bytes = Double(kilobytes) * 1024
    // libzmq names its threads.
    sockets = threads.filter { $0.name.hasPrefix("ZMQ") }.reduce(0) { $0 + $1.seconds }
    summing = threads.reduce(0) { $0 + $1.seconds } - sockets
    workers = programs.processorSeconds.total("worker")
  }

  private static func threadSeconds(_ process: pid_t) -> [(name: String, seconds: Double)]? {
    guard let directory = opendir("/proc/\(process)/task") else { return nil }
    defer { closedir(directory) }
    var threads: [(name: String, seconds: Double)] = []
    while let entry = readdir(directory) {
      let id = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
      guard Int(id) != nil, let name = try? fileText("/proc/\(process)/task/\(id)/comm"),
        let times = try? fileText("/proc/\(process)/task/\(id)/schedstat"),
        let nanoseconds = times.split(separator: " ").first.flatMap({ Double($0) })
      else { continue }
      threads.append((name, nanoseconds * 1e-9))
    }
    return threads.isEmpty ? nil : threads
  }
}
