import Diagnostics
import NodeRuntime
import Optimization
import Testing

/// The checks of `descent doctor` on machines that this one is not.
@Suite struct MachineCheckTests {
  private func finding(_ body: () throws(Failure) -> Finding.Result) -> Finding { Finding("check", body) }

  @Test func `a finding is shown with its verdict, and with what to do on a line below`() {
    let fine = finding { .fine("all is well") }
    #expect(fine.verdict == .ok && fine.status == .success)
    #expect(fine.text == "ok       check                all is well\n")
    let poor = finding { .poor("odd \u{1B}[2J", remedy: "Do this") }
    #expect(poor.verdict == .warning && poor.status == .success)
    #expect(poor.text.hasSuffix("odd \\u{1b}[2J\n" + String(repeating: " ", count: 30) + "Do this\n"))
    let wrong = finding { () throws(Failure) in throw Failure(.cannotCreate, "cannot", found: "EROFS", remedy: "Move") }
    #expect(wrong.verdict == .error && wrong.status == .cannotCreate)
    #expect(wrong.found == "cannot: EROFS" && wrong.remedy == "Move")
  }

  @Test func `kernels that are not the fastest are warned of`() throws {
    let model = { (_: String) -> String? in "processor\t: 0\nmodel name\t: A Processor\nflags\t: avx2\n" }
    let best = finding { MachineChecks.processor(.best, best: .best, read: model) }
    #expect(best.found == "A Processor, kernels \(KernelVariant.best.rawValue)")
    let forced = finding { MachineChecks.processor(.avx2, best: .avx512, read: model) }
    #expect(forced.verdict == .warning && forced.remedy?.contains("DESCENT_KERNEL") == true)
    #expect(finding { MachineChecks.processor(.best, best: .best) { _ in nil } }.found.contains("unknown model"))
  }

  @Test func `fewer processors than the machine has are said`() {
    #expect(finding { MachineChecks.processors(of: 64, usable: 2000) }.found == "2000")
    #expect(finding { MachineChecks.processors(of: 4096, usable: 2000) }.found.hasPrefix("2000 of 4096 "))
  }

  @Test(
    arguments: [
      ("always [madvise] never\n", "madvise", .ok), ("[always] madvise never\n", "always", .ok),
      ("always madvise [never]\n", "never", .warning), (nil, "not offered by this kernel", .ok),
    ] as [(String?, String, Finding.Verdict)])
  func `large pages are as the kernel says`(text: String?, found: String, verdict: Finding.Verdict) {
    let finding = finding { MachineChecks.largePages { _ in text } }
    #expect(finding.found == found && finding.verdict == verdict)
  }

  @Test func `little memory is warned of`() {
    func verdict(_ text: String?) -> Finding.Verdict {
      finding { () throws(Failure) in try MachineChecks.memory { _ in text } }.verdict
    }
    #expect(verdict("MemTotal: 1 kB\nMemAvailable:    8000000 kB\n") == .ok)
    #expect(verdict("MemAvailable:    300000 kB\n") == .warning)
    #expect(verdict(nil) == .ok)
  }

  @Test func `clocks that go back, stand still, jump or are slow are told apart`() {
    func verdict(_ source: String? = "tsc\n", _ change: (inout ClockSample) -> Void = { _ in }) -> Finding.Verdict {
      var sample = ClockSample()
      change(&sample)
      return finding { () throws(Failure) in try MachineChecks.clocks(sample) { _ in source } }.verdict
    }
    #expect(verdict() == .ok && verdict(nil) == .ok)
    #expect(verdict { $0.stepsBack = 1 } == .error)
    #expect(verdict { $0.longestGap = 0.5 } == .warning)
    #expect(verdict { $0.jump = 3600 } == .warning)
    #expect(verdict("hpet\n") == .warning)
    #expect(ClockSample.measure().stepsBack == 0)
  }

  @Test func `the file system of a directory is that of the nearest mount point`() {
    let mounts = """
      overlay / overlay rw 0 0
      /dev/sda1 /usr ext4 rw 0 0
      server:/home /usr/bin nfs4 rw 0 0
      tmpfs /us tmpfs rw 0 0
      """
    func kind(_ path: String) -> String { PlaceChecks.kindOfFileSystem(of: path, mounts: mounts) }
    #expect(kind("/nowhere") == "overlay" && kind("/usr/lib") == "ext4" && kind("/usr/bin") == "nfs4")
    #expect(PlaceChecks.kindOfFileSystem(of: "/", mounts: nil) == "file system unknown")
  }
}
