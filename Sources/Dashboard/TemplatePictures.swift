import Checkpoints
import Datasets
import Diagnostics
import Experiments
import Pictures

/// The weight templates of checkpoints as pictures, the newest few kept.
final class TemplatePictures {
  struct Picture {
    /// A strip of tiles, side by side, as PNG.
    let png: [UInt8]
    /// What the tiles are.
    let json: JSONValue
  }

  private static let limit = 64
  private var pictures: [(path: String, picture: Picture)] = []

  /// Of the checkpoint that a selector of ours names.
  ///
  /// - Throws: what loading it throws.
  func picture(of run: String, step: UInt64) throws(Failure) -> Picture {
    let path = try CheckpointStore.locate("\(run)@\(step)")
    if let known = pictures.first(where: { $0.path == path }) { return known.picture }
    let model = try TrainedModel.load(path, activation: .identity)
    let templates = Templates(of: model, limit: model.shape.isLinear ? nil : 40)
    let images = templates.templates.map(\.image)
    let (width, height) = (images.first?.width ?? 1, images.first?.height ?? 1)
    var pixels: [UInt8] = []
    for row in 0..<height {
      for image in images { pixels += image.pixels[row * width * 3..<(row + 1) * width * 3] }
    }
    let strip = RGBImage(width: width * images.count, height: height, pixels: pixels)
    let tiles = templates.templates.map { template -> JSONValue in
      [
        "name": .string(template.name), "bias": .measurement(template.bias), "norm": .measurement(template.norm),
        "white": .measurement(template.largestWeight),
      ]
    }
    let picture = Picture(
      png: PNGFile.bytes(of: strip),
      json: [
        "step": .number(step), "model": .string(templates.model), "rows": .number(templates.count),
        "width": .number(width), "height": .number(height), "tiles": .array(tiles),
      ])
    pictures.append((path, picture))
    if pictures.count > Self.limit { pictures.removeFirst() }
    return picture
  }
}
