import Datasets
import Files
import Foundation

func contents(of path: String) throws -> [UInt8] {
  [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
}

func sha256(ofFile path: String) throws -> String {
  try contents(of: path).withUnsafeBytes { SHA256.hexDigest(of: $0) }
}

/// Records with the given labels; every pixel of record i is `firstPixel` + i, modulo 256.
func records(labels: [UInt8], firstPixel: UInt8 = 0) -> [UInt8] {
  labels.enumerated().flatMap { index, label in
    [label] + [UInt8](repeating: firstPixel &+ UInt8(truncatingIfNeeded: index), count: InputShape.cifar10.pixels)
  }
}
