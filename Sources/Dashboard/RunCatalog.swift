import Diagnostics
import Experiments
import Files
import NodeRuntime
import Reporting

/// The runs that the page shows: those in the given directories, followed while a reader looks at them.
final class RunCatalog {
  /// One run.
  final class Entry {
    /// Its name on the page and in `/metrics`: that of its directory, with a number where two have the same.
    let id: String
    let paths: RunPaths
    fileprivate(set) var history: RunHistory
    fileprivate(set) var state = RunSummary.State.starting
    /// The count of changes at its newest one.
    fileprivate(set) var changedAt: UInt64 = 0
    fileprivate var nextLook = ContinuousClock.now

    fileprivate init(id: String, directory: String) {
      self.id = id
      paths = RunPaths(directory: directory)
      history = RunHistory(directory: paths.directory)
    }

    var isLive: Bool { state == .running || state == .starting }
  }

  /// Of a run that nothing works on and that no reader has open, in seconds.
  private static let quietInterval = 1.0
  /// Directories beyond these are not shown, the earliest names first: reading them would keep the page waiting.
  static let limit = 2000

  private let places: [String]
  private var placeStatus: [FileStatus?] = []
  private var nextScan = ContinuousClock.now
  /// In the order of their names, the newest first.
  private(set) var entries: [Entry] = []
  /// How many changes there were.
  private(set) var changes: UInt64 = 1
  /// The count of changes when runs came or went.
  private(set) var listedAt: UInt64 = 1

  /// - Parameter places: directories that are a run or contain runs; they need not exist yet.
  init(_ places: [String]) { self.places = places.map { FileSystem().followingPointer($0) } }

  subscript(_ id: String) -> Entry? { entries.first { $0.id == id } }

  /// Reads what is new.
  ///
  /// - Parameter watched: the names of the runs that a reader looks at.
  func refresh(watching watched: Set<String> = []) {
    let now = ContinuousClock.now
    scan(at: now)
    open(entries.filter { $0.changedAt == 0 })
    for entry in entries where now >= entry.nextLook || entry.isLive || watched.contains(entry.id) {
      note(entry, hasNews: !entry.history.update().isEmpty)
      entry.nextLook = now + .seconds(Self.quietInterval)
    }
  }

  /// The first look at a long run takes a while: those of several runs go on side by side.
  private func open(_ entries: [Entry]) {
    let histories = entries.map(\.history)
    let opened = concurrentMap(entries.count, threads: Processors.count) { index in
      var history = histories[index]
      _ = history.update()
      return history
    }
    for (entry, history) in zip(entries, opened) {
      entry.history = history
      note(entry, hasNews: true)
    }
  }

  private func note(_ entry: Entry, hasNews: Bool) {
    let state = state(of: entry, hasNews: hasNews)
    guard hasNews || state != entry.state else { return }
    changes += 1
    (entry.state, entry.changedAt) = (state, changes)
  }

  private func state(of entry: Entry, hasNews: Bool) -> RunSummary.State {
    guard let file = entry.history.file else { return entry.paths.isLocked ? .starting : .damaged }
    // What has ended stays so until its files change.
    if !hasNews, !entry.isLive, file.status != .running { return entry.state }
    return RunSummary.State(of: file, in: entry.paths, isLocked: entry.paths.isLocked)
  }

  /// Looks for runs that have come or gone.
  private func scan(at now: ContinuousClock.Instant) {
    // The status of a directory does not change when a run appears in one that was made before.
    let status = places.map { FileSystem().status(of: $0) }
    guard status != placeStatus || now >= nextScan else { return }
    (placeStatus, nextScan) = (status, now + .seconds(Self.quietInterval))
    let directories = places.flatMap(Self.runs).prefix(Self.limit)
    guard directories.map({ RunPaths(directory: $0).directory }) != entries.map(\.paths.directory) else { return }
    let known = Dictionary(entries.map { ($0.paths.directory, $0) }) { first, _ in first }
    var names: Set<String> = Set()
    entries = directories.map { directory in
      let name = FileSystem.split(RunPaths(directory: directory).directory).name
      let id = names.contains(name) ? (2...).lazy.map { "\(name)~\($0)" }.first { !names.contains($0) } ?? name : name
      names.insert(id)
      if let entry = known[RunPaths(directory: directory).directory], entry.id == id { return entry }
      return Entry(id: id, directory: directory)
    }
    changes += 1
    listedAt = changes
  }

  /// The runs at a place: itself, or the directories in it, the last name first, as names begin with the time.
  private static func runs(at place: String) -> [String] {
    if holdsRun(place) { return [place] }
    let names = (try? FileSystem().entries(of: place)) ?? []
    return names.reversed().compactMap { name in
      let path = place == "." ? name : "\(place)/\(name)"
      // Not `latest`, which is another name of one of them.
      guard name != "latest", FileSystem().kind(of: path) == .directory, holdsRun(path) else { return nil }
      return path
    }
  }

  private static func holdsRun(_ path: String) -> Bool { FileSystem().exists("\(path)/\(RunFile.name)") }
}
