import Foundation
import TestSupport
import Testing

/// `python3` with `torch` and `safetensors`, or nil. DESCENT_PYTHON names another interpreter.
private let python: String? = {
  let name = ProcessInfo.processInfo.environment["DESCENT_PYTHON"] ?? "python3"
  return (try? run(name, ["-c", "import torch, safetensors.torch"])) == nil ? nil : name
}()

/// The output of a script; an error for any other status than 0.
private func run(_ python: String, _ arguments: [String]) throws -> String {
  let process = Process()
  let output = Pipe()
  process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
  process.arguments = [python] + arguments
  (process.standardOutput, process.standardError) = (output, FileHandle.nullDevice)
  try process.run()
  let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
  process.waitUntilExit()
  guard process.terminationStatus == 0 else { throw CocoaError(.executableLoad) }
  return text
}

/// Networks of PyTorch and of Descent are each other's.
@Suite("PyTorch", .enabled(if: python != nil, "no python3 with torch and safetensors"))
struct PyTorchTests {
  private static let root = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

  private func accuracy(of model: String, _ data: String) throws -> Double {
    let script = Self.root.appendingPathComponent("Scripts/pytorch/evaluate.py").path
    let text = try run(#require(python), [script, model, data])
    return try #require(Double(text.trimmingCharacters(in: .whitespacesAndNewlines)))
  }

  @Test(arguments: [["hidden": "20"], ["hidden": "12,8", "activation": "leaky-relu", "leaky-slope": "0.1"]])
  func `PyTorch gets the accuracy of a network that descent has trained`(network: [String: String]) throws {
    try TemporaryDirectory.with { directory in
      let run = directory.appendingPathComponent("run")
      let result = try Training(workers: 1, network).result(in: run)
      let model = try #require(result.checkpoint) + "/model.safetensors"
      // Scores in another order of summation: an example may tip over where two classes tie.
      #expect(abs(try accuracy(of: model, SharedData.directory.get()) - result.testAccuracy) <= 1.0 / 500 + 1e-12)
    }
  }

  @Test func `descent gets the accuracy of a network that PyTorch has saved`() throws {
    try TemporaryDirectory.with { directory in
      let data = try SharedData.directory.get()
      let (named, bare) = (directory.path + "/named.safetensors", directory.path + "/bare.safetensors")
      let script = """
        import torch; from torch import nn; from safetensors.torch import save_file
        model = nn.Sequential(nn.Linear(3072, 30), nn.Tanh(), nn.Dropout(), nn.Linear(30, 10))
        network = nn.Sequential(*(layer for layer in model if not isinstance(layer, nn.Dropout)))
        tensors = {**network.state_dict(), "mean_image": torch.full((3072,), 120.5)}
        save_file(tensors, "\(named)", {"activation": "tanh", "loss": "softmax"})
        save_file({**model.state_dict(), "mean_image": tensors["mean_image"]}, "\(bare)")
        """
      _ = try run(#require(python), ["-c", script])
      let expected = try accuracy(of: named, data)
      for arguments in [[named], [bare, "--activation", "tanh"]] {
        let output = try Program.run(
          "descent", ["evaluate", "--json", "--data", data, "--checkpoint"] + arguments)
        let found = try #require(try output.object()["accuracy"] as? Double)
        #expect(abs(found - expected) <= 1.0 / 500 + 1e-12)
      }
    }
  }
}
