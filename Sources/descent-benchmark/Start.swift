import Diagnostics
import FoundationEssentials
import NodeRuntime

/// From `descent train` until the server's log tells of the first step.
func measureStart(_ rig: Rig) throws(Failure) -> GroupReport {
  var (first, whole) = (Samples(), Samples())
  for repetition in 0...(rig.isQuick ? 5 : 20) {
    let directory = rig.work.newName("start")
    let programs = try Programs()
    let began = monotonicSeconds()
    var firstStep = Double.nan
    try programs.start(
      "descent",
      ["train", "--data", rig.data, "--run-dir", directory, "--max-steps", "20", "--workers", "2", "--quiet"],
      name: "descent train", output: rig.work.newName("output"))
    try programs.waitForAll(limit: 120) { (_) throws(Failure) in
      if firstStep.isNaN, hasFirstStep(directory) { firstStep = monotonicSeconds() - began }
    }
    let seconds = monotonicSeconds() - began
    guard try TrainingRun.result(of: directory).steps == 20, firstStep.isFinite else {
      throw Failure(.internalError, "the run has other steps, or its server's log does not tell of the first")
    }
    rig.work.remove(directory)
    // The first one brings the files into the page cache.
    guard repetition > 0 else { continue }
    first.add(firstStep)
    whole.add(seconds)
  }
  let rows = [("to the first step", first), ("to the end, 20 steps, evaluated and saved", whole)].map {
    [Table.Cell.text($0)] + [$1.median, $1.lowest, $1.highest].map { .number($0, places: 3) }
  }
  return GroupReport(
    tables: [
      Table("descent train, 2 workers, files in the page cache", ["", "median s", "lowest", "highest"], rows)
    ],
    findings: [
      Finding(
        target: "7 start-up", bound: "first step within 0.3 s of descent train",
        reached: "\(first.text(places: 3)) s", isMet: first.median <= 0.3)
    ])
}

/// Whether the log of the run's server tells of the first step.
private func hasFirstStep(_ run: String) -> Bool {
  let directory = RunPaths(directory: run).logs
  let names = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
  guard let name = names.first(where: { $0.hasPrefix("server") }) else { return false }
  return (try? fileText("\(directory)/\(name)"))?.contains("first_step") ?? false
}
