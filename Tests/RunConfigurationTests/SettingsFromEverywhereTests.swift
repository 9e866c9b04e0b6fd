import Diagnostics
import Foundation
import Optimization
import RunConfiguration
import TestSupport
import Testing

/// Settings as editors, platforms and people give them: what is harmless is taken, the rest is named.
@Suite struct SettingsFromEverywhereTests {
  private func failure(_ body: () throws -> Void) -> Failure? {
    do { try body() } catch { return error as? Failure }
    return nil
  }

  private func resolve(
    _ text: String = "", environment: [String: String] = [:], flags: [(name: String, text: String)] = [],
    only names: [String]? = nil, warn: (String) -> Void = { _ in }
  ) throws -> ResolvedSettings {
    let file = try ConfigurationFile(text: text, path: "run.yaml")
    return try ResolvedSettings.resolve(
      only: names, file: file, environment: environment, flags: flags, warn: warn)
  }

  // MARK: Files

  private static let text = "seed: 7\nloss: svm\n"

  private static func utf16(isBigEndian: Bool) -> [UInt8] {
    "\u{FEFF}\(text)".utf16.flatMap { unit -> [UInt8] in
      let bytes = [UInt8(unit >> 8), UInt8(unit & 0xFF)]
      return isBigEndian ? bytes : bytes.reversed()
    }
  }

  private static let readable: [(String, [UInt8])] = [
    ("a byte order mark", Array("\u{FEFF}\(text)".utf8)),
    ("no end of the last line", Array("seed: 7\nloss: svm".utf8)),
    ("carriage returns", Array("seed: 7\r\nloss: svm\r\n".utf8)),
    ("UTF-16 of Windows", utf16(isBigEndian: false)),
    ("UTF-16, the other bytes first", utf16(isBigEndian: true)),
    ("markers of a document", Array("--- # mine\nseed: 7\nloss: svm\n...\n# no more\n".utf8)),
    ("blanks and tabs between and behind", Array("seed :\t7 \t\nloss:  svm   # hinge\n \t\n".utf8)),
    ("quotes", Array("seed: \"7\"\nloss: 'svm'\n".utf8)),
    ("no-break spaces in a comment", Array("#\u{A0}mine\nseed: 7 #\u{A0}\nloss: svm\n".utf8)),
  ]

  @Test(arguments: readable)
  func `a configuration file as editors write it: means what it shows`(_ what: String, _ bytes: [UInt8]) throws {
    try TemporaryDirectory.with { directory in
      let path = directory.appendingPathComponent("run.yaml").path
      try Data(bytes).write(to: URL(fileURLWithPath: path))
      let settings = try ResolvedSettings.resolve(file: ConfigurationFile(readingFrom: path))
      #expect(settings.seed == 7 && settings.loss == .hinge)
      try Evidence.add(.settings, what, observed: "seed \(settings.seed), loss \(settings.loss.settingName)")
    }
  }

  private static let latin1 = Array("seed: 7\ndata: M".utf8) + [0xFC] + Array("ller\n".utf8)

  private static let misleading: [(String, [UInt8], String)] = [
    ("a no-break space behind the colon", Array("seed:\u{A0}7\n".utf8), "run.yaml:1:6 is U+00A0 NO-BREAK SPACE"),
    (
      "a no-break space behind the value", Array("l2: 1\nseed: 7\u{A0}\n".utf8), "run.yaml:2:8 is U+00A0 NO-BREAK SPACE"
    ),
    ("a zero width space", Array("seed: 7\u{200B}\n".utf8), "run.yaml:1:8 is U+200B ZERO WIDTH SPACE"),
    ("a byte order mark in the middle", Array("l2: 1\n\u{FEFF}seed: 7\n".utf8), "run.yaml:2:1 is U+FEFF"),
    ("quotation marks of print", Array("data: \u{201C}cifar\u{201D}\n".utf8), "run.yaml:1:7 is U+201C LEFT DOUBLE"),
    ("a tab before the key", Array("\tseed: 7\n".utf8), "run.yaml:1:1 is U+0009"),
    ("Latin-1", latin1, "run.yaml:2:8 is not UTF-8: found the byte 0xfc"),
    ("UTF-16 without a mark", Array("s\0e\0e\0d\0".utf8), "run.yaml:1:2 is U+0000"),
    ("a leading zero", Array("seed: 010\n".utf8), "run.yaml:1: some readers of YAML take `010` for an octal number"),
    ("a key twice", Array("seed: 7\nl2: 1\nseed: 8\n".utf8), "run.yaml:3: `seed` is already set in line 1"),
    (
      "underscores in a key", Array("batch_size: 64\n".utf8), "unknown setting `batch_size`. Did you mean `batch-size`?"
    ),
    ("capitals in a key", Array("Seed: 7\n".utf8), "unknown setting `Seed`. Did you mean `seed`?"),
    ("a second document", Array("seed: 7\n...\nl2: 1\n".utf8), "run.yaml:3 follows the end of the document"),
    ("a map in a line", Array("{seed: 7}\n".utf8), "run.yaml:1 must be `key: value`"),
    ("an anchor", Array("seed: &a 7\n".utf8), "run.yaml:1 must be `key: value`"),
  ]

  @Test(arguments: misleading)
  func `a configuration file that only looks right: the place and the reason are named`(
    _ what: String, _ bytes: [UInt8], _ message: String
  ) throws {
    try TemporaryDirectory.with { directory in
      let path = directory.appendingPathComponent("run.yaml").path
      try Data(bytes).write(to: URL(fileURLWithPath: path))
      let failure = failure {
        _ = try ResolvedSettings.resolve(file: ConfigurationFile(readingFrom: path))
      }
      let text = (failure?.description ?? "").replacing(directory.path + "/", with: "")
      #expect(failure?.status == .badConfiguration)
      #expect(text.contains(message), "\(text)")
      try Evidence.add(.settings, what, observed: text)
    }
  }

  // MARK: Values

  @Test(arguments: [
    ("seed", "1_000", "1000"), ("seed", "1,000", "1000"), ("seed", "+1", "1"), ("seed", "\u{FF11}\u{FF16}", "16"),
    ("seed", "\"5\"", "5"), ("seed", "5\r", "5"), ("l2", "0,5", "0.5"), ("loss", "SVM", "svm"),
    ("l2", "\u{201C}0.1\u{201D}", "0.1"), ("evaluate-every", "Epoch", "epoch"),
  ])
  func `a value spelt as elsewhere: refused with the spelling that is taken`(
    _ name: String, _ text: String, _ meant: String
  ) throws {
    for flags in [true, false] {
      let variable = SettingTable.setting(named: name)?.environmentName ?? ""
      let failure = failure {
        _ = try resolve(environment: flags ? [:] : [variable: text], flags: flags ? [(name, text)] : [])
      }
      #expect(failure?.status == (flags ? .usage : .badConfiguration))
      #expect(failure?.remedy == "Did you mean `\(meant)`?")
    }
    let shown = text.unicodeScalars.map { $0.escaped(asASCII: true) }.joined()
    try Evidence.add(.settings, "\(name) \(shown)", observed: "Did you mean `\(meant)`?")
  }

  @Test(arguments: [
    ("l2", ".5", "0.5"), ("l2", "1e-3", "0.001"), ("l2", "5.", "5"), ("l2", "+0.5", "0.5"), ("l2", "-0", "0"),
    ("seed", "18446744073709551615", "18446744073709551615"), ("seed", "010", "10"), ("momentum", "0.999", "0.999"),
  ])
  func `a number of a flag as people write it: read`(_ name: String, _ text: String, _ value: String) throws {
    let entry = try resolve(flags: [(name, text)]).entries.first { $0.setting.name == name }
    #expect(entry?.text == value)
  }

  @Test(arguments: ["nan", "inf", "-inf", "1e999", "0x10", "1e-400x", "18446744073709551616", "-1", "1;2"])
  func `what is no number is refused, and nothing is guessed`(_ text: String) throws {
    for name in ["l2", "shards"] {
      let failure = failure { _ = try resolve(flags: [(name, text)]) }
      #expect(failure?.status == .usage)
      #expect(failure?.remedy == nil, "\(failure?.description ?? "")")
    }
  }

  // MARK: Variables

  private static let serviceLinks = [
    "DESCENT_SERVICE_HOST": "10.96.0.12", "DESCENT_SERVICE_PORT": "5555", "DESCENT_SERVICE_PORT_COORDINATOR": "5555",
    "DESCENT_PORT": "tcp://10.96.0.12:5555", "DESCENT_PORT_5555_TCP": "tcp://10.96.0.12:5555",
    "DESCENT_PORT_5555_TCP_PROTO": "tcp", "DESCENT_PORT_5555_TCP_PORT": "5555",
    "DESCENT_PORT_5555_TCP_ADDR": "10.96.0.12",
  ]

  private static let platforms: [(String, [String: String], Int)] = [
    ("Kubernetes, a service descent", serviceLinks, 1),
    (
      "Kubernetes, a service descent-coordinator",
      [
        "DESCENT_COORDINATOR_SERVICE_HOST": "10.96.0.13", "DESCENT_COORDINATOR_PORT": "tcp://10.96.0.13:5555",
        "DESCENT_COORDINATOR_PORT_5555_TCP_ADDR": "10.96.0.13",
      ], 0
    ),
    (
      "Kubernetes, a service descent-run-dir by UDP",
      ["DESCENT_RUN_DIR_SERVICE_HOST": "10.96.0.1", "DESCENT_RUN_DIR_PORT": "udp://10.96.0.1:1"], 0
    ),
    ("compose, variables without a value", ["DESCENT_KEYS": "", "DESCENT_PORT": "", "DESCENT_SHARDS": ""], 0),
    (
      "environment modules",
      [
        "DESCENT_HOME": "/opt/descent", "DESCENT_ROOT": "/opt/descent", "DESCENT_DIR": "/opt", "DESCENT_VERSION": "1.0",
        "DESCENT_BIN": "/opt/bin", "EBROOTDESCENT": "/opt/descent",
      ], 0
    ),
    ("variables of another program", ["DESCENT_URL": "https://x", "DESCENT_NODES": "4"], 2),
    ("Slurm and CI", ["SLURM_JOB_ID": "7", "CI": "true", "GITHUB_ACTIONS": "true"], 0),
  ]

  @Test(arguments: platforms)
  func `variables that a platform sets: settings stay as they are`(
    _ platform: String, _ environment: [String: String], _ warnings: Int
  ) throws {
    var said: [String] = []
    let settings = try resolve(environment: environment) { said.append($0) }
    #expect(settings == (try resolve()))
    #expect(said.count == warnings, "\(said)")
    try Evidence.add(.settings, platform, observed: said.first ?? "nothing is said")
  }

  @Test(arguments: [
    ("DESCENT_LEARNIG_RATE", "DESCENT_LEARNING_RATE"), ("DESCENT_WORKER", "DESCENT_WORKERS"),
    ("DESCENT_SED", "DESCENT_SEED"), ("descent_seed", "DESCENT_SEED"), ("DESCENT_BATCHSIZE", "DESCENT_BATCH_SIZE"),
    ("DESCENT_KERNLE", "DESCENT_KERNEL"), ("DESCENT_LR", "DESCENT_LEARNING_RATE"), ("DESCENT_CONFIG", "--config"),
  ])
  func `a misspelt variable: named with what was meant`(_ name: String, _ meant: String) throws {
    let failure = failure { _ = try resolve(environment: [name: "1"]) }
    #expect(failure?.status == .badConfiguration)
    #expect(failure?.message == "unknown environment variable `\(name)`")
    #expect(failure?.remedy?.contains(meant) == true, "\(failure?.remedy ?? "")")
    try Evidence.add(.settings, name, observed: failure?.remedy ?? "")
  }

  @Test func `a variable that a role does not need: does not stop it`() throws {
    let names = ["run-dir", "heartbeat-seconds", "lease-seconds"]
    let settings = try resolve(
      environment: ["DESCENT_SHARDS": "24", "DESCENT_WORKERS": "many", "DESCENT_LEASE_SECONDS": "4"], only: names)
    #expect(settings.leaseSeconds == 4)
    #expect(failure { _ = try resolve(environment: ["DESCENT_LEASE_SECONDS": "x"], only: names) } != nil)
    try Evidence.add(.settings, observed: "shards 24 and workers many are not read, lease-seconds is 4")
  }

  // MARK: Paths

  @Test(arguments: [
    ("~/cifar", "/home/ada/cifar"), ("$HOME/cifar", "/home/ada/cifar"), ("/scratch/${USER}/x", "/scratch/ada/x"),
    ("a$$b", "a$b"), ("data/a~b", "data/a~b"), ("./~", "./~"), ("cost$", "cost$"), ("~root", "/root"),
  ])
  func `a path with ~ or a variable in a file or the environment: what a shell makes of it`(
    _ text: String, _ meant: String
  ) throws {
    let environment = ["HOME": "/home/ada", "USER": "ada"]
    #expect(try resolve("data: \(text)\n", environment: environment).data == meant)
    #expect(try resolve(environment: environment.merging(["DESCENT_DATA": text]) { $1 }).data == meant)
    #expect(try resolve("resume: \(text)\n", environment: environment).resume == .checkpoint(path: meant))
    // The shell has read a flag.
    #expect(try resolve(environment: environment, flags: [("data", text)]).data == text)
    try Evidence.add(.settings, text, observed: meant)
  }

  @Test(arguments: [("$UNSET_/x", "the variable UNSET_ is not set"), ("~no-such-user/x", "there is no such user")])
  func `a path that stands for nothing: refused with the reason`(_ text: String, _ reason: String) throws {
    let failure = failure { _ = try resolve(environment: ["DESCENT_RUN_DIR": text]) }
    #expect(failure?.status == .badConfiguration)
    #expect(failure?.message.contains(reason) == true, "\(failure?.description ?? "")")
    try Evidence.add(.settings, text, observed: failure?.description ?? "")
  }

  @Test(arguments: ["a$b", "with space", "~", "007", "1e3", "no", "ä\u{A0}b", "it's", "${HOME}", "#", "x: y"])
  func `a configuration file of a run with any path: read back from any directory as it was`(_ name: String) throws {
    let settings = try resolve(flags: [("data", name), ("keys", "/keys/\(name)")])
    let yaml = settings.yaml(workingDirectory: "/home/ada")
    let again = try resolve(yaml, environment: ["HOME": "/elsewhere"])
    #expect(again.data == "/home/ada/" + name)
    #expect(again.keys == "/keys/" + name)
    #expect(again.yaml(workingDirectory: "/elsewhere") == yaml)
    try Evidence.add(.settings, name, observed: "data \(again.data ?? "")")
  }

  @Test func `a file names data that only its own directory has: the working directory is named as the place`() throws {
    let failure = failure { _ = try resolve("data: no-such-directory/cifar10\n").dataDirectory }
    #expect(failure?.status == .missingInput)
    #expect(failure?.message == "run.yaml:1: data no-such-directory/cifar10 does not exist in the working directory")
    #expect(try resolve(flags: [("data", "no-such-directory")]).dataDirectory == "no-such-directory")
    try Evidence.add(.settings, observed: failure?.description ?? "")
  }

  @Test func `what config show prints: taken as flags, it gives the same settings`() throws {
    let settings = try resolve(
      "patience: 3\nkeys: $HOME/keys\nschedule: step\n", environment: ["HOME": "/home/ada", "DESCENT_L2": "1e-4"],
      flags: [("consistency", "ssp:4"), ("bind", "[::1]")])
    let flags = settings.entries.compactMap { entry in entry.text.map { (name: entry.setting.name, text: $0) } }
    #expect(try resolve(flags: flags).entries.map(\.text) == settings.entries.map(\.text))
    #expect(settings.bind == "::1")
    try Evidence.add(.settings, observed: "\(flags.count) settings")
  }

  // MARK: Settings that cannot act

  private func withoutEffect(_ flags: [(name: String, text: String)]) throws -> [String] {
    let settings = try resolve(flags: [("max-steps", "50"), ("epochs", "3"), ("batch-size", "128")] + flags)
    return settings.withoutEffect(in: try settings.trainingPlan(exampleCount: 10_000))
  }

  private static let idle: [(String, [(name: String, text: String)], String)] = [
    ("--patience 3", [("patience", "3")], "the run ends after 2 evaluations"),
    ("--patience 3", [("patience", "3"), ("validation-examples", "0")], "there are no validation examples"),
    ("--target-accuracy 0.4", [("target-accuracy", "0.4"), ("validation-examples", "0")], "there are no validation"),
    (
      "--target-accuracy 0.4", [("target-accuracy", "0.4"), ("evaluate-every", "0")], "evaluated only before its first"
    ),
    (
      "--gradient-norm 0.1", [("gradient-norm", "0.1"), ("evaluate-every", "0")], "evaluated only before its first step"
    ),
    (
      "--validation-examples 500", [("validation-examples", "500"), ("validation-fold", "2/5")],
      "validation-fold 2/5 decides what is held out"
    ),
    ("--tolerance 0.1", [("tolerance", "0.1")], "patience is 0"),
    ("--evaluate-every 51", [("evaluate-every", "51")], "the run has 50 steps"),
    ("--checkpoint-every 1000", [("checkpoint-every", "1000")], "the run has 50 steps, and is saved at its end"),
    ("--max-steps 118", [("max-steps", "118")], "3 epochs have 117 steps"),
    ("--step-every 10", [("step-every", "10")], "the schedule is cosine"),
    ("--step-factor 0.1", [("step-factor", "0.1")], "the schedule is cosine"),
    ("--step-every 50", [("step-every", "50"), ("schedule", "step")], "the run has 50 steps"),
    ("--schedule-epochs 9", [("schedule-epochs", "9"), ("schedule", "constant")], "the schedule is constant"),
    ("--warmup-steps 60", [("warmup-steps", "60")], "the run has 50 steps"),
    ("--momentum-kind nesterov", [("momentum-kind", "nesterov")], "momentum is 0"),
    (
      "--momentum-kind nesterov", [("momentum-kind", "nesterov"), ("optimizer", "momentum")],
      "the optimizer is momentum"
    ),
    ("--momentum 0.5", [("momentum", "0.5"), ("optimizer", "adam")], "the optimizer is adam"),
    ("--optimizer nesterov", [("optimizer", "nesterov"), ("momentum", "0")], "momentum is 0"),
    ("--beta1 0.5", [("beta1", "0.5")], "the optimizer is sgd"),
    ("--beta2 0.5", [("beta2", "0.5"), ("optimizer", "rmsprop")], "the optimizer is rmsprop"),
    ("--epsilon 0.5", [("epsilon", "0.5"), ("optimizer", "nesterov")], "the optimizer is nesterov"),
    ("--decay-rate 0.5", [("decay-rate", "0.5"), ("optimizer", "adamw")], "the optimizer is adamw"),
    ("--consistency ssp:2", [("consistency", "ssp:2"), ("workers", "1")], "a single worker is never late"),
    ("--bind 10.0.0.1", [("bind", "10.0.0.1")], "the transport is memory"),
    ("--port 5555", [("port", "5555"), ("transport", "ipc")], "the transport is ipc"),
    ("--transport tcp", [("transport", "tcp"), ("workers", "0")], "workers is 0"),
    ("--keys k", [("keys", "k"), ("workers", "0")], "workers is 0"),
  ]

  @Test(arguments: idle)
  func `a setting that cannot act in a run: said with the reason, once`(
    _ setting: String, _ flags: [(name: String, text: String)], _ reason: String
  ) throws {
    let found = try withoutEffect(flags).filter { $0.hasPrefix(setting) }
    #expect(found.count == 1, "\(found)")
    #expect(found.first?.contains(reason) == true, "\(found)")
    try Evidence.add(
      .settings, flags.map { "--\($0.name) \($0.text)" }.joined(separator: " "), observed: found.first ?? "")
  }

  @Test func `of settings that act, and of defaults, nothing is said`() throws {
    #expect(try withoutEffect([]).isEmpty)
    let acting: [(name: String, text: String)] = [
      ("patience", "1"), ("tolerance", "0.1"), ("target-accuracy", "0.4"), ("evaluate-every", "10"),
      ("momentum", "0.9"),
      ("momentum-kind", "nesterov"), ("schedule", "step"), ("step-every", "10"), ("step-factor", "0.1"),
      ("transport", "tcp"), ("bind", "::1"), ("port", "5555"), ("consistency", "ssp:2"), ("warmup-steps", "5"),
      ("keys", "k"), ("checkpoint-every", "10"),
    ]
    #expect(try withoutEffect(acting).isEmpty)
    let adam: [(name: String, text: String)] = [
      ("optimizer", "adamw"), ("beta1", "0.5"), ("beta2", "0.5"), ("epsilon", "0.5"), ("l1", "0.1"), ("max-norm", "3"),
    ]
    #expect(try withoutEffect(adam).isEmpty)
    #expect(try withoutEffect([("optimizer", "rmsprop"), ("epsilon", "0.5"), ("decay-rate", "0.5")]).isEmpty)
    // The file of a run holds every setting.
    let yaml = try resolve(flags: [("max-steps", "50")]).yaml(workingDirectory: "/")
    let again = try resolve(yaml)
    #expect(again.withoutEffect(in: try again.trainingPlan(exampleCount: 10_000)).isEmpty)
  }
}
