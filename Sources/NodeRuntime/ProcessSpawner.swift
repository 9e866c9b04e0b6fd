import Cluster
import Diagnostics
import Files
import Glibc
import Messaging
import Transport

/// Starts Descent's executables, and leaves no process behind.
///
/// Each child has its own process group, so that Ctrl-C in the terminal reaches only this process, which decides. Each
/// holds the other end of this process's lifeline, so that none outlives it, however it ends.
public final class ProcessSpawner {
  /// A started process.
  public struct Child: Sendable {
    public let name: String
    public let processID: pid_t
  }

  /// The descriptor that a child inherits: a pipe whose end means that this process has ended.
  static let lifelineNumber: Int32 = 3

  private let directory: String
  private let lifeline: (read: Descriptor, write: Descriptor)
  public private(set) var running: [Child] = []

  /// - Throws: `internalError` when the system gives no pipe, or does not tell where this executable is.
  public convenience init() throws(Failure) { try self.init(directory: Self.executableDirectory()) }

  /// - Parameter directory: where the executables are.
  package init(directory: String) throws(Failure) {
    self.directory = directory
    lifeline = try Descriptor.pipe()
    // Where the parent of this process has it ignored, the kernel forgets how a child has ended.
    signal(SIGCHLD, SIG_DFL)  // defence: child-exits
  }

  deinit {
    killAll()
    let deadline = Instant.now + .seconds(1)
    while !running.isEmpty, Instant.now < deadline {
      _ = reap()
      if !running.isEmpty { usleep(1000) }
    }
  }

  /// The other executables are beside the one that runs.
  private static func executableDirectory() throws(Failure) -> String {
    guard let path = FileSystem().symbolicLinkTarget("/proc/self/exe") else {
      throw Failure(.internalError, "cannot find the directory of this program: /proc/self/exe cannot be read")
    }
    return FileSystem.split(path).directory
  }

  /// What a process inherits that this class has started: readable when the process that started it has ended.
  ///
  /// - Throws: `usage` for one that was started otherwise.
  package static func inheritedLifeline() throws(Failure) -> Descriptor {
    guard fcntl(lifelineNumber, F_SETFD, FD_CLOEXEC) == 0 else {
      throw Failure(
        .usage,
        "--die-with-parent and --trial are for processes that Descent starts itself: there is no descriptor "
          + "\(lifelineNumber)")
    }
    return Descriptor(lifelineNumber)
  }

  // MARK: Starting

  /// Starts an executable. Its standard input is empty; its standard output goes to this process's standard error, because
  /// standard output is for the result alone.
  ///
  /// - Parameters:
  ///   - output: a file to append its output and errors to, instead of this process's standard error.
  ///   - keepsOutput: whether its standard output is that of this process.
  ///   - held: signals that wait until the executable handles them, instead of ending it before.
  /// - Throws: `internalError` when the executable is not there or cannot be started.
  @discardableResult
  public func start(
    _ executable: String, _ arguments: [String], name: String? = nil, output: String? = nil, keepsOutput: Bool = false,
    holding held: [Int32] = []
  ) throws(Failure) -> Child {
    let path = "\(directory)/\(executable)"
    guard access(path, X_OK) == 0 else {
      throw .cannot(
        "run \(path)", status: .internalError, remedy: "Build all products: swift build -c release")
    }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
    if let output {
      posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, output, O_WRONLY | O_CREAT | O_APPEND, 0o644)
    }
    if !keepsOutput { posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO) }
    posix_spawn_file_actions_adddup2(&actions, lifeline.read.number, Self.lifelineNumber)
    var attributes = Self.attributes(holding: held)
    defer { posix_spawnattr_destroy(&attributes) }
    var processID: pid_t = 0
    let argv = ([path] + arguments).map { strdup($0) }
    defer { for argument in argv { free(argument) } }
    let status = posix_spawn(&processID, path, &actions, &attributes, argv + [nil], environ)
    guard status == 0 else {
      throw .cannot("start \(path)", ErrorNumber(status), status: .internalError)
    }
    let child = Child(name: name ?? executable, processID: processID)
    running.append(child)
    return child
  }

  /// A process group of its own, and no other signal blocked or ignored by inheritance.
  private static func attributes(holding held: [Int32]) -> posix_spawnattr_t {
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    posix_spawnattr_setpgroup(&attributes, 0)
    var mask = sigset_t()
    sigemptyset(&mask)
    for number in held { sigaddset(&mask, number) }  // defence: held-signals
    posix_spawnattr_setsigmask(&attributes, &mask)
    var defaults = sigset_t()
    sigemptyset(&defaults)
    for number in [SIGINT, SIGTERM, SIGPIPE, SIGCHLD] { sigaddset(&defaults, number) }
    posix_spawnattr_setsigdefault(&attributes, &defaults)
    let flags = Int32(POSIX_SPAWN_SETPGROUP) | Int32(POSIX_SPAWN_SETSIGMASK) | Int32(POSIX_SPAWN_SETSIGDEF)
    posix_spawnattr_setflags(&attributes, Int16(flags))
    return attributes
  }

  // MARK: Ending

  /// Removes the children that have ended, and returns them. Never waits.
  public func reap() -> [(child: Child, exit: ProcessExit)] {
    var ended: [(Child, ProcessExit)] = []
    running.removeAll { child in
      var status: Int32 = 0
      let result = waitpid(child.processID, &status, WNOHANG)
      if result < 0, errno == ECHILD { status = ExitStatus.internalError.rawValue << 8 }  // how is not known
      guard result == child.processID || result < 0 && errno == ECHILD else { return false }
      let signal = status & 0x7F
      ended.append((child, signal == 0 ? .status(status >> 8 & 0xFF) : .signal(signal)))
      return true
    }
    if getpid() == 1 { reapOrphans() }  // defence: orphans
    return ended
  }

  /// The first process of a container is the parent of the orphans there.
  private func reapOrphans() {
    var information = siginfo_t()
    while waitid(P_ALL, 0, &information, WEXITED | WNOHANG | WNOWAIT) == 0 {
      let process = information._sifields._sigchld.si_pid
      guard process > 0, !running.contains(where: { $0.processID == process }) else { return }
      waitpid(process, nil, WNOHANG)
    }
  }

  /// Sends a signal to a child, if it has not been reaped. Its number cannot have been reused, because only `reap`
  /// returns it to the system.
  public func send(_ signal: Int32, to child: Child) {
    if running.contains(where: { $0.processID == child.processID }) { kill(child.processID, signal) }
  }

  /// Sends SIGKILL to every child and to what it has started.
  public func killAll() { sendToAll(SIGKILL) }

  /// Sends a signal to every child and to what it has started.
  func sendToAll(_ signal: Int32) { for child in running { kill(-child.processID, signal) } }

  /// Ctrl-Z: stops all processes. The terminal reaches this one alone, because each of the others has a process group of its
  /// own; should this one be killed meanwhile, the kernel continues their groups with SIGHUP, which ends them.
  func suspend() {
    sendToAll(SIGSTOP)  // defence: suspend
    kill(getpid(), SIGSTOP)
    sendToAll(SIGCONT)
  }
}
