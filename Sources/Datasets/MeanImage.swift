extension CIFAR10Dataset {
  /// The mean of the pixels of the given examples: 3,072 values from 0 to 255 in the order of a record.
  ///
  /// The sums are exact integers, so the result depends neither on the order of `indices` nor on the machine.
  ///
  /// - Parameter indices: example numbers, at least one; an example named twice counts twice.
  public func meanImage(over indices: [UInt32]) -> [Float] {
    precondition(!indices.isEmpty, "the mean image of no images is not defined")
    var sums = PixelSums()
    var rest = indices[...]
    while !rest.isEmpty {
      let block = rest.prefix(PixelSums.blockCapacity)
      rest = rest.dropFirst(block.count)
      sums.add(block.map { examples.record(at: Int($0)) + 1 })
    }
    return sums.totals.map { Float(Double($0) / Double(indices.count)) }
  }
}

/// Sums of pixel bytes, exact for up to 2⁵⁶ images.
///
/// The inner sums have 16 bits, so that the compiler adds many pixels in one instruction and the running sums
/// (6 kB) stay in the first-level cache. 16 bits hold 257 times 255.
private struct PixelSums {
  static let blockCapacity = 256

  private(set) var totals = [UInt64](repeating: 0, count: CIFAR10Format.pixelCount)
  private var block = [UInt16](repeating: 0, count: CIFAR10Format.pixelCount)

  /// Adds at most `blockCapacity` images, each given by the address of its 3,072 pixel bytes.
  mutating func add(_ images: [UnsafePointer<UInt8>]) {
    block.withUnsafeMutableBufferPointer { block in
      block.update(repeating: 0)
      var next = 0
      while next + 4 <= images.count {
        // Four images at once: the running sums are loaded and stored once instead of four times.
        let (a, b, c, d) = (images[next], images[next + 1], images[next + 2], images[next + 3])
        for pixel in 0..<CIFAR10Format.pixelCount {
          block[pixel] &+= (UInt16(a[pixel]) &+ UInt16(b[pixel])) &+ (UInt16(c[pixel]) &+ UInt16(d[pixel]))
        }
        next += 4
      }
      for image in images[next...] {
        for pixel in 0..<CIFAR10Format.pixelCount {
          block[pixel] &+= UInt16(image[pixel])
        }
      }
    }
    for pixel in 0..<CIFAR10Format.pixelCount {
      totals[pixel] += UInt64(block[pixel])
    }
  }
}
