import Foundation
import Fuzzing

/// libFuzzer as a function: fuzzes `test` as the arguments say and returns the exit status.
@_silgen_name("LLVMFuzzerRunDriver")
private func runFuzzer(
  _ count: UnsafeMutablePointer<CInt>,
  _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>,
  _ test: @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt
) -> CInt

/// `DESCENT_FUZZ`, the target.
private nonisolated(unsafe) let target: FuzzTarget = {
  guard let name = ProcessInfo.processInfo.environment["DESCENT_FUZZ"], let target = FuzzTarget(rawValue: name) else {
    fatalError("DESCENT_FUZZ is none of \(FuzzTarget.allCases.map(\.rawValue).joined(separator: ", "))")
  }
  return target
}()

// What to begin with.
if let directory = ProcessInfo.processInfo.environment["DESCENT_FUZZ_SEEDS"] {
  for (index, seed) in target.seeds.enumerated() {
    try Data(seed).write(to: URL(fileURLWithPath: "\(directory)/seed-\(index)"))
  }
}

var count = CommandLine.argc
var arguments = CommandLine.unsafeArgv
exit(
  runFuzzer(&count, &arguments) { bytes, count in
    do {
      try target.run(UnsafeRawBufferPointer(start: bytes, count: count))
    } catch {
      fatalError("\(target.rawValue): \(error)")
    }
    return 0
  })
