/// The version of the programs, as `--version` prints it and `run.json` records it.
public enum DescentVersion {
  /// Major, minor and patch number (semver.org).
  public static let current = "0.13.0"
}
