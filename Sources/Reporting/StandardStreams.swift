import Diagnostics
import Files
import Glibc
import Synchronization

/// The three descriptors that a program is started with.
public enum StandardStreams {
  /// Opens those that are closed, so that no file gets the number of a stream, and with it what is written there.
  ///
  /// Call it before anything is opened. Reading and writing fail as they did on the closed descriptor.
  public static func occupy() {
    for number in STDIN_FILENO...STDERR_FILENO where fcntl(number, F_GETFD) < 0 {
      _ = open("/dev/null", number == STDIN_FILENO ? O_WRONLY : O_RDONLY)  // defence: streams
    }
  }

  /// Waits until a stream takes text, or has an error to report.
  ///
  /// - Parameter milliseconds: -1 for without end.
  fileprivate static func awaitWritable(_ number: Int32, milliseconds: Int32) -> Bool {
    var item = pollfd(fd: number, events: Int16(POLLOUT), revents: 0)
    var count: Int32
    repeat { count = poll(&item, 1, milliseconds) } while count < 0 && errno == EINTR
    return count != 0
  }

  /// A pipe that poll(2) reports as writable takes this many bytes without waiting (PIPE_BUF).
  fileprivate static let portion = 4096
}

/// The stream for people: progress and messages. Results go to standard output.
public enum StandardError {
  /// How long a reader may keep the process waiting, in milliseconds.
  private static let patience: Int32 = 1000
  /// Whether the reader has kept it waiting for that long and has read nothing since.
  private static let isStalled = Atomic(false)

  public static var isTerminal: Bool { isatty(STDERR_FILENO) == 1 }

  /// Columns of the terminal, 80 where it does not say.
  public static var width: Int {
    var size = winsize()
    guard ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 80 }
    return Int(size.ws_col)
  }

  /// Whether some process of the run may redraw a line there.
  private static let isRedrawn: Bool = {
    var environment: [String: String] = [:]
    for name in ["TERM", "CI"] { environment[name] = getenv(name).map { String(cString: $0) } }
    return ProgressStyle(isQuiet: false, isTerminal: isTerminal, environment: environment) == .redrawn
  }()

  /// Writes a message as a line of its own, in the place of a line that another process of the run has drawn.
  ///
  /// - Parameter text: without a line feed at its end.
  public static func write(message text: String) {
    write((isRedrawn ? RedrawnLine.clear : "") + text + "\n")
  }

  /// Erases what a process has drawn that did not end its line.
  public static func clearRedrawnLine() {
    if isRedrawn { write(RedrawnLine.clear) }
  }

  /// Writes all of `text`, unless its reader has stalled: a pipe that is full, a terminal that was stopped by Ctrl-S. The
  /// training does not wait for it, and the logs of the run have every message. Errors are ignored: there is no other place
  /// to report them.
  public static func write(_ text: String) {
    var bytes = Array(text.utf8)[...]
    while !bytes.isEmpty {
      let milliseconds = isStalled.load(ordering: .relaxed) ? 0 : patience
      let isWritable = StandardStreams.awaitWritable(STDERR_FILENO, milliseconds: milliseconds)
      isStalled.store(!isWritable, ordering: .relaxed)
      guard isWritable else { return }  // defence: stalled-reader
      let count = bytes.withUnsafeBytes {
        Glibc.write(STDERR_FILENO, $0.baseAddress, min($0.count, StandardStreams.portion))
      }
      if count > 0 { bytes.removeFirst(count) } else if errno != EINTR && errno != EAGAIN { return }
    }
  }
}

/// The stream for results.
public enum StandardOutput {
  /// Why the first of the missing text was not written.
  private static let error = Mutex<ErrorNumber?>(nil)

  /// Writes all of `text`, however long its reader takes. After an error nothing more is written.
  public static func write(_ text: String) {
    error.withLock { error in
      var bytes = Array(text.utf8)[...]
      while error == nil, !bytes.isEmpty {
        let count = bytes.withUnsafeBytes { Glibc.write(STDOUT_FILENO, $0.baseAddress, $0.count) }
        if count > 0 {
          bytes.removeFirst(count)
        } else if errno == EAGAIN {  // defence: output-waits
          // Another process has set O_NONBLOCK where it shares the stream.
          _ = StandardStreams.awaitWritable(STDOUT_FILENO, milliseconds: -1)
        } else if errno != EINTR {
          error = .last
        }
      }
    }
  }

  /// Whether a reader has closed its end, as `head` does when it has enough.
  public static var hasNoReader: Bool {
    error.withLock { $0?.code == EPIPE }  // defence: gone-reader
  }

  /// What was not written; nil if all was, or if its reader has gone.
  public static var failure: Failure? {
    error.withLock { error in
      guard let error, error.code != EPIPE else { return nil }  // defence: results fails
      return .cannot("write the result to standard output", error, status: .inputOutput)
    }
  }
}
