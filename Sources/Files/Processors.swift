import Diagnostics
import Glibc

/// The processors that this process may use: those that it is bound to (taskset, cpusets), and no more than the quota of
/// its control groups, which containers set.
package enum Processors {
  /// At least 1.
  package static let count = count(of: online, read: contents)
  /// The processors of the machine.
  package static let online = sysconf(Int32(_SC_NPROCESSORS_ONLN))

  /// - Parameters:
  ///   - online: the processors of the machine.
  ///   - read: the text of a file below /proc or /sys; nil if there is none.
  package static func count(of online: Int, read: (String) -> String?) -> Int {
    var count = online
    if let allowed = read("/proc/self/status").flatMap(allowedCount) { count = min(count, allowed) }
    if let quota = read("/proc/self/cgroup").flatMap({ quota(groups: $0, read: read) }) {  // defence: quota
      count = min(count, Int(quota.rounded(.up)))
    }
    return max(count, 1)
  }

  /// How many processors a list such as "0-3,8" names, in the line of `Cpus_allowed_list`.
  private static func allowedCount(_ status: String) -> Int? {
    let key = "Cpus_allowed_list:"
    guard let line = status.split(separator: "\n").first(where: { $0.hasPrefix(key) }) else { return nil }
    let ranges = line.dropFirst(key.count).split(separator: ",").map { range in
      range.split(separator: "-").compactMap { Int($0.filter { !$0.isWhitespace }) }
    }
    return ranges.reduce(0) { count, bounds in
      guard let first = bounds.first, let last = bounds.last, first <= last else { return count }
      return count + last - first + 1
    }
  }

  /// The smallest quota, in processors, of the groups that a process is in and of those around them; nil if none has one.
  ///
  /// In a container the paths may be those of the host, which do not exist there: its own group is at the root then.
  private static func quota(groups: String, read: (String) -> String?) -> Double? {
    var quotas: [Double] = []
    for line in groups.split(separator: "\n") {
      // "0::/user.slice" in version 2, "4:cpu,cpuacct:/docker/…" in version 1.
      let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
      guard fields.count == 3 else { continue }
      let isUnified = fields[1].isEmpty
      guard isUnified || fields[1].split(separator: ",").contains("cpu") else { continue }
      let roots = isUnified ? ["/sys/fs/cgroup"] : ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"]
      var path = fields[2] == "/" ? "" : String(fields[2])
      while true {
        quotas += roots.compactMap { root in
          isUnified
            ? read("\(root)\(path)/cpu.max").flatMap { quota(of: $0.split(whereSeparator: \.isWhitespace)) }
            : quota(
              of: ["cpu.cfs_quota_us", "cpu.cfs_period_us"].compactMap { name in
                read("\(root)\(path)/\(name)").map { $0.filter { !$0.isWhitespace }[...] }
              })
        }
        guard let slash = path.lastIndex(of: "/") else { break }
        path = String(path[..<slash])
      }
    }
    return quotas.min()
  }

  /// Of microseconds in a period of so many; "max" or -1 is no quota.
  private static func quota(of fields: [Substring]) -> Double? {
    guard fields.count == 2, let time = Double(fields[0]), let period = Double(fields[1]), time > 0, period > 0 else {
      return nil
    }
    return time / period
  }

  /// Files of the kernel, whose size is not known before they are read.
  package static func contents(of path: String) -> String? {
    let number = open(path, O_RDONLY | O_CLOEXEC)
    guard number >= 0 else { return nil }
    let file = Descriptor(number)
    var bytes = [UInt8](repeating: 0, count: 1 << 14)
    let count = Glibc.read(file.number, &bytes, bytes.count)
    return count > 0 ? String(validating: bytes[..<count], as: UTF8.self) : nil
  }
}
