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
    (
      [
        "arch", "architecture", "hidden-dim", "hidden-dims", "hidden-layer-sizes", "hidden-layers", "hidden-size",
        "hidden-sizes", "hidden-units", "layers", "model", "num-hidden", "units",
      ], "hidden", "Without it the model is linear"
    ),
    (["act", "activation-fn", "activation-function", "nonlinearity"], "activation", nil),
    (["leaky-relu-slope", "negative-slope", "slope"], "leaky-slope", nil),
    (["drop-rate", "dropout-p", "dropout-rate"], "dropout", nil),
    (["keep-prob"], "dropout", "It is the fraction of hidden units that a step leaves out"),
    (["init", "initializer", "kernel-initializer", "weight-init"], "initialization", nil),
    (["init-std", "std", "weight-scale"], "initial-standard-deviation", "Only with `initialization: normal`"),
    (["delta"], "margin", nil),
    (["lr-schedule", "lr-scheduler", "scheduler"], "schedule", nil),
    (["warmup"], "warmup-steps", nil),
    (["early-stopping"], "patience", nil),
    (["eval-every", "eval-interval", "val-every"], "evaluate-every", nil),
    (["save-every", "save-interval"], "checkpoint-every", nil),
    (["val-size", "val-split", "validation-split"], "validation-examples", "It is a number of examples"),
    (["nesterov"], "optimizer", "One of its values is nesterov"),
    // PyTorch adds d W to the gradient; l2 Σ W² has the gradient 2 l2 W.
    (
      ["wd", "weight-decay"], "l2",
      "A weight decay of d is an l2 of d/2: the penalty is l2 times the sum of the squared weights. With `optimizer: adamw` "
        + "it is decoupled from the gradient"
    ),
    (
      ["lambda", "reg", "regularization"], "l2",
      "The penalty is l2 times the sum of the squared weights, without a factor of 1/2"
    ),
    (["optim", "solver"], "optimizer", nil),
    (["betas"], "beta1", "The other one is beta2"),
    (["eps"], "epsilon", nil),
    (["rho"], "decay-rate", nil),
    (["l1-ratio"], "l1", "The elastic net has both strengths, l1 and l2"),
    (["profile", "profile-steps", "profiler", "trace"], "trace-steps", nil),
    (["cuda", "device", "gpu", "gpus"], nil, "Descent computes on the CPU"),
    (["config", "config-file"], nil, "Name a configuration file with --config"),
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

  // MARK: Variables of others

  /// The variables that set something or that probably should have, in the order of their names, so that of several mistakes
  /// the same one is always reported.
  ///
  /// - Parameters:
  ///   - names: the settings of interest; nil for all.
  ///   - warn: called with what is ignored, unless it is known to be of others.
  static func variables(
    _ environment: [String: String], only names: [String]?, warn: (String) -> Void
  ) -> [SettingLine] {
    environment.sorted { $0.key < $1.key }.compactMap { name, text in
      guard String(normalized(name)).hasPrefix("descent-"), !otherEnvironmentNames.contains(name) else { return nil }
      let setting = all.first { $0.environmentName == name }
      if isServiceLink(name, text) {  // defence: service-links
        if setting != nil {
          warn(
            "\(name) is ignored: \"\(text.prefix(100))\" is the link to a service that Kubernetes sets "
              + "(enableServiceLinks: false in the pod turns them off)")
        }
        return nil
      }
      if let setting {
        // Compose and batch scripts set what they have no value for to nothing.
        if text.isEmpty { return nil }  // defence: empty-variables
        // defence: part-of-settings
        return names?.contains(setting.name) ?? true ? (name, text, .environment(name)) : nil
      }
      if isMisspelling(name) { return (name, text, .environment(name)) }
      // defence: foreign-variables
      if !isOfPackages(name) { warn("\(name) is no setting and has no effect") }
      return nil
    }
  }

  /// Whether Kubernetes, or Docker for a linked container, sets such a variable for a service with our name at its
  /// beginning: DESCENT_PORT=tcp://10.96.0.12:5555, DESCENT_SERVER_SERVICE_HOST, DESCENT_PORT_5555_TCP_ADDR.
  private static func isServiceLink(_ name: String, _ text: String) -> Bool {
    let service = /DESCENT_(?:[A-Z0-9_]+_)?SERVICE_(?:HOST|PORT(?:_[A-Z0-9_]+)?)/
    let port = /DESCENT_(?:[A-Z0-9_]+_)?PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_[A-Z]+)?/
    return name.wholeMatch(of: service) != nil || name.wholeMatch(of: port) != nil
      || name.hasSuffix("_PORT") && text.contains(/^(?:tcp|udp|sctp):\/\//)
  }

  /// What environment modules, Spack and packagers call the places and the version of a program.
  private static let packageVariables: Set<String> = [
    "base", "bin", "dir", "doc", "home", "inc", "include", "install-dir", "lib", "lib64", "man", "path", "prefix",
    "root", "share", "src", "version",
  ]

  private static func isOfPackages(_ name: String) -> Bool { packageVariables.contains(stem(of: name)) }

  /// Whether a variable with our prefix was probably meant to set something: as a name of other trainers, or with few wrong
  /// letters.
  private static func isMisspelling(_ name: String) -> Bool {
    let stem = stem(of: name)
    if isOfPackages(name) { return false }
    if customaryNames.contains(where: { $0.names.contains(stem) }) { return true }
    let others = otherEnvironmentNames.map(Self.stem)
    return (all.flatMap { [$0.name] + ($0.alias.map { [$0] } ?? []) } + others).contains { known in
      // A wrong letter counts twice, a missing one once. A short word with another letter is another word.
      let tolerance = known.utf8.count <= 3 ? 0 : max(1, known.utf8.count / 5 * 2)
      return known.difference(from: stem).count <= tolerance
    }
  }

  /// `learning-rate` of DESCENT_LEARNING_RATE.
  private static func stem(of name: String) -> String {
    String(normalized(name).dropFirst(environmentPrefix.utf8.count))
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
