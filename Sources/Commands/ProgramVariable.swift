import RunConfiguration

/// A variable of the environment that the programs read, besides those of settings; for help and manual.
struct ProgramVariable {
  let name: String
  /// Without a full stop.
  let meaning: String

  static let all = [
    ProgramVariable(
      name: SettingTable.environmentPrefix + "NAME", meaning: "the setting of that name, such as DESCENT_BATCH_SIZE"),
    ProgramVariable(name: "DESCENT_KERNEL", meaning: "avx512, avx2 or portable instead of the fastest kernels"),
    ProgramVariable(name: "NO_COLOR", meaning: "no colours, if it has a value"),
    ProgramVariable(name: "CI, TERM=dumb", meaning: "progress as lines instead of one that is redrawn"),
    ProgramVariable(
      name: "LC_ALL, LC_CTYPE, LANG", meaning: "block characters in the progress, where the locale is one of UTF-8"),
    ProgramVariable(
      name: "XDG_RUNTIME_DIR, TMPDIR", meaning: "where sockets are put, in this order and before /tmp"),
    ProgramVariable(
      name: "XDG_STATE_HOME", meaning: "where roles without a run directory write their logs, before ~/.local/state"),
    ProgramVariable(name: "SLURM_JOB_ID", meaning: "with the other variables of Slurm, what --launcher slurm goes by"),
  ]
}
