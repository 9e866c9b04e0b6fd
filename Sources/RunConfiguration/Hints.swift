extension SettingTable {
  /// Names that other trainers use, the setting that has their place here, and what is different about it.
  package static let customaryNames: [(names: [String], setting: String?, remark: String?)] = [
    (["alpha", "base-lr", "eta", "init-lr", "initial-lr", "lrate", "step-size"], "learning-rate", nil),
    (["b", "batch", "bs", "minibatch", "minibatch-size", "train-batch-size"], "batch-size", nil),
    (["epoch", "max-epochs", "n-epochs", "num-epochs"], "epochs", nil),
    (["iterations", "iters", "max-iter", "max-iters", "num-iterations", "num-iters"], "max-steps", nil),
    (["num-steps", "steps"], "max-steps", nil),
    (["nproc", "nproc-per-node", "num-workers", "processes", "world-size"], "workers", nil),
    (["random-seed", "random-state"], "seed", nil),
    (["data-dir", "data-path", "dataset", "dataset-dir"], "data", nil),
    (["log-dir", "logdir", "out-dir", "output", "output-dir", "save-dir"], "run-dir", nil),
    (["criterion", "loss-function", "objective"], "loss", nil),
    (["lr-schedule", "lr-scheduler", "scheduler"], "schedule", nil),
    (["warmup"], "warmup-steps", nil),
    (["early-stopping"], "patience", nil),
    (["eval-every", "eval-interval", "val-every"], "evaluate-every", nil),
    (["save-every", "save-interval"], "checkpoint-every", nil),
    (["val-size", "val-split", "validation-split"], "validation-examples", "It is a number of examples"),
    (["nesterov"], "momentum-kind", "Its values are polyak and nesterov"),
    // PyTorch adds d W to the gradient; l2 Σ W² has the gradient 2 l2 W.
    (
      ["wd", "weight-decay"], "l2",
      "A weight decay of d is an l2 of d/2: the penalty is l2 times the sum of the squared weights"
    ),
    (
      ["lambda", "reg", "regularization"], "l2",
      "The penalty is l2 times the sum of the squared weights, without a factor of 1/2"
    ),
    (["optim", "optimizer"], "momentum", "The optimizer is SGD, with momentum or without"),
    (["cuda", "device", "gpu", "gpus"], nil, "Descent computes on the CPU"),
  ]

  /// What was probably meant by a name that is no setting: "Did you mean `--l2`? …". Nil if nothing is near.
  ///
  /// - Parameters:
  ///   - name: a key, a flag with its dashes, or an environment variable with its prefix.
  ///   - others: names that are known in the same place and no settings.
  ///   - spelling: how a setting is spelt there.
  public static func hint(
    for name: String, others: [String] = [], spelling: (SettingDefinition) -> String
  ) -> String? {
    let letters = String(normalized(name))
    let key = letters.replacing(/^(?:--?|descent-(?=.))/, with: "")
    if let setting = all.first(where: { $0.alias == key }) { return question(spelling(setting)) }
    if let entry = customaryNames.first(where: { $0.names.contains(key) }) {
      let ours = entry.setting.flatMap { SettingTable.setting(named: $0) }
      return [ours.map { question(spelling($0)) }, entry.remark].compactMap { $0 }.joined(separator: " ")
    }
    return nearest(to: name, among: all.map(spelling) + others).map(question)
  }

  private static func question(_ name: String) -> String { "Did you mean `\(name)`?" }

  /// The candidate nearest to `name`, the earlier of two equally near ones, or nil if none is near enough to be a
  /// misspelling: at most a third of its letters may be wrong. Case and `_` versus `-` do not count.
  private static func nearest(to name: String, among candidates: [String]) -> String? {
    let letters = normalized(name)
    let distances = candidates.map { normalized($0).difference(from: letters).count }
    guard let (index, distance) = distances.enumerated().min(by: { $0.element < $1.element }) else { return nil }
    // A wrong letter is one to be removed and one to be inserted.
    return distance <= 2 * max(1, candidates[index].utf8.count / 3) ? candidates[index] : nil
  }

  /// Names longer than any of ours are cut, so that hostile input costs little.
  private static func normalized(_ name: String) -> [Character] {
    name.prefix(64).map { $0 == "_" ? "-" : Character($0.lowercased()) }
  }
}
