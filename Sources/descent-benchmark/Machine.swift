import Glibc
import JSONText
import Optimization
import Reporting

/// Where and when something was measured.
struct Machine {
  let processor: String
  let cores: Int
  let kernel: KernelVariant
  let date: String
  let system: String

  init(kernel: KernelVariant) {
    processor =
      (try? fileText("/proc/cpuinfo"))?.split(separator: "\n").first { $0.hasPrefix("model name") }
      .flatMap { $0.split(separator: ":", maxSplits: 1).last }
      .map { String($0.drop { $0 == " " }) } ?? "unknown processor"
    cores = Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))
    self.kernel = kernel
    date = String(UTCTime.now().timestamp.prefix(10))
    system = ((try? fileText("/proc/sys/kernel/osrelease")) ?? "").split(separator: "\n").first.map(String.init) ?? ""
  }

  var text: String { "\(date), \(processor), \(cores) cores, Linux \(system), kernel \(kernel.rawValue)" }

  var json: JSONValue {
    [
      "date": .string(date), "processor": .string(processor), "cores": .number(cores),
      "kernel": .string(kernel.rawValue), "linux": .string(system),
    ]
  }
}
