import Checkpoints
import Diagnostics
import Optimization

/// A model as a file for NumPy or for PyTorch. The same model gives the same bytes.
public struct ModelExport: Sendable {
  typealias Tensor = (name: String, shape: [Int], values: [Float])

  private let model: TrainedModel
  private let tensors: [Tensor]

  public init(of model: TrainedModel) {
    self.model = model
    tensors =
      model.shape.blocks.map { ($0.name, $0.shape, Array(model.parameters.values[$0.range])) }
      + [("mean_image", [model.shape.pixels], model.meanImage)]
  }

  // MARK: NumPy

  /// An archive for `numpy.load(path, allow_pickle=False)`: the tensors of `model.safetensors` under their names, and with
  /// them `pixel_scale`, `class_names`, `loss` and, of a network, `activation` with its `activation_parameter`.
  public var npz: [UInt8] {
    var arrays = tensors.map { ($0.name, NPYFile.floats($0.values, shape: $0.shape)) }
    arrays.append(("pixel_scale", NPYFile.floats([model.pixelScale], shape: [])))
    arrays.append(("class_names", NPYFile.texts(model.classNames, shape: [model.classNames.count])))
    arrays.append(("loss", NPYFile.texts([model.loss.settingName], shape: [])))
    if !model.shape.isLinear {
      arrays.append(("activation", NPYFile.texts([model.shape.activation.settingName], shape: [])))
      if let parameter = model.shape.activation.parameter {
        arrays.append(("activation_parameter", NPYFile.floats([parameter], shape: [])))
      }
    }
    var archive = ZIPWriter()
    for (name, bytes) in arrays.sorted(by: { $0.0.utf8.lexicographicallyPrecedes($1.0.utf8) }) {
      archive.add("\(name).npy", bytes)
    }
    return archive.archive
  }

  // MARK: PyTorch

  /// A file for `torch.load(path, weights_only=True)`: an `OrderedDict` of the tensors of `model.safetensors`, those of the
  /// module first and `mean_image` last. Float32 on the processor, each with a storage of its own.
  public var torchState: [UInt8] {
    var archive = ZIPWriter()
    archive.add("\(Self.root)/data.pkl", pickle)
    archive.add("\(Self.root)/byteorder", Array("little".utf8))
    for (index, tensor) in tensors.enumerated() {
      archive.add("\(Self.root)/data/\(index)", NPYFile.bytes(tensor.values))
    }
    archive.add("\(Self.root)/version", Array("3\n".utf8))
    return archive.archive
  }

  /// PyTorch takes the directory of the first entry for that of all others.
  private static let root = "model"

  /// Protocol 2 of Python's pickle, with the opcodes and the names that loading of weights allows.
  private var pickle: [UInt8] {
    var pickle = PickleWriter()
    pickle.emptyOrderedDictionary()
    pickle.mark()
    for (index, tensor) in tensors.enumerated() {
      pickle.text(tensor.name)
      pickle.global("torch._utils", "_rebuild_tensor_v2")
      pickle.mark()
      // The storage: its kind, the name of its entry, its place, and its number of elements.
      pickle.mark()
      pickle.text("storage")
      pickle.global("torch", "FloatStorage")
      pickle.text("\(index)")
      pickle.text("cpu")
      pickle.number(tensor.values.count)
      pickle.tupleFromMark()
      pickle.persistentIdentifier()
      // The offset in it, the shape and the strides in elements, and whether it needs a gradient.
      pickle.number(0)
      pickle.numbers(tensor.shape)
      pickle.numbers(tensor.shape.indices.map { tensor.shape[($0 + 1)...].reduce(1, *) })
      pickle.falseValue()
      pickle.emptyOrderedDictionary()
      pickle.tupleFromMark()
      pickle.reduce()
    }
    pickle.setItemsFromMark()
    return pickle.stopped
  }
}

/// The few opcodes of Python's pickle that a dictionary of tensors needs (pickletools, protocol 2).
private struct PickleWriter {
  private var bytes: [UInt8] = [0x80, 2]

  mutating func mark() { bytes.append(UInt8(ascii: "(")) }
  mutating func reduce() { bytes.append(UInt8(ascii: "R")) }
  mutating func tupleFromMark() { bytes.append(UInt8(ascii: "t")) }
  mutating func setItemsFromMark() { bytes.append(UInt8(ascii: "u")) }
  mutating func persistentIdentifier() { bytes.append(UInt8(ascii: "Q")) }
  mutating func falseValue() { bytes.append(0x89) }

  mutating func global(_ module: String, _ name: String) { bytes += Array("c\(module)\n\(name)\n".utf8) }

  mutating func emptyOrderedDictionary() {
    global("collections", "OrderedDict")
    bytes.append(UInt8(ascii: ")"))
    reduce()
  }

  mutating func text(_ text: String) {
    bytes.append(UInt8(ascii: "X"))
    append(text.utf8.count)
    bytes += Array(text.utf8)
  }

  /// - Precondition: below 2³¹.
  mutating func number(_ value: Int) {
    bytes.append(UInt8(ascii: "J"))
    append(value)
  }

  mutating func numbers(_ values: [Int]) {
    mark()
    for value in values { number(value) }
    tupleFromMark()
  }

  var stopped: [UInt8] { bytes + [UInt8(ascii: ".")] }

  private mutating func append(_ value: Int) {
    precondition(value >= 0 && value < 1 << 31)
    bytes += (0..<4).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
  }
}

/// An array in NumPy's format (numpy.lib.format, version 1.0): the magic bytes, a Python dictionary as text, padded so that
/// the elements begin at a multiple of 64 bytes, and the elements, row-major and little-endian.
package enum NPYFile {
  /// - Precondition: as many values as the shape has places; an empty shape is a scalar.
  package static func floats(_ values: [Float], shape: [Int]) -> [UInt8] { header("<f4", shape) + bytes(values) }

  /// Of fixed length, as NumPy's `<U` holds them: UTF-32, filled up with zeros.
  package static func texts(_ values: [String], shape: [Int]) -> [UInt8] {
    let length = max(1, values.map(\.unicodeScalars.count).max() ?? 1)
    let scalars = values.flatMap { value in
      let scalars = value.unicodeScalars.map(\.value)
      return scalars + [UInt32](repeating: 0, count: length - scalars.count)
    }
    return header("<U\(length)", shape) + scalars.map(\.littleEndian).withUnsafeBytes { Array($0) }
  }

  package static func bytes(_ values: [Float]) -> [UInt8] {
    values.map(\.bitPattern.littleEndian).withUnsafeBytes { Array($0) }
  }

  private static func header(_ type: String, _ shape: [Int]) -> [UInt8] {
    let sizes = shape.map(String.init).joined(separator: ", ") + (shape.count == 1 ? "," : "")
    var text = "{'descr': '\(type)', 'fortran_order': False, 'shape': (\(sizes)), }"
    let rest = (10 + text.utf8.count + 1) % 64
    text += String(repeating: " ", count: (64 - rest) % 64) + "\n"
    let count = text.utf8.count
    return [0x93] + Array("NUMPY".utf8) + [1, 0, UInt8(count & 0xff), UInt8(count >> 8)] + Array(text.utf8)
  }
}
