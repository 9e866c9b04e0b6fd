/// A picture in memory: 8 bits for each of red, green and blue, row by row, the three of a pixel together.
public struct RGBImage: Sendable, Equatable {
  /// In pixels, at least 1.
  public let width: Int
  public let height: Int
  /// [height × width × 3] bytes.
  public let pixels: [UInt8]

  /// - Precondition: positive sizes, and `pixels.count == width * height * 3`.
  public init(width: Int, height: Int, pixels: [UInt8]) {
    precondition(width > 0 && height > 0 && pixels.count == width * height * 3)
    self.width = width
    self.height = height
    self.pixels = pixels
  }

  /// The picture squeezed or stretched to a new size, each axis on its own and without regard to the aspect.
  ///
  /// An axis that shrinks takes the average over the area that a new pixel covers; an axis that grows is
  /// interpolated linearly between pixel centres. At its own size the picture stays as it is, byte for byte.
  public func resized(width newWidth: Int, height newHeight: Int) -> RGBImage {
    precondition(newWidth > 0 && newHeight > 0)
    let columns = (0..<newWidth).map { AxisWeights(output: $0, of: newWidth, from: width) }
    // Rows first narrowed one by one, then added up: needs memory for one row, however large the picture is.
    var narrowRow = [Float](repeating: 0, count: newWidth * 3)
    var result = [Float](repeating: 0, count: newWidth * newHeight * 3)
    for newRow in 0..<newHeight {
      let rows = AxisWeights(output: newRow, of: newHeight, from: height)
      for (row, weight) in zip(rows.start..., rows.weights) {
        narrow(row, by: columns, into: &narrowRow)
        for value in 0..<newWidth * 3 {
          result[newRow * newWidth * 3 + value] += weight * narrowRow[value]
        }
      }
    }
    return RGBImage(width: newWidth, height: newHeight, pixels: result.map { UInt8($0.rounded()) })
  }

  /// The pixel bytes of the picture as an example of this shape, which must be one of pictures: plane after plane, of red,
  /// green and blue, or of grey.
  ///
  /// Of a picture with other proportions the middle is cut out, as torchvision's `CenterCrop` does; then it is scaled. Grey
  /// is the luma of ITU-R BT.601, 0.299 red + 0.587 green + 0.114 blue, with the integers and the rounding of Pillow's
  /// `convert("L")`: a grey picture keeps its values.
  public func pixels(as shape: InputShape) -> [UInt8] {
    precondition(shape.isPicture)
    let image = middle(width: shape.width, height: shape.height).resized(width: shape.width, height: shape.height)
    var planes: [UInt8] = []
    planes.reserveCapacity(shape.pixels)
    if shape.channels == 1 {
      for pixel in stride(from: 0, to: image.pixels.count, by: 3) {
        let (red, green) = (UInt32(image.pixels[pixel]), UInt32(image.pixels[pixel + 1]))
        let blue = UInt32(image.pixels[pixel + 2])
        let luma: UInt32 = red * 19_595 + green * 38_470 + blue * 7_471
        planes.append(UInt8((luma + 0x8000) >> 16))
      }
    } else {
      for plane in 0..<3 {
        for pixel in stride(from: plane, to: image.pixels.count, by: 3) { planes.append(image.pixels[pixel]) }
      }
    }
    return planes
  }

  private func narrow(_ row: Int, by columns: [AxisWeights], into narrowRow: inout [Float]) {
    pixels.withUnsafeBufferPointer { pixels in
      for (newColumn, column) in columns.enumerated() {
        var (red, green, blue): (Float, Float, Float) = (0, 0, 0)
        var pixel = (row * width + column.start) * 3
        for weight in column.weights {
          red += weight * Float(pixels[pixel])
          green += weight * Float(pixels[pixel + 1])
          blue += weight * Float(pixels[pixel + 2])
          pixel += 3
        }
        (narrowRow[newColumn * 3], narrowRow[newColumn * 3 + 1], narrowRow[newColumn * 3 + 2]) = (red, green, blue)
      }
    }
  }
}

/// The input pixels, along one axis, that make one output pixel, and their shares, which add up to 1.
private struct AxisWeights {
  let start: Int
  let weights: [Float]

  init(output: Int, of outputCount: Int, from inputCount: Int) {
    if inputCount >= outputCount {
      // Output pixel i covers the inputs from i·n/m to (i+1)·n/m. Counted in units of 1/m of an input pixel,
      // so that the overlaps are exact integers.
      let (lower, upper) = (output * inputCount, (output + 1) * inputCount)
      let first = lower / outputCount
      let last = (upper - 1) / outputCount
      start = first
      weights = (first...last).map { input in
        let overlap = min(upper, (input + 1) * outputCount) - max(lower, input * outputCount)
        return Float(overlap) / Float(inputCount)
      }
    } else {
      // The centre of output pixel i lies at (i + ½)·n/m − ½ among the input centres.
      let position = (Double(output) + 0.5) * Double(inputCount) / Double(outputCount) - 0.5
      let clamped = min(max(position, 0), Double(inputCount - 1))
      let first = min(Int(clamped), max(inputCount - 2, 0))
      let share = Float(clamped - Double(first))
      start = first
      weights = inputCount == 1 ? [1] : [1 - share, share]
    }
  }
}
