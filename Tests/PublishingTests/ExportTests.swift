import Checkpoints
import Datasets
import Diagnostics
import Optimization
import Publishing
import Testing

@Suite struct ModelExportTests {
  /// Of 2 classes and 3 inputs.
  private func model(hidden: Int? = nil) throws -> TrainedModel {
    func tensor(_ name: String, _ shape: [Int]) -> SafetensorsFile.Tensor {
      (name, shape, (0..<shape.reduce(1, *)).map { Float($0) - 2.5 })
    }
    let layers =
      hidden.map { [("0.", $0, 3), ("2.", 2, $0)] } ?? [("", 2, 3)]
    let tensors = layers.flatMap { [tensor("\($0.0)weight", [$0.1, $0.2]), tensor("\($0.0)bias", [$0.1])] }
    let names = JSONValue.strings(["cat", "\"dog\" é😀"]).compactText
    let file = SafetensorsFile(
      metadata: [.init("class_names", names), .init("activation", "relu")],
      tensors: tensors + [tensor("mean_image", [3])])
    return try TrainedModel(decoding: file, path: "model")
  }

  /// Names, offsets and bytes of the entries of an archive of stored ones, from its directory.
  private func entries(_ archive: [UInt8]) -> [(name: String, offset: Int, bytes: [UInt8])] {
    func number(_ size: Int, _ offset: Int) -> Int {
      (0..<size).reversed().reduce(0) { $0 << 8 | Int(archive[offset + $1]) }
    }
    let end = archive.count - 22 - ZIPWriter.comment.utf8.count
    var position = number(4, end + 16)
    return (0..<number(2, end + 10)).map { _ in
      let (size, nameSize, local) = (number(4, position + 24), number(2, position + 28), number(4, position + 42))
      let name = String(decoding: archive[position + 46..<position + 46 + nameSize], as: UTF8.self)
      let start = local + 30 + number(2, local + 26) + number(2, local + 28)
      position += 46 + nameSize
      return (name, start, Array(archive[start..<start + size]))
    }
  }

  @Test func `entries stand in order, their data at multiples of 64, and no byte depends on time`() throws {
    let archive = try ModelExport(of: model()).npz
    #expect(try archive == ModelExport(of: model()).npz)
    let found = entries(archive)
    #expect(
      found.map(\.name) == [
        "bias.npy", "class_names.npy", "loss.npy", "mean_image.npy", "pixel_scale.npy", "weight.npy",
      ])
    #expect(found.allSatisfy { $0.offset % 64 == 0 })
    // 1 January 1980, 00:00.
    #expect(Array(archive[10..<14]) == [0, 0, 0x21, 0])
  }

  @Test func `an array has the header of NumPy and its values, row by row`() {
    let weight = NPYFile.floats([1, 2, 3, 4, 5, 6], shape: [2, 3])
    #expect(weight.count == 128 + 24)
    #expect(Array(weight[..<10]) == [0x93] + Array("NUMPY".utf8) + [1, 0, 118, 0])
    let header = String(decoding: weight[10..<128], as: UTF8.self)
    #expect(header.hasPrefix("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), } ") && header.hasSuffix(" \n"))
    #expect(Array(weight[128..<136]) == [0, 0, 0x80, 0x3f, 0, 0, 0, 0x40])
    func shape(_ bytes: [UInt8]) -> Bool { String(decoding: bytes[..<128], as: UTF8.self).contains("'shape': (2,), }") }
    #expect(shape(NPYFile.texts(["a", "😀b"], shape: [2])))
    let texts = NPYFile.texts(["a", "😀b"], shape: [2]).suffix(16)
    #expect(Array(texts) == [0x61, 0, 0, 0, 0, 0, 0, 0, 0, 0xf6, 1, 0, 0x62, 0, 0, 0])
    #expect(String(decoding: NPYFile.floats([1], shape: []), as: UTF8.self).contains("'shape': (), }"))
  }

  @Test func `a state for PyTorch has a pickle of allowed names only, and one storage for each tensor`() throws {
    let found = try entries(ModelExport(of: model(hidden: 4)).torchState)
    #expect(
      found.map(\.name) == ["model/data.pkl", "model/byteorder"] + (0..<5).map { "model/data/\($0)" } + [
        "model/version"
      ])
    let pickle = String(decoding: found[0].bytes, as: UTF8.self)
    #expect(found[0].bytes.starts(with: [0x80, 2]) && found[0].bytes.last == UInt8(ascii: "."))
    let names = Set(pickle.matches(of: /c([a-z._]+)\n([A-Za-z_0-9]+)\n/).map { "\($0.1).\($0.2)" })
    #expect(names == ["collections.OrderedDict", "torch._utils._rebuild_tensor_v2", "torch.FloatStorage"])
    #expect(found.filter { $0.name.contains("/data/") }.map(\.bytes.count) == [48, 16, 32, 8, 12])
    #expect(String(decoding: found[1].bytes, as: UTF8.self) == "little")
  }
}

@Suite struct MetricsTableTests {
  private func table(_ lines: [String]) -> MetricsTable {
    MetricsTable(Array(lines.joined(separator: "\n").utf8), source: "metrics.jsonl")
  }

  @Test func `a field is a column, digits stay, and what was not measured is empty`() {
    let table = table([
      #"{"step":0,"epoch":0,"validation_accuracy":0.1234567890123456789,"train_data_loss":null}"#,
      #"{"step":10,"epoch":1e-3,"validation_accuracy":null,"more":"a,\"b\"\n","train_data_loss":2}"#, "",
    ])
    #expect(
      table.csv == """
        step,epoch,validation_accuracy,train_data_loss,more
        0,0,0.1234567890123456789,,
        10,1e-3,,2,"a,""b""
        "

        """)
  }

  @Test func `a torn or foreign line is passed over, and one of a step before takes the place of later ones`() {
    let table = table([
      #"{"step":5,"epoch":1}"#, #"{"step":7,"epoch":1}"#, #"{"step":5,"epoch":2}"#, "[]", "{\"step\":", #"{"step":-1}"#,
      #"{"epoch":7}"#,
      #"{"step":9,"train_loss":1.5}"#, #"{"step":10,"ep"#,
    ])
    #expect(table.rows.count == 2)
    #expect(table.csv == "step,epoch,train_data_loss\n5,2,\n9,,1.5\n")
    #expect(MetricsTable(readingFrom: "/nonexistent").isEmpty)
  }
}
