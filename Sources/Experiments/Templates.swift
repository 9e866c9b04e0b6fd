import Checkpoints
import Datasets
import Diagnostics
import Optimization
import Pictures
import Reporting

/// What the first layer of a model compares its input with: the rows of W, as images (CS231n, "Linear classification",
/// "Interpretation of linear classifiers as template matching"). A linear model has one for each class, a network one for
/// each unit of its first hidden layer.
public struct Templates: Sendable {
  /// A row w of W, and the bias b that goes with it.
  public struct Template: Sendable {
    /// The class, or "unit 17".
    public var name: String
    public var bias: Double
    /// ‖w‖₂.
    public var norm: Double
    /// The smallest and the largest weight, for inputs (pixel − mean) / 127.5.
    public var least: Double
    public var greatest: Double
    /// w with grey for 0, and black and white for ∓ the largest |w|; see `image(of:as:)`.
    public var image: RGBImage

    /// The contrast of the image: the weight that is white.
    public var largestWeight: Double { max(abs(least), abs(greatest)) }
  }

  /// "linear", "hidden 256,128".
  public var model: String
  public var isLinear: Bool
  /// Rows that there are; `templates` may be fewer.
  public var count: Int
  /// Of classes in label order, of units from the largest norm to the smallest.
  public var templates: [Template]

  /// - Parameters:
  ///   - model: one whose `pixelScale` is 127.5.
  ///   - limit: the most templates, those with the largest norms first; nil for all classes in label order, or the units
  ///     with the 64 largest norms.
  public init(of model: TrainedModel, limit: Int? = nil) {
    let (layer, values) = (model.shape.layers[0], model.parameters.values)
    let hidden = model.shape.hidden.map(String.init).joined(separator: ",")
    self.model = model.shape.isLinear ? "linear" : "hidden \(hidden)"
    isLinear = model.shape.isLinear
    count = layer.outputs
    var rows = (0..<layer.outputs).map { unit in
      let start = layer.weight.lowerBound + unit * layer.inputs
      let weights = values[start..<start + layer.inputs]
      let norm = weights.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
      return (unit: unit, weights: weights, norm: norm)
    }
    if limit != nil || !isLinear { rows.sort { ($1.norm, $0.unit) < ($0.norm, $1.unit) } }
    templates = rows.prefix(limit ?? (isLinear ? .max : 64)).map { unit, weights, norm in
      Template(
        name: model.shape.isLinear ? model.classNames[unit] : "unit \(unit)",
        bias: Double(values[layer.bias.lowerBound + unit]), norm: norm, least: Double(weights.min() ?? 0),
        greatest: Double(weights.max() ?? 0), image: Self.image(of: Array(weights), as: model.inputShape))
    }
  }

  /// Weights as an image: each is mapped linearly so that −m is 0, 0 is the middle of 0 ... 255, and m is 255, with m the
  /// largest |w| of all channels.
  ///
  /// - Parameters:
  ///   - weights: [D], plane after plane.
  ///   - shape: Of inputs with one or three channels the image has the same size; otherwise the planes are grey and stand
  ///     beside each other.
  public static func image(of weights: [Float], as shape: InputShape) -> RGBImage {
    RGBImage(weights: weights[...], as: shape)
  }
}

// MARK: - Showing

extension Templates {
  private var noun: String { isLinear ? "class" : "unit" }

  package var json: JSONValue {
    let rows = templates.map { template -> JSONValue in
      [
        noun: .string(template.name), "bias": .measurement(template.bias),
        "norm": .measurement(template.norm), "min": .measurement(template.least),
        "max": .measurement(template.greatest),
      ]
    }
    return ["model": .string(model), "rows": .number(count), "templates": .array(rows)]
  }

  /// A line for each template.
  public var text: String {
    let heads = [noun, "bias", "norm", "min", "max"]
    let rows = templates.map { template in
      [printable(template.name)]
        + [template.bias, template.norm, template.least, template.greatest].map { Display.decimal($0, places: 4) }
    }
    let rest = templates.count < count ? "\(templates.count) of \(count), those with the largest norms\n" : ""
    return table([heads] + rows) + rest
  }

  public var figure: Figure {
    let tiles = templates.map { template in
      let numbers =
        isLinear
        ? "bias \(Self.signed(template.bias, places: 2))\nwhite +\(Display.decimal(template.largestWeight, places: 3))"
        : "norm \(Display.decimal(template.norm, places: 2))"
      return Tiles.Tile(template.image, caption: "\(template.name)\n\(numbers)")
    }
    let shown = templates.count < count ? "The \(templates.count) with the largest norms of \(count). " : ""
    return Figure(
      isLinear ? "Templates of the classes" : "Weights of the first layer (\(model))",
      caption: shown
        + "Each tile: grey is 0, white and black are plus and minus its own largest absolute weight; the channels "
        + "of the weights are those of the colours. A score is the inner product of such a template and the input, plus the "
        + "bias\(isLinear ? "" : ", and the activation of it is the unit's output").",
      panels: [.tiles(Tiles(columns: isLinear ? min(5, max(count, 1)) : 8, tiles: tiles))])
  }

  static func signed(_ number: Double, places: Int) -> String {
    Display.decimal(number, places: places).replacing("-", with: "−")
  }
}
