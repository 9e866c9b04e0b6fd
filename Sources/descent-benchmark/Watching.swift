import Diagnostics
import FoundationEssentials
import Glibc
import NodeRuntime
import Reporting

/// What it costs to look: event files, traced steps, the progress and a page that is read while the run trains, each and
/// all of them at their defaults, beside runs of which nothing is looked at, in alternation.
func measureWatching(_ rig: Rig, _ report: inout Report) throws {
  let epochs = rig.isQuick ? 60 : 120
  let off = "--epochs \(epochs) --event-files off"
  let (events, traced) = ("--epochs \(epochs)", "--epochs \(epochs) --trace-steps 1001..1100")
  let runs: KeyValuePairs<String, TrainingRun> = [
    "nothing": TrainingRun(flags: off), "event files": TrainingRun(flags: events),
    "100 traced steps": TrainingRun(flags: off + " --trace-steps 1001..1100"),
    "a page": TrainingRun(flags: off, hasPage: true),
    "all, with progress": TrainingRun(flags: traced, printsProgress: true, hasPage: true),
  ]
  let outcomes = try alternate(
    "watching", rounds: 1 + (rig.isQuick ? 3 : 6), runs.map { _, run in { try run.run(rig) } }
  ).map { $0.dropFirst() }  // The first round warms up.
  let plain = outcomes[0]
  let total = plain.map { $0.processorSeconds.total() }.median
  let watchers = outcomes.map { runs in runs.map(\.processorSecondsOfWatching) }
  // The processors that train are the same in all of them, and noisier than what is looked for.
  let shares = watchers.map { ($0.median - watchers[0].median) / total }
  let slowdown = outcomes.map { runs in runs.map { $0.result.seconds }.excess(over: plain.map { $0.result.seconds }) }
  report.table(
    "Softmax, 2 workers, \(epochs) epochs",
    runs.enumerated().map { index, run in
      [Cell("looked at", run.key)] + outcomes[index].map { $0.result.seconds }.cells("training s", places: 3)
        + [
          Cell("CPU s", outcomes[index].map { $0.processorSeconds.total() }.median, places: 3),
          Cell("coordinator and page", watchers[index].median, places: 3),
          Cell("share", Display.percent(shares[index], places: 2)),
          Cell("longer", "\(slowdown[index].text(scale: 100, places: 1)) %"),
        ]
    })
  let (share, longer) = (shares.last ?? .nan, slowdown.last ?? [])
  report.target(
    "everything looked at, processor time", "at most 1 % of the run",
    reached: "\(Display.percent(share, places: 2)) in the coordinator and the page", isMet: share <= 0.01)
  report.target(
    "everything looked at, training time", "at most 1 % longer", reached: "\(longer.text(scale: 100, places: 1)) %",
    isMet: longer.median <= 0.01)
}

extension TrainingRun.Outcome {
  /// Of the processes that make what is looked at. Traced steps cost the others as well: what, Scripts/count-gates.sh
  /// counts.
  fileprivate var processorSecondsOfWatching: Double {
    processorSeconds.total("coordinator") + processorSeconds.total(DashboardReader.processName)
  }
}

/// `descent dashboard` over the directory of a run, and one reader that takes whatever it sends.
final class DashboardReader {
  static let processName = "dashboard"

  private let run, runFile, output: String
  private var socket: Int32 = -1
  private var answer: [UInt8] = []
  /// Whether the page has sent an event.
  var hasNews: Bool {
    let text = String(decoding: answer, as: UTF8.self)
    return text.hasPrefix("HTTP/1.1 200 ") && text.contains("data: ")
  }

  init(_ paths: RunPaths, _ rig: Rig, _ programs: Programs) throws {
    (run, runFile) = (String(paths.directory.split(separator: "/").last ?? ""), paths.runFile)
    output = rig.newName("address")
    try programs.start(
      Self.processName, "descent", ["dashboard", rig.directory, "--port", "0", "--json"], output: output)
  }

  deinit { if socket >= 0 { close(socket) } }

  /// Takes what is there, without waiting.
  func read() throws(Failure) {
    if socket < 0 { try connect() }
    guard socket >= 0 else { return }
    while true {
      let count = withUnsafeTemporaryAllocation(byteCount: 1 << 16, alignment: 1) { bytes in
        let count = recv(socket, bytes.baseAddress, bytes.count, Int32(MSG_DONTWAIT))
        if count > 0, answer.count < 4096 { answer += bytes.prefix(count) }
        return count
      }
      guard count > 0 else { return }
    }
  }

  /// Once the page says where it is, and the run is there.
  private func connect() throws(Failure) {
    guard let text = try? fileText(output), text.hasSuffix("\n"),
      let number: Int = try? JSONFields(parsing: Array(text.utf8), source: output)["port"],
      let port = UInt16(exactly: number), FileManager.default.fileExists(atPath: runFile)
    else { return }
    socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    (address.sin_port, address.sin_addr.s_addr) = (port.bigEndian, UInt32(0x7F00_0001).bigEndian)
    let result = withUnsafePointer(to: &address) { address in
      address.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        Glibc.connect(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    guard result == 0 else { throw .cannot("connect to the page at port \(port)") }
    let request = "GET /events?view=run&id=\(run) HTTP/1.1\r\nHost: 127.0.0.1:\(port)\r\n\r\n"
    guard send(socket, request, request.utf8.count, 0) == request.utf8.count else {
      throw .cannot("ask the page for events")
    }
  }
}
