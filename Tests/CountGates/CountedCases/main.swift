// Repeats one piece of a step and does nothing else, for Scripts/count-gates.sh, which counts what two numbers of
// repetitions differ in. DESCENT_KERNEL chooses the kernels.
//
// Prints how much work one repetition is: a number and its unit.
import Diagnostics
import Glibc
import Messaging
import Optimization
import Pieces

private let usage =
  "usage: counted-cases gradient-softmax|gradient-hinge|gradient-network|gradient-sparse|checksum|codec|update|exchange|schedule REPETITIONS"

private func stop(_ status: ExitStatus, _ message: String) -> Never {
  var line = message + "\n"
  _ = line.withUTF8 { write(STDERR_FILENO, $0.baseAddress, $0.count) }
  exit(status.rawValue)
}

private func piece(_ name: String, _ kernel: KernelVariant) throws(Failure) -> any Piece {
  switch name {
  case "gradient-softmax": try gradient(.softmaxCrossEntropy, kernel)
  case "gradient-hinge": try gradient(.hinge, kernel)
  case "gradient-network": try gradient(.softmaxCrossEntropy, hidden: [50, 20], batchSize: 64, kernel)
  case "gradient-sparse": try gradient(.softmaxCrossEntropy, hidden: [50], batchSize: 512, kernel)
  case "checksum": ChecksumPiece(byteCount: ModelShape.cifar10.parameterCount * 4)
  case "codec": PushCodec(payload: Payload(concatenating: [Int32](repeating: 1, count: 16)))
  case "update": try ServerStep(workers: 2, shards: 16, batchSize: 64, kernel: kernel)
  case "exchange": try ServerStep(workers: 2, shards: 16, batchSize: 64, throughMemory: true, kernel: kernel)
  case "schedule": try ServerStep(workers: 256, isUneven: true, kernel: kernel)
  default: stop(.usage, usage)
  }
}

/// Of a few records, quickly made; the table names each of them many times.
private func gradient(
  _ loss: Loss, hidden: [Int] = [], batchSize: Int = 256, _ kernel: KernelVariant
) throws(Failure) -> GradientPiece {
  let (records, size) = (64, 1 + ModelShape.cifar10.pixels)
  var bytes = (0..<records * size).map { UInt8(truncatingIfNeeded: $0 &* 167 &+ $0 >> 8) }
  for record in 0..<records { bytes[record * size] = UInt8(record % ModelShape.cifar10.classes) }
  let payload = Payload(concatenating: bytes)
  let base = payload.bytes.baseAddress.unsafelyUnwrapped.assumingMemoryBound(to: UInt8.self)
  let plan = try plainPlan(batchSize: batchSize, shards: 16, exampleCount: 4096 + 16) {
    ($0.loss, $0.initialStandardDeviation, $0.validationCount) = (loss, 0x1p-10, 16)
    if !hidden.isEmpty {
      $0.shape = ModelShape(classes: $0.shape.classes, pixels: $0.shape.pixels, hidden: hidden)
      $0.dropout = 0.5
    }
  }
  let examples = ExampleTable(
    records: (0..<plan.exampleCount).map { base + $0 % records * size }, owner: payload)
  return GradientPiece(
    plan, examples: examples, meanImage: [Float](repeating: 120, count: plan.shape.pixels), kernel: kernel)
}

private func main() throws(Failure) {
  guard CommandLine.arguments.count == 3, let repetitions = Int(CommandLine.arguments[2]), repetitions > 0 else {
    stop(.usage, usage)
  }
  let named = getenv("DESCENT_KERNEL").map { String(cString: $0) }
  let kernel = try KernelVariant(environment: named.map { ["DESCENT_KERNEL": $0] } ?? [:])
  var counted = try piece(CommandLine.arguments[1], kernel)
  for _ in 0..<repetitions { counted.run() }
  try counted.verify()
  print(counted.amount, counted.unit)
}

do {
  try main()
} catch {
  stop(error.status, error.description)
}
