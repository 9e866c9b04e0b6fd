import CKernels
import Optimization
import Testing

@Suite struct SumKernelTests {
  @Test
  func `CRC-32C gives the published values, whole and in pieces`() {
    #expect(descent_crc32c(0, "123456789", 9) == 0xE306_9283)
    #expect(descent_crc32c(0, [UInt8](repeating: 0, count: 32), 32) == 0x8A91_36AA)  // RFC 3720, B.4
    #expect(descent_crc32c(0, [UInt8](repeating: 0xFF, count: 32), 32) == 0x62A8_AB43)
    #expect(descent_crc32c(0, nil, 0) == 0)

    /// One bit at a time.
    func slow(_ bytes: ArraySlice<UInt8>) -> UInt32 {
      var crc = UInt32.max
      for byte in bytes {
        crc ^= UInt32(byte)
        for _ in 0..<8 { crc = (crc >> 1) ^ (crc & 1 == 1 ? 0x82F6_3B78 : 0) }
      }
      return ~crc
    }
    var random = RandomSequence(Philox4x64(seed: 2, stream: .gradientCheck))
    let bytes = (0..<9_000).map { _ in UInt8(random.next(below: 256)) }
    for count in [1, 7, 8, 63, 64, 255, 256, 257, 511, 512, 1_023, 3_071, 3_072, 3_073, 6_200, 8_990] {
      let slice = bytes[5..<(5 + count)]
      let cut = count / 3
      slice.withUnsafeBytes { slice in
        let whole = descent_crc32c(0, slice.baseAddress, count)
        let first = descent_crc32c(0, slice.baseAddress, cut)
        #expect(whole == slow(bytes[5..<(5 + count)]))
        #expect(descent_crc32c(first, slice.baseAddress! + cut, count - cut) == whole)
      }
    }
  }

  @Test(arguments: KernelVariant.supported)
  func `sums wrap and may read from any address`(variant: KernelVariant) {
    let addends: [Int32] = [1, -1, .max, .min, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17]
    for shift in 0..<4 {
      let bytes = [UInt8](repeating: 0, count: shift) + addends.withUnsafeBytes { Array($0) }
      var sum = [Int32](repeating: 1, count: addends.count)
      bytes.withUnsafeBytes { bytes in
        sum.withUnsafeMutableBufferPointer {
          variant.add(UnsafeRawPointer($0.baseAddress!), bytes.baseAddress! + shift, into: $0)
        }
      }
      #expect(sum == addends.map { $0 &+ 1 })
    }
  }
}
