import Datasets
import Diagnostics
import Files
import Glibc
import Messaging
import Optimization
import Reporting
import Transport

/// The checks of `descent doctor` that concern the machine and not a place on it. They read and measure, and change nothing.
package enum MachineChecks {
  /// Workers of the largest run that the doctor trains.
  static let workers = 3

  package static func all(environment: [String: String], kernel: KernelVariant) -> [Finding] {
    [
      Finding("versions") { .fine(versions) },
      Finding("processor") { Self.processor(kernel, best: .best, read: Processors.contents(of:)) },
      Finding("processors") { processors(of: Processors.online, usable: Processors.count) },
      Finding("large pages") { largePages(read: Processors.contents(of:)) },
      Finding("limits") { () throws(Failure) in try limits() },
      Finding("memory") { () throws(Failure) in try memory(read: Processors.contents(of:)) },
      Finding("clocks") { () throws(Failure) in try clocks(ClockSample.measure(), read: Processors.contents(of:)) },
      Finding("terminal") { .fine(terminal(environment)) },
    ]
  }

  private static var versions: String {
    let own = RunFile.Versions.current
    let libraries = ["libzmq \(LibraryVersions.zeroMQ)", "libsodium \(LibraryVersions.sodium)"]
    return
      ([
        "descent \(own.descent)" + (own.commit.map { " (\($0))" } ?? ""), "wire protocol \(own.networkProtocol)",
        "Swift \(own.compiler)",
      ] + libraries + PictureLibraries.versions).joined(separator: ", ")
  }

  /// - Parameter read: the text of a file of the kernel; nil if there is none.
  package static func processor(
    _ kernel: KernelVariant, best: KernelVariant, read: (String) -> String?
  ) -> Finding.Result {
    let lines = read("/proc/cpuinfo")?.split(separator: "\n") ?? []
    let model = lines.first { $0.hasPrefix("model name") }?.split(separator: ":", maxSplits: 1).last
    let name = model.map { $0.trimming(\.isWhitespace) } ?? "of unknown model"
    guard kernel == best else {
      return .poor(
        "\(name), kernels \(kernel.rawValue), which DESCENT_KERNEL names instead of \(best.rawValue)",
        remedy: "Unset DESCENT_KERNEL: the weights are the same, and the steps faster")
    }
    #if arch(x86_64)
      guard kernel != .portable else {
        return .poor(
          "\(name), which has neither AVX2 nor AVX-512: kernels portable",
          remedy: "Training is right and slow. In a virtual machine, pass the processor of the host through")
      }
    #endif
    return .fine("\(name), kernels \(kernel.rawValue)")
  }

  package static func processors(of online: Int, usable: Int) -> Finding.Result {
    let found = usable < online ? "\(usable) of \(online) (affinity or quota of a control group)" : "\(usable)"
    var loads = [0.0]
    guard getloadavg(&loads, 1) == 1, loads[0] > 2 * Double(usable) else { return .fine(found) }
    return .poor(
      "\(found), with a load of \(Display.decimal(loads[0], places: 1))",
      remedy: "Other programs share the processors, so steps are slower and vary. Wait, or train with fewer workers")
  }

  package static func largePages(read: (String) -> String?) -> Finding.Result {
    let path = "/sys/kernel/mm/transparent_hugepage/enabled"
    // "always [madvise] never".
    guard let text = read(path), let choice = text.split(separator: "[").last?.split(separator: "]").first else {
      return .fine("not offered by this kernel")
    }
    guard choice == "never" else { return .fine(String(choice)) }
    return .poor(
      "never", remedy: "Data sets are read more slowly at the start. As root: echo madvise >\(path)")
  }

  private static func limits() throws(Failure) -> Finding.Result {
    let listing = SystemLimits.listing.joined(separator: ", ")
    try RunLimits.require(runOf: workers)
    try SystemLimits.requireFileSize(1 << 20, for: "a checkpoint")
    return .fine(listing)
  }

  package static func memory(read: (String) -> String?) throws(Failure) -> Finding.Result {
    try SystemLimits.requireMemory(64 << 20, for: "a run")
    let lines = read("/proc/meminfo")?.split(separator: "\n") ?? []
    let available = lines.first { $0.hasPrefix("MemAvailable:") }?.split(separator: " ").dropFirst().first
    guard let kilobytes = available.flatMap({ Int($0) }) else { return .fine("allocated 64 MB") }
    let found = "\(grouped(UInt64(kilobytes >> 10))) MB available"
    // The files of CIFAR-10 and the processes of a small run.
    guard kilobytes >= 512 << 10 else {
      return .poor(found, remedy: "End other programs: with CIFAR-10 a run takes about 400 MB")
    }
    return .fine(found)
  }

  /// - Parameter sample: of the monotonic clock.
  package static func clocks(_ sample: ClockSample, read: (String) -> String?) throws(Failure) -> Finding.Result {
    guard sample.stepsBack == 0 else {
      throw Failure(
        .internalError, "the monotonic clock has gone back \(sample.stepsBack) times",
        remedy: "Restart the machine. A virtual machine needs a newer kernel, or another source of time")
    }
    let directory = "/sys/devices/system/clocksource/clocksource0"
    let source = read("\(directory)/current_clocksource")?.trimming(\.isWhitespace)
    let found =
      (source ?? "source unknown") + ", \(Display.decimal(sample.nanosecondsPerReading, places: 0)) ns a reading"
    if let source, ["hpet", "acpi_pm", "jiffies", "refined-jiffies", "pit"].contains(source) {
      return .poor(
        found,
        remedy: "Readings are slow. Choose tsc or that of the hypervisor, from \(directory)/available_clocksource")
    }
    guard sample.longestGap <= 0.1 else {
      return .poor(
        "\(found); the process stood still for \(Display.decimal(sample.longestGap, places: 2)) s",
        remedy: "The host or other programs take the processors away. Raise lease-seconds if workers are lost")
    }
    guard sample.jump <= 0.05 else {
      return .poor(
        "\(found); the calendar jumped by \(Display.decimal(sample.jump, places: 2)) s",
        remedy: "Times in logs may be out of order; training is not affected. Let the time be adjusted gradually")
    }
    return .fine(found)
  }

  private static func terminal(_ environment: [String: String]) -> String {
    guard StandardError.isTerminal else { return "none: progress is shown as lines" }
    let style = ProgressStyle(isQuiet: false, isTerminal: true, environment: environment)
    guard style == .redrawn else { return "progress is shown as lines, because of TERM or CI" }
    let features = TerminalFeatures(environment: environment)
    return "\(StandardError.width) columns, \(features.hasBlocks ? "block characters" : "ASCII")"
      + (features.hasColor ? ", colours" : ", no colours")
  }
}

/// The monotonic clock, read again and again for a tenth of a second.
package struct ClockSample: Sendable {
  package var stepsBack = 0
  package var nanosecondsPerReading = 0.0
  /// Seconds between two readings.
  package var longestGap = 0.0
  /// Seconds by which the calendar went another way than this clock.
  package var jump = 0.0

  package init() {}

  package static func measure() -> ClockSample {
    var sample = ClockSample()
    let (calendar, began) = (UTCTime.now(), Instant.now)
    var (last, readings) = (began, 1.0)
    while last.since(began).seconds < 0.1 {
      let now = Instant.now
      if now < last { sample.stepsBack += 1 }
      sample.longestGap = max(sample.longestGap, now < last ? 0 : now.since(last).seconds)
      (last, readings) = (now, readings + 1)
      if sample.stepsBack > 1000 { break }
    }
    let elapsed = last.since(began).seconds
    sample.nanosecondsPerReading = elapsed * 1e9 / readings
    sample.jump = abs(Double(UTCTime.now().microseconds - calendar.microseconds) / 1e6 - elapsed)
    return sample
  }
}
