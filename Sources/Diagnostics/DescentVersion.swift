/// The version of the programs, as `--version` prints it and `run.json` records it.
public enum DescentVersion {
  /// Major, minor and patch number (semver.org).
  public static let current = "0.13.0"
  /// The commit of the sources, with "-dirty" if the working tree differed from it; nil if it is not known. The executable
  /// sets it before anything else.
  nonisolated(unsafe) public static var commit: String?
}
