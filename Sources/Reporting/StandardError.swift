import Files
import Glibc

/// The stream for people: progress and messages. Results go to standard output.
public enum StandardError {
  public static var isTerminal: Bool { isatty(STDERR_FILENO) == 1 }

  /// Columns of the terminal, 80 where it does not say.
  public static var width: Int {
    var size = winsize()
    guard ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 80 }
    return Int(size.ws_col)
  }

  /// Writes all of `text`. Errors are ignored: there is no other place to report them.
  public static func write(_ text: String) {
    try? FileSystem().write(Array(text.utf8), to: STDERR_FILENO, "standard error")
  }
}
