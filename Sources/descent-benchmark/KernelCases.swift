import CKernels
import Optimization

/// Scores and gradient of one image: two products of 10 × 3,072, two operations for each multiply-add.
private let operationsPerImage = 4 * Double(DESCENT_WEIGHTS)

private func gradientCase(
  _ name: String, _ workload: Workload, _ kernel: OpaquePointer, _ loss: Loss, shards: Int, examplesPerShard: Int
) -> Case {
  let gradient = GradientRun(
    workload, kernel: kernel, loss: loss, shards: shards, examplesPerShard: examplesPerShard)
  return Case(
    name: name, rateUnit: "M images/s", amount: Double(gradient.examples) * 1e-6,
    floatingPointOperations: operationsPerImage * Double(gradient.examples),
    verify: gradient.verify, run: gradient.run)
}

/// The gradient of 32 to 512 examples gathered at random, in shards of 16.
func gradientCases(_ workload: Workload, _ kernel: OpaquePointer) -> [Case] {
  Loss.allCases.flatMap { loss in
    [32, 64, 128, 256, 512].map { examples in
      gradientCase(
        "gradient \(loss == .hinge ? "hinge" : "softmax"), \(examples) examples", workload, kernel, loss,
        shards: examples / 16, examplesPerShard: 16)
    }
  }
}

/// What finer shards cost: 16 shards of b examples each.
func granularityCases(_ workload: Workload, _ kernel: OpaquePointer) -> [Case] {
  [2, 4, 8, 16, 32].map { examples in
    gradientCase(
      "gradient softmax, 16 shards of \(examples)", workload, kernel, .softmaxCrossEntropy, shards: 16,
      examplesPerShard: examples)
  }
}

/// The cost of determinism. A worker that adds its examples up in plain floats, in the order they come, has one
/// chain and rounds nothing: that is one shard of all examples. A server does the same additions in integers as in
/// floats.
func determinismCases(_ workload: Workload, _ kernel: OpaquePointer) -> [Case] {
  let gradients = [(1, 256), (16, 16)].map { shards, examples in
    gradientCase(
      "determinism: 256 examples, \(shards == 1 ? "plain float chain" : "16 exact shards")", workload, kernel,
      .softmaxCrossEntropy, shards: shards, examplesPerShard: examples)
  }
  return gradients + [plainAddition(), exactAddition(kernel)]
}

private let parameterBytes = Double(DESCENT_PARAMETERS) * 4e-9

private func plainAddition() -> Case {
  let count = Int(DESCENT_PARAMETERS)
  let storage = UnsafeMutablePointer<Float>.allocate(capacity: 2 * count)
  storage.initialize(repeating: 0.5, count: 2 * count)
  let addend = storage + count
  func run() { for index in 0..<count { storage[index] += addend[index] } }
  return Case(
    name: "determinism: server adds a push, float", rateUnit: "GB/s", amount: parameterBytes,
    floatingPointOperations: 0,
    verify: {
      run()
      return (0..<count).allSatisfy { storage[$0] == 1 } ? nil : "wrong sum"
    }, run: run)
}

private func exactAddition(_ kernel: OpaquePointer) -> Case {
  let count = Int(DESCENT_PARAMETERS)
  let sum = UnsafeMutablePointer<Int32>.allocate(capacity: count)
  sum.initialize(repeating: 1, count: count)
  // As it lies in a message: at any address.
  let addend = UnsafeMutableRawPointer.allocate(byteCount: count * 4 + 1, alignment: 64) + 1
  for index in 0..<count { addend.storeBytes(of: Int32(index), toByteOffset: index * 4, as: Int32.self) }
  func run() { descent_add_int32(kernel, sum, sum, addend, count) }
  return Case(
    name: "determinism: server adds a push, int32", rateUnit: "GB/s", amount: parameterBytes,
    floatingPointOperations: 0,
    verify: {
      run()
      return (0..<count).allSatisfy { sum[$0] == Int32($0) + 1 } ? nil : "wrong sum"
    }, run: run)
}

/// The checksum of a message with a whole gradient, and of a small one.
func checksumCases() -> [Case] {
  [256, Int(DESCENT_PARAMETERS) * 4].map { count in
    let bytes = UnsafeMutablePointer<UInt8>.allocate(capacity: count)
    for index in 0..<count { bytes[index] = UInt8(truncatingIfNeeded: index &* 167) }
    return Case(
      name: "CRC-32C (\(String(cString: descent_crc32c_name()))), \(count) bytes", rateUnit: "GB/s",
      amount: Double(count) * 1e-9, floatingPointOperations: 0,
      verify: {
        guard descent_crc32c(0, "123456789", 9) == 0xE306_9283 else { return "wrong check value" }
        let pieces = descent_crc32c(descent_crc32c(0, bytes, 77), bytes + 77, count - 77)
        return descent_crc32c(0, bytes, count) == pieces ? nil : "the whole differs from its pieces"
      }, run: { _ = descent_crc32c(0, bytes, count) })
  }
}

/// One update of all parameters.
func updateCases(_ workload: Workload, _ kernel: OpaquePointer) -> [Case] {
  let kinds = [
    ("plain", DESCENT_MOMENTUM_NONE, 3.0), ("Polyak", DESCENT_MOMENTUM_POLYAK, 5),
    ("Nesterov", DESCENT_MOMENTUM_NESTEROV, 5),
  ]
  return kinds.map { name, kind, streams in
    let count = Int(DESCENT_PARAMETERS)
    let sum = (0..<count).map { Int32($0 % 2_001 - 1_000) }
    let parameters = UnsafeMutablePointer<Float>.allocate(capacity: 2 * count)
    func reset() {
      parameters.initialize(repeating: 0, count: 2 * count)
      for index in 0..<count { parameters[index] = workload.parameters[index] }
    }
    reset()
    func run() -> Double {
      var update = descent_update(
        gradient_scale: 0x1p-20, decay: 1e-4, learning_rate: 0x1p-7, momentum: 0.875, kind: kind)
      return descent_apply(kernel, &update, sum, nil, parameters, parameters + count, nil)
    }
    return Case(
      name: "update, \(name)", rateUnit: "GB/s", amount: parameterBytes * streams, floatingPointOperations: 0,
      verify: {
        reset()
        _ = run()
        let boost = kind == DESCENT_MOMENTUM_NESTEROV ? 1.875 : 1
        let error =
          (0..<count).map { index in
            let before = Double(workload.parameters[index])
            let decay = index < Int(DESCENT_WEIGHTS) ? 1e-4 * before : 0
            return abs(Double(parameters[index]) - before + (Double(sum[index]) * 0x1p-20 + decay) * 0x1p-7 * boost)
          }.max() ?? .nan
        return error < 1e-8 ? nil : "parameters differ from double precision by \(error)"
      }, run: { _ = run() })
  }
}
