import Diagnostics
import FoundationEssentials
import JSONText
import NodeRuntime
import Reporting

/// From `descent train` to the first step: the time of the server's log line against the civil time at the start.
func measureStart(_ suite: Suite) throws(Failure) -> GroupReport {
  let repetitions = suite.isQuick ? 5 : 20
  var (first, whole) = (Samples(), Samples())
  for repetition in 0...repetitions {
    let directory = suite.work.newName("start")
    let outcome = try TrainCommandRun.run(
      settings: [("max-steps", "20"), ("workers", "2")], flags: ["--quiet"], data: suite.data, in: directory,
      output: suite.work.newName("output"))
    guard outcome.result.steps == 20, let time = try ServerLog(directory).firstStep() else {
      throw Failure(.internalError, "the run has other steps, or its server's log does not tell of the first")
    }
    suite.work.remove(directory)
    // The first one brings the files into the page cache.
    guard repetition > 0 else { continue }
    first.add(Double(time.microseconds - outcome.started.microseconds) * 1e-6)
    whole.add(outcome.wallSeconds)
  }
  var table = Table("descent train, 2 workers, files in the page cache", ["", "median s", "lowest", "highest"])
  for (name, samples) in [("to the first step", first), ("to the end, 20 steps, evaluated and saved", whole)] {
    table.rows.append([
      .text(name), .number(samples.median, places: 3), .number(samples.lowest, places: 3),
      .number(samples.highest, places: 3),
    ])
  }
  return GroupReport(
    group: .start, tables: [table],
    findings: [
      Finding(
        target: "7 start-up", bound: "first step within 0.3 s of descent train",
        reached: "\(first.text(places: 3)) s", isMet: first.median <= 0.3)
    ])
}

/// What the server of a run has written down.
struct ServerLog {
  private let directory: String

  /// - Parameter run: the run's directory, which need not be there yet.
  init(_ run: String) { directory = RunPaths(directory: run).logs }

  /// When the first step was applied; nil before.
  func firstStep() throws(Failure) -> UTCTime? {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
    guard let name = names.first(where: { $0.hasPrefix("server") }) else { return nil }
    for line in try fileText("\(directory)/\(name)").split(separator: "\n") where line.contains("first_step") {
      let fields = try JSONFields(
        JSONReader.parse(Array(line.utf8)[...], source: name), context: "a line of \(name)")
      return UTCTime(timestamp: try fields.string("ts"))
    }
    return nil
  }
}

extension UTCTime {
  /// A time of the day of today or yesterday, as `timestamp` writes it; that is all a log of seconds ago can have.
  fileprivate init?(timestamp: String) {
    let day: Int64 = 86_400_000_000
    let now = UTCTime.now()
    let midnight = now.microseconds / day * day
    for candidate in [midnight, midnight - day] {
      let date = UTCTime(microseconds: candidate).timestamp.prefix(11)
      guard timestamp.hasPrefix(date) else { continue }
      let parts = timestamp.dropFirst(11).dropLast().split { $0 == ":" || $0 == "." }.compactMap { Int64($0) }
      guard parts.count == 4 else { return nil }
      self.init(
        microseconds: candidate + ((parts[0] * 60 + parts[1]) * 60 + parts[2]) * 1_000_000 + parts[3])
      return
    }
    return nil
  }
}
