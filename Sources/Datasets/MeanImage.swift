import Optimization

extension Dataset {
  /// What is subtracted from every input: D values from 0 to 255 in the order of a record.
  ///
  /// The sums are exact integers, so the result depends neither on the order of `indices` nor on the machine.
  ///
  /// - Parameter indices: example numbers, at least one; an example named twice counts twice.
  public func mean(_ preprocessing: Preprocessing, over indices: [UInt32]) -> [Float] {
    precondition(!indices.isEmpty, "the mean of no examples is not defined")
    let (pixels, area) = (description.pixels, description.shape.width * description.shape.height)
    switch preprocessing {
    case .meanImage:
      return pixelSums(over: indices).map { Float(Double($0) / Double(indices.count)) }
    case .channelMean:
      let sums = pixelSums(over: indices)
      return stride(from: 0, to: pixels, by: area).flatMap { plane in
        let total = sums[plane..<plane + area].reduce(0, +)
        return repeatElement(Float(Double(total) / (Double(indices.count) * Double(area))), count: area)
      }
    case .none:
      return [Float](repeating: 0, count: pixels)
    }
  }

  private func pixelSums(over indices: [UInt32]) -> [UInt64] {
    var sums = PixelSums(pixels: description.pixels)
    var rest = indices[...]
    while !rest.isEmpty {
      let block = rest.prefix(PixelSums.blockCapacity)
      rest = rest.dropFirst(block.count)
      sums.add(block.map { examples.record(at: Int($0)) + 1 })
    }
    return sums.totals
  }
}

/// Sums of pixel bytes, exact for up to 2⁵⁶ images.
///
/// The inner sums have 16 bits, so that the compiler adds many pixels in one instruction and the running sums
/// (6 kB for CIFAR-10) stay in the first-level cache. 16 bits hold 257 times 255.
private struct PixelSums {
  static let blockCapacity = 256

  private(set) var totals: [UInt64]
  private var block: [UInt16]

  init(pixels: Int) {
    totals = [UInt64](repeating: 0, count: pixels)
    block = [UInt16](repeating: 0, count: pixels)
  }

  /// Adds at most `blockCapacity` images, each given by the address of its pixel bytes.
  mutating func add(_ images: [UnsafePointer<UInt8>]) {
    let pixels = totals.count
    block.withUnsafeMutableBufferPointer { block in
      block.update(repeating: 0)
      var next = 0
      while next + 4 <= images.count {
        // Four images at once: the running sums are loaded and stored once instead of four times.
        let (a, b, c, d) = (images[next], images[next + 1], images[next + 2], images[next + 3])
        for pixel in 0..<pixels {
          block[pixel] &+= (UInt16(a[pixel]) &+ UInt16(b[pixel])) &+ (UInt16(c[pixel]) &+ UInt16(d[pixel]))
        }
        next += 4
      }
      for image in images[next...] {
        for pixel in 0..<pixels {
          block[pixel] &+= UInt16(image[pixel])
        }
      }
    }
    for pixel in 0..<pixels {
      totals[pixel] += UInt64(block[pixel])
    }
  }
}
