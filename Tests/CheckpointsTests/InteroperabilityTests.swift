import Checkpoints
import Diagnostics
import Glibc
import Optimization
import TestSupport
import Testing

/// `python3` with `safetensors` and `numpy`, or nil. DESCENT_PYTHON names another interpreter.
private let python: String? = {
  let name = getenv("DESCENT_PYTHON").map { String(cString: $0) } ?? "python3"
  return shell("'\(name)' -c 'import safetensors.numpy' 2>/dev/null").status == 0 ? name : nil
}()

private func shell(_ command: String) -> (status: Int32, output: String) {
  guard let pipe = popen(command, "r") else { return (-1, "") }
  var output: [UInt8] = []
  while case let byte = getc(pipe), byte != EOF { output.append(UInt8(truncatingIfNeeded: byte)) }
  return (pclose(pipe), String(decoding: output, as: UTF8.self))
}

@Suite("Files and Python's safetensors", .enabled(if: python != nil, "python3 has no safetensors or numpy"))
struct InteroperabilityTests {
  private func run(_ arguments: String) throws -> String {
    let script = #filePath.replacing("InteroperabilityTests.swift", with: "Interoperability.py")
    let result = shell("'\(python ?? "")' '\(script)' \(arguments)")
    #expect(result.status == 0)
    return result.output
  }

  private func member(_ value: JSONValue?, _ name: String) -> JSONValue? {
    guard case .object(let members) = value else { return nil }
    return members.first { $0.name == name }?.value
  }

  @Test
  func `Python reads every tensor of a checkpoint, bit by bit, and its metadata`() throws {
    let directory = TemporaryDirectory()
    let checkpoint = smallCheckpoint(step: 12)
    let path = try makeStore(directory).save(checkpoint)
    let model = try JSONReader.parse(Array(run("read '\(path)/model.safetensors'").utf8)[...], source: "python")
    let bits = member(model, "bits")
    #expect(member(bits, "weight") == .numbers(checkpoint.model.parameters.values[..<6].map(\.bitPattern)))
    #expect(member(bits, "bias") == .numbers(checkpoint.model.parameters.values[6...].map(\.bitPattern)))
    #expect(member(bits, "mean_image") == .numbers(checkpoint.origin.meanImage.map(\.bitPattern)))
    #expect(member(member(model, "shapes"), "weight") == .numbers([2, 3]))
    let metadata = member(model, "metadata")
    #expect(member(metadata, "setting.learning-rate") == .string("0.01"))
    #expect(member(metadata, "pixel_scale") == .string("127.5"))
    #expect(member(metadata, "step") == .string("12"))
    let optimizer = try JSONReader.parse(Array(run("read '\(path)/optimizer.safetensors'").utf8)[...], source: "python")
    #expect(member(member(optimizer, "shapes"), "velocity.bias") == .numbers([2]))
  }

  @Test
  func `Python reads the optimizer's file of a run without momentum: no tensors`() throws {
    let directory = TemporaryDirectory()
    let path = try makeStore(directory).save(smallCheckpoint(step: 1, slotNames: []))
    #expect(try run("read '\(path)/optimizer.safetensors'").contains("\"shapes\": {}"))
  }

  @Test
  func `a model that Python wrote loads, and the bytes are those we would write`() throws {
    let directory = TemporaryDirectory()
    let path = "\(directory.path)/model.safetensors"
    _ = try run("write '\(path)'")
    let model = try TrainedModel.load(path)
    #expect(model.parameters.values == [1, -2, 3, 0.5, 0.25, -0.125, 0.1, -0.2])
    #expect(model.meanImage == [10, 20.5, 255])
    #expect(model.loss == .hinge)
    #expect(model.pixelScale == 127.5)
    let ours = SafetensorsFile(
      metadata: [.init("loss", "svm")],
      tensors: [
        (name: "weight", shape: [2, 3], values: Array(model.parameters.values[..<6])),
        (name: "bias", shape: [2], values: Array(model.parameters.values[6...])),
        (name: "mean_image", shape: [3], values: model.meanImage),
      ])
    #expect(try bytes(of: path) == ours.encoded)
  }
}
