import ArgumentParser
import Dashboard
import Diagnostics
import Files
import NodeRuntime
import Reporting

struct DashboardCommand: Subcommand {
  static let configuration = CommandConfiguration(
    commandName: "dashboard", abstract: "Serve a page that shows runs, live and finished.",
    discussion: """
      Examples:
        descent dashboard
        descent dashboard runs/today sweeps/a --port 9000

      Reads the directories of the runs and nothing else: the processes that train open no port for it and do not notice \
      it. The address is printed on standard output; the page is served until the command is ended. It listens on this host \
      alone: from another one use ssh -L 8231:localhost:8231 HOST, or --bind with --token-file. /metrics is for Prometheus \
      (Deploy/prometheus).
      """)

  @Argument(help: "Directories that are a run or contain runs. Default: runs.", completion: .directory)
  var runs: [String] = ["runs"]
  @Option(help: "The port. Default: \(Self.usualPort), or a free one if that is taken.") var port: UInt16?
  @Option(help: ArgumentHelp("The numeric address to listen on.", valueName: "address"))
  var bind = ListeningSocket.loopback
  @Option(
    help: ArgumentHelp(
      "A file with the secret that a reader must know, in its first line; needed with --bind.", valueName: "file"),
    completion: .file())
  var tokenFile: String?
  @Option(
    name: .customLong("host-name"),
    help: ArgumentHelp("A name by which the page is reached as well, such as that of a proxy.", valueName: "name"))
  var hostNames: [String] = []
  @Flag(help: "Print the address as one JSON object.") var json = false
  /// `ProcessSpawner` has started this process: it ends with that one, and the runs need not be there yet.
  @Flag(help: .hidden) var dieWithParent = false

  static let usualPort: UInt16 = 8231

  func perform() throws {
    releaseTerminationSignals()
    let token = try tokenFile.map { (path) throws(Failure) in try PageAccess.token(readingFrom: path) }
    let access = try PageAccess(host: bind, names: hostNames, token: token)
    if !dieWithParent { for directory in runs { _ = try FileSystem().entries(of: directory, remedy: Self.remedy) } }
    let lifeline = dieWithParent ? try ProcessSpawner.inheritedLifeline() : nil
    let listener = try listen()
    let server = HTTPServer(listener, content: DashboardPage(runs, access: access))
    if json {
      let object: JSONValue = ["url": .string(listener.url), "port": .number(listener.port)]
      print(object.compactText)
    } else {
      print(dieWithParent ? "descent: the dashboard is at \(listener.url)" : listener.url)
    }
    server.run(until: lifeline)
  }

  private static let remedy = "Start a run first, or name the directory that contains the runs"

  private func listen() throws(Failure) -> ListeningSocket {
    do throws(Failure) {
      return try ListeningSocket(host: bind, port: port ?? Self.usualPort)
    } catch {
      guard port == nil, error.status == .cannotCreate else { throw error }
      return try ListeningSocket(host: bind, port: 0)
    }
  }
}
