import Datasets
import Diagnostics
import Files
import FoundationEssentials
import Glibc
import JSONText
import Optimization
import Reporting

/// What every group works with.
final class Rig {
  let work: WorkDirectory
  /// A directory in the format of CIFAR-10.
  let data: String
  let isQuick: Bool
  let machine: Machine
  /// The training files in `data`.
  let dataset: CIFAR10Dataset
  /// Over all of them, [D], in pixel units.
  let mean: [Float]

  /// - Parameter data: nil for the directory that DESCENT_CIFAR10 names, otherwise a synthetic set of the same size.
  init(data: String?, isQuick: Bool) throws(Failure) {
    let environment = ProcessInfo.processInfo.environment
    work = try WorkDirectory()
    self.isQuick = isQuick
    machine = Machine(kernel: try KernelVariant(environment: environment))
    if let data = data ?? environment["DESCENT_CIFAR10"], !data.isEmpty {
      self.data = data
    } else {
      self.data = work.newName("synthetic")
      Rig.say("*** No --data and no DESCENT_CIFAR10: measuring on SYNTHETIC data of the same size.")
      try SyntheticDataset.write(to: self.data)
    }
    dataset = try CIFAR10Dataset(directory: self.data, part: .training)
    mean = dataset.meanImage(over: (0..<UInt32(dataset.count)).map { $0 })
  }

  var kernel: KernelVariant { machine.kernel }

  /// Writes a line to standard error.
  static func say(_ text: String) { StandardError.write(text + "\n") }
}

/// Where and when something was measured.
struct Machine {
  let kernel: KernelVariant
  let cores = Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))
  private let processor: String
  private let date = String(UTCTime.now().timestamp.prefix(10))
  private let system: String

  init(kernel: KernelVariant) {
    self.kernel = kernel
    processor =
      (try? fileText("/proc/cpuinfo"))?.split(separator: "\n").first { $0.hasPrefix("model name") }
      .flatMap { $0.split(separator: ":", maxSplits: 1).last }
      .map { String($0.drop { $0 == " " }) } ?? "unknown processor"
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

/// A directory that is removed with its last holder.
final class WorkDirectory {
  let path: String
  private var names = 0

  init() throws(Failure) {
    let parent = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
    var template = Array("\(parent)/descent-benchmark-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else {
      throw .cannot("create a directory in \(parent)")
    }
    path = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
  }

  /// Set after a failure, so that the files can be inspected.
  var isKept = false

  deinit { if !isKept { remove(path) } }

  /// A name that was not used before.
  func newName(_ prefix: String) -> String {
    names += 1
    return "\(path)/\(prefix)-\(names)"
  }

  func remove(_ path: String) { try? FileManager.default.removeItem(atPath: path) }
}

/// The whole of a text file.
func fileText(_ path: String) throws(Failure) -> String {
  try FileSystem().text(of: path, limit: 1 << 30)
}

/// Seconds on a clock.
func monotonicSeconds(_ clock: clockid_t = CLOCK_MONOTONIC) -> Double {
  var time = timespec()
  clock_gettime(clock, &time)
  return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
}
