// Does one piece of a step so many times and nothing else, for Scripts/count-gates.sh, which counts what two numbers of
// repetitions differ in. Which kernel runs, DESCENT_KERNEL says.
//
// Prints how much work one repetition is: a number and its unit.
import Diagnostics
import Glibc
import Optimization

private let usage = "usage: counted-cases gradient-softmax|gradient-hinge|checksum|codec|update|exchange REPETITIONS"

private func stop(_ status: ExitStatus, _ message: String) -> Never {
  var line = message + "\n"
  _ = line.withUTF8 { write(STDERR_FILENO, $0.baseAddress, $0.count) }
  exit(status.rawValue)
}

private func makeCase(_ name: String, _ kernel: KernelVariant) throws(Failure) -> any CountedCase {
  switch name {
  case "gradient-softmax": GradientCase(.softmaxCrossEntropy, kernel: kernel)
  case "gradient-hinge": GradientCase(.hinge, kernel: kernel)
  case "checksum": ChecksumCase()
  case "codec": CodecCase()
  case "update": StepCase(carrier: .none, kernel: kernel)
  case "exchange": StepCase(carrier: .memory(try MemoryCarrier(workers: StepCase.workers)), kernel: kernel)
  default: stop(.usage, usage)
  }
}

private func main() throws(Failure) {
  guard CommandLine.arguments.count == 3, let repetitions = Int(CommandLine.arguments[2]), repetitions > 0 else {
    stop(.usage, usage)
  }
  let named = getenv("DESCENT_KERNEL").map { String(cString: $0) }
  let kernel = try KernelVariant(environment: named.map { ["DESCENT_KERNEL": $0] } ?? [:])
  var counted = try makeCase(CommandLine.arguments[1], kernel)
  for repetition in 0..<repetitions { counted.repeatOnce(repetition) }
  if let complaint = counted.complaint(after: repetitions) { stop(.internalError, complaint) }
  print(counted.amount, counted.unit)
}

do {
  try main()
} catch {
  stop(error.status, error.description)
}
