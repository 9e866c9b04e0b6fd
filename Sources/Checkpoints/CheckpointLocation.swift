import Diagnostics
import Files

extension CheckpointStore {
  /// Where a selector given by the user leads.
  ///
  ///     runs/a              a path that exists: a run directory, a checkpoint directory or a model file
  ///     runs/a@best         the checkpoint of a run with the best validation loss
  ///     runs/a@latest       the newest one
  ///     runs/a@500          that of a step
  ///
  /// - Returns: the path of a checkpoint directory, or a path without a selector as it is. Where a checkpoint is expected,
  ///   `load` takes the path of a run directory to mean its newest one.
  /// - Throws: `missingInput`, naming the checkpoints there are.
  public static func locate(_ selector: String) throws(Failure) -> String {
    let fileSystem = FileSystem()
    if fileSystem.exists(selector) { return fileSystem.followingPointer(selector) }
    guard let at = selector.lastIndex(of: "@"), case let run = fileSystem.followingPointer(String(selector[..<at])),
      fileSystem.exists(run)
    else {
      try fileSystem.requireReadableIfPresent(selector)
      throw Failure(
        .missingInput, "\(selector) does not exist", expected: "a checkpoint, a run, or a .safetensors file")
    }
    let store = CheckpointStore(runDirectory: run)
    let name = String(selector[selector.index(after: at)...])
    let names = try store.names()
    let found: CheckpointName? =
      switch name {
      case bestName: store.bestTarget ?? store.recordedBest(names)
      case latestName: store.latestTarget ?? names.first
      default: UInt64(name).flatMap { step in names.first { $0.step == step } }
      }
    if let found, names.contains(found) { return store.path(found.text) }
    let isSelector = [bestName, latestName].contains(name) || UInt64(name) != nil
    throw Failure(
      .missingInput,
      isSelector
        ? "there is no checkpoint \(selector): \(store.listing(names))"
        : "\"\(name)\" selects no checkpoint: \(store.listing(names))",
      remedy: isSelector ? nil : "Append @\(bestName), @\(latestName) or @STEP to the run directory")
  }

  /// The steps of the checkpoints, ascending and each once, and those that `latest` and `best` name; nothing is verified.
  public var savedSteps: (all: [UInt64], latest: UInt64?, best: UInt64?) {
    let steps = Set(((try? names()) ?? []).map(\.step)).sorted()
    func named(_ target: CheckpointName?) -> UInt64? { target.flatMap { steps.contains($0.step) ? $0.step : nil } }
    return (steps, named(latestTarget) ?? steps.last, named(bestTarget))
  }

  /// How many checkpoints an error lists.
  private static let listedNames = 20

  /// "runs/a has steps 500 (best), 1000, 1044 (latest)".
  private func listing(_ names: [CheckpointName]) -> String {
    guard !names.isEmpty else { return "\(runDirectory) has no checkpoint" }
    let (latest, best) = (latestTarget ?? names.first, bestTarget ?? recordedBest(names))
    let steps = names.prefix(Self.listedNames).reversed().map { name in
      let links = (name == latest ? [Self.latestName] : []) + (name == best ? [Self.bestName] : [])
      return "\(name.step)" + (links.isEmpty ? "" : " (\(links.joined(separator: ", ")))")
    }
    let omitted = names.count - steps.count
    return "\(runDirectory) has step\(names.count == 1 ? "" : "s") "
      + (omitted > 0 ? "… (\(omitted) more), " : "") + steps.joined(separator: ", ")
  }
}
