import Diagnostics
import Files
import Foundation
import TestSupport
import Testing

/// Limits are those of a process: each is set in one of its own.
@Suite("System limits") struct SystemLimitsTests {
  @Test func `fewer open files than are needed: refused with the number needed and the number found`() async throws {
    await #expect(processExitsWith: .success) {
      setLimit(RLIMIT_NOFILE, 40)
      var inherited: [Int32] = []
      for _ in 0..<4 { inherited.append(open("/dev/null", O_RDONLY)) }
      try SystemLimits.requireDescriptors(4, for: "a test")
      #expect {
        try SystemLimits.requireDescriptors(60, for: "a server of 2 workers")
      } throws: { error in
        // More than 64, as those that are open count.
        let text = "\(error)"
        let needed = text.matches(of: /\d\d+/).compactMap { Int($0.output) }
        return (error as? Failure)?.status == .badConfiguration
          && text.hasPrefix("a server of 2 workers needs ") && text.contains("the limit is 40")
          && needed.first == needed.last && needed[0] >= 60 + 3 + inherited.count
      }
    }
    try Evidence.add(.limits, observed: "78: needs N open files, but the limit is 40. Raise the limit: ulimit -n N")
  }

  @Test func `fewer threads than are needed: refused with the number needed and the number found`() async throws {
    await #expect(processExitsWith: .success) {
      // The limit is one of users other than root.
      if geteuid() == 0 { _ = setgid(65534) + setuid(65534) }
      setLimit(__RLIMIT_NPROC, 4)
      let failure = Result { try SystemLimits.requireThreads(500, for: "a run of 80 workers") }
      // The testing library needs threads to report what it finds.
      setLimit(__RLIMIT_NPROC, rlim_t.max)
      #expect {
        try failure.get()
      } throws: { error in
        let text = "\(error)"
        let numbers = text.matches(of: /allows (\d+)\b/).compactMap { Int($0.output.1) }
        return (error as? Failure)?.status == .badConfiguration && text.contains("needs 500 more")
          && numbers.count == 1 && numbers[0] < 5 && text.contains("ulimit -u")
      }
    }
    try Evidence.add(.limits, observed: "78: needs 500 more processes and threads, but the system allows fewer than 5")
  }

  @Test(arguments: ["address space", "data"])
  func `less memory than is needed: refused with the limit that is set`(kind: String) async throws {
    if kind == "data" {
      await #expect(processExitsWith: .success) {
        setLimit(RLIMIT_DATA, 256 << 20)
        try SystemLimits.requireMemory(1 << 20, for: "a server")
        expectRefusal("ulimit -d is 262144 kB") { () throws(Failure) in
          try SystemLimits.requireMemory(300 << 20, for: "a server")
        }
      }
    } else {
      await #expect(processExitsWith: .success) {
        setLimit(RLIMIT_AS, 64 << 30)
        try SystemLimits.requireMemory(1 << 20, for: "a server")
        expectRefusal("ulimit -v is 67108864 kB") { () throws(Failure) in
          try SystemLimits.requireMemory(65 << 30, for: "a server")
        }
      }
    }
    try Evidence.add(.limits, kind, observed: "78: needs N kB more memory, and which limit is how large")
  }

  @Test func `a limit of file sizes below what is written: refused with both numbers`() async throws {
    await #expect(processExitsWith: .success) {
      setLimit(RLIMIT_FSIZE, 1000)
      try SystemLimits.requireFileSize(1000, for: "a checkpoint")
      expectRefusal("a checkpoint needs files of 1001 bytes, but the limit is 1000") { () throws(Failure) in
        try SystemLimits.requireFileSize(1001, for: "a checkpoint")
      }
    }
    try Evidence.add(.limits, observed: "78: a checkpoint needs files of 1001 bytes, but the limit is 1000")
  }

  /// `ulimit -t` sets both limits, and at the hard one there is only SIGKILL.
  @Test func `a soft limit of processor time that equals the hard one is lowered`() async {
    await #expect(processExitsWith: .success) {
      setLimit(RLIMIT_CPU, 100)
      SystemLimits.reserveTimeToSave()
      var limit = rlimit()
      getrlimit(__rlimit_resource_t(RLIMIT_CPU.rawValue), &limit)
      #expect(limit.rlim_cur == 90 && limit.rlim_max == 100)
      SystemLimits.reserveTimeToSave()
      getrlimit(__rlimit_resource_t(RLIMIT_CPU.rawValue), &limit)
      #expect(limit.rlim_cur == 90)
    }
  }

  private static let machine = "Name:\tdescent\nCpus_allowed:\tffff\nCpus_allowed_list:\t0-15\n"

  private static let hosts: [(name: String, files: [String: String], count: Int)] = [
    ("no limits", [:], 64),
    ("bound to 0-3 and 8", ["/proc/self/status": "Cpus_allowed_list:\t0-3,8\n"], 5),
    (
      "version 2, quota of 2 of 16",
      [
        "/proc/self/status": machine, "/proc/self/cgroup": "0::/\n",
        "/sys/fs/cgroup/cpu.max": "200000 100000\n",
      ], 2
    ),
    (
      "version 2, 1.5 in the group, 8 around it",
      [
        "/proc/self/status": machine, "/proc/self/cgroup": "0::/job.slice/step.scope\n",
        "/sys/fs/cgroup/job.slice/cpu.max": "800000 100000\n",
        "/sys/fs/cgroup/job.slice/step.scope/cpu.max": "150000 100000\n",
      ], 2
    ),
    (
      "version 2, 3 around a group without one",
      [
        "/proc/self/status": machine, "/proc/self/cgroup": "0::/job.slice/step.scope\n",
        "/sys/fs/cgroup/job.slice/cpu.max": "300000 100000\n",
        "/sys/fs/cgroup/job.slice/step.scope/cpu.max": "max 100000\n",
      ], 3
    ),
    (
      "version 1, in a container that sees the path of the host",
      [
        "/proc/self/status": machine, "/proc/self/cgroup": "5:memory:/docker/1\n4:cpu,cpuacct:/docker/1\n0::/\n",
        "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "400000\n", "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
      ], 4
    ),
    (
      "version 1, no quota",
      [
        "/proc/self/status": machine, "/proc/self/cgroup": "4:cpu,cpuacct:/\n",
        "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
        "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
      ], 16
    ),
    (
      "a tenth of a processor",
      ["/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/cpu.max": "10000 100000\n"], 1
    ),
    (
      "unreadable text",
      ["/proc/self/status": "Cpus_allowed_list:\t\n", "/proc/self/cgroup": "::\n0\n", "/sys/fs/cgroup/cpu.max": "0 0"],
      1
    ),
  ]

  @Test(arguments: hosts.indices)
  func `processors by affinity and quota: as many threads as may run at once`(host: Int) throws {
    let (name, files, count) = Self.hosts[host]
    #expect(Processors.count(of: 64) { files[$0] } == count, "\(name)")
    try Evidence.add(.limits, name, observed: "\(count)")
  }

  @Test func `this machine has at least one processor, and no more than are online`() {
    #expect((1...max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)))).contains(Processors.count))
  }
}

/// Sets both limits.
private func setLimit(_ resource: __rlimit_resource, _ value: rlim_t) {
  var limit = rlimit()
  getrlimit(__rlimit_resource_t(resource.rawValue), &limit)
  limit.rlim_cur = min(value, limit.rlim_max)
  limit.rlim_max = min(value, limit.rlim_max)
  setrlimit(__rlimit_resource_t(resource.rawValue), &limit)
}

private func expectRefusal(_ text: String, _ body: () throws(Failure) -> Void) {
  #expect {
    try body()
  } throws: { error in
    (error as? Failure)?.status == .badConfiguration && "\(error)".contains(text)
  }
}
