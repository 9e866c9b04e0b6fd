import Foundation
import Synchronization
import Testing

/// What takes the processor away from a process that has done nothing wrong.
enum Slowdown: String, CaseIterable, Sendable {
  case quota = "a control group gives it 10 ms of every 100 ms"
  case nice = "it has the lowest priority, and the machine has other work"

  /// The directory of control groups that the test may add to; nil if there is none.
  private static let groups: String? = {
    if FileManager.default.isWritableFile(atPath: "/sys/fs/cgroup/cpu/cgroup.procs") { return "/sys/fs/cgroup/cpu" }
    let controllers = try? String(contentsOfFile: "/sys/fs/cgroup/cgroup.subtree_control", encoding: .utf8)
    let hasQuota = controllers?.contains("cpu") == true
    return hasQuota && FileManager.default.isWritableFile(atPath: "/sys/fs/cgroup/cgroup.procs")
      ? "/sys/fs/cgroup" : nil
  }()

  /// Makes a control group of version 1 or 2.
  private static func makeGroup(_ name: String) throws -> String {
    let path = try #require(groups) + "/" + name
    try #require(mkdir(path, 0o755) == 0)
    if FileManager.default.fileExists(atPath: "\(path)/cpu.max") {
      try write("10000 100000", to: "\(path)/cpu.max")
    } else {
      try write("100000", to: "\(path)/cpu.cfs_period_us")
      try write("10000", to: "\(path)/cpu.cfs_quota_us")
    }
    return path
  }

  /// These files know no replacement.
  private static func write(_ text: String, to path: String) throws {
    let file = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
    try file.write(contentsOf: Data(text.utf8))
    try file.close()
  }

  /// Whether control groups with a quota can be made here.
  static let hasControlGroups = groups != nil

  /// What lasts until its end.
  final class Running: Sendable {
    fileprivate let group: String?
    private let hasEnded = Atomic(false)

    /// - Parameter threads: that compute until the end.
    fileprivate init(threads: Int = 0, group: String? = nil) {
      self.group = group
      for _ in 0..<threads {
        Thread.detachNewThread { while !self.hasEnded.load(ordering: .relaxed) {} }
      }
    }

    func end() {
      hasEnded.store(true, ordering: .relaxed)
      if let group { rmdir(group) }
    }
  }

  /// - Parameter name: of the control group, where one is made.
  func slowDown(_ process: pid_t, name: String) throws -> Running {
    switch self {
    case .quota:
      let group = try Self.makeGroup(name)
      try Self.write("\(process)", to: "\(group)/cgroup.procs")
      return Running(group: group)
    case .nice:
      // Linux keeps a priority for each thread.
      for thread in try FileManager.default.contentsOfDirectory(atPath: "/proc/\(process)/task").compactMap(id_t.init) {
        #expect(setpriority(.init(PRIO_PROCESS.rawValue), thread, 19) == 0)
      }
      return Running(threads: ProcessInfo.processInfo.activeProcessorCount)
    }
  }
}
