import Checkpoints
import Diagnostics
import Testing

@Suite("The safetensors codec")
struct SafetensorsFileTests {
  private func file(header: String, buffer: [UInt8] = []) -> [UInt8] {
    let length = UInt64(header.utf8.count)
    return (0..<8).map { UInt8(truncatingIfNeeded: length >> (8 * $0)) } + Array(header.utf8) + buffer
  }

  private func decode(_ bytes: [UInt8]) throws(Failure) -> SafetensorsFile {
    try SafetensorsFile(decoding: bytes, path: "model.safetensors")
  }

  @Test
  func `writes the bytes that the format's own writer writes`() {
    let written = SafetensorsFile(
      metadata: [.init("format", "pt")],
      tensors: [
        (name: "weight", shape: [2, 1], values: [1, -2]), (name: "bias", shape: [1], values: [0.5]),
      ])
    // As safetensors 0.8.0 writes {"weight": [[1], [-2]], "bias": [0.5]} with this metadata.
    let header =
      #"{"__metadata__":{"format":"pt"},"bias":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"#
      + #""weight":{"dtype":"F32","shape":[2,1],"data_offsets":[4,12]}}   "#
    #expect(header.utf8.count % 8 == 0)
    #expect(written.encoded == file(header: header, buffer: [0, 0, 0, 0x3f, 0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0]))
  }

  @Test
  func `reads back what it wrote, scalars and empty arrays too`() throws {
    let written = SafetensorsFile(
      metadata: [.init("key", "quote \" slash \\ line\n tab\t bell\u{7} é 😀")],
      tensors: [
        (name: "scalar", shape: [], values: [-0.0]), (name: "empty", shape: [3, 0], values: []),
        (name: "matrix", shape: [2, 2], values: [.leastNonzeroMagnitude, .greatestFiniteMagnitude, 1, -1]),
      ])
    let read = try decode(written.encoded)
    #expect(read == written)
    #expect(try read.finiteTensor(named: "scalar", path: "").values[0].sign == .minus)
    #expect(try read.finiteTensor(named: "empty", path: "").shape == [3, 0])
  }

  @Test
  func `accepts other element types in the file, and refuses to take them for Float32`() throws {
    let read = try decode(
      file(header: #"{"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}}"#, buffer: .init(repeating: 0, count: 8)))
    let failure = #expect(throws: Failure.self) { try read.finiteTensor(named: "a", path: "f") }
    #expect(failure?.status == .badData)
    #expect(failure?.found == "F64")
  }

  @Test(arguments: [Float.nan, .infinity, -.infinity])
  func `refuses values that are not finite`(value: Float) throws {
    let bytes = SafetensorsFile(metadata: [], tensors: [(name: "a", shape: [2], values: [0, value])]).encoded
    let failure = #expect(throws: Failure.self) { try decode(bytes).finiteTensor(named: "a", path: "f") }
    #expect(failure?.status == .badData)
    #expect(failure?.message.contains("element 1") == true)
  }

  @Test(arguments: [
    // Not JSON, not an object, something behind it.
    "{", "[]", "{}x", #"{"a":1}"#, #"{"a":{}}"#, " {}",
    // Duplicate keys, at both levels.
    #"{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#,
    #"{"a":{"dtype":"F32","dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#,
    #"{"__metadata__":{"a":"1","a":"2"}}"#,
    // Metadata of another type, missing and unknown keys, an unknown element type.
    #"{"__metadata__":{"a":1}}"#, #"{"__metadata__":[]}"#, #"{"a":{"dtype":"F32","shape":[0]}}"#,
    #"{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0],"x":1}}"#,
    #"{"a":{"dtype":"F31","shape":[0],"data_offsets":[0,0]}}"#,
    // Numbers that are not sizes, or whose product overflows.
    #"{"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}}"#,
    #"{"a":{"dtype":"F32","shape":[1e0],"data_offsets":[0,4]}}"#,
    #"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#,
    #"{"a":{"dtype":"F32","shape":[01],"data_offsets":[0,4]}}"#,
    #"{"a":{"dtype":"F32","shape":[18446744073709551616],"data_offsets":[0,4]}}"#,
    #"{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}"#,
    #"{"a":{"dtype":"F32","shape":[9223372036854775807,2],"data_offsets":[0,4]}}"#,
    #"{"a":{"dtype":"F4","shape":[3],"data_offsets":[0,1]}}"#,
    // Offsets that disagree with the shape, run backwards, or are not two.
    #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#,
    #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}"#,
    #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}}"#,
    #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}}"#,
    #"{"a":{"dtype":"F32","shape":[0],"data_offsets":[9223372036854775807,9223372036854775807]}}"#,
    // A key with half a surrogate pair.
    #"{"\ud800":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#,
  ])
  func `refuses a header that is not of the format`(header: String) {
    #expect(status { () throws(Failure) in _ = try decode(file(header: header, buffer: [0, 0, 0, 0])) } == .badData)
  }

  @Test(arguments: [
    ([0, 4], [8, 12], 12, "hole"), ([0, 4], [0, 4], 8, "overlaps"), ([0, 8], [4, 8], 8, "overlaps"),
    ([4, 8], [8, 12], 12, "hole"), ([0, 4], [4, 8], 12, "no tensor"), ([0, 4], [4, 8], 7, "truncated"),
  ])
  func `refuses holes, overlaps, a missing end, and bytes that no tensor covers`(
    first: [Int], second: [Int], size: Int, reason: String
  ) {
    func entry(_ offsets: [Int]) -> String {
      "{\"dtype\":\"F32\",\"shape\":[\((offsets[1] - offsets[0]) / 4)],\"data_offsets\":[\(offsets[0]),\(offsets[1])]}"
    }
    let header = "{\"a\":\(entry(first)),\"b\":\(entry(second))}"
    let failure = #expect(throws: Failure.self) {
      try decode(file(header: header, buffer: .init(repeating: 0, count: size)))
    }
    #expect(failure?.status == .badData)
    #expect(failure?.message.contains(reason) == true)
    #expect(failure?.message.contains("byte ") == true)
  }

  @Test
  func `refuses a header longer than the file or than the format allows`() {
    for length in [1, 100_000_001, UInt64.max] {
      let bytes = (0..<8).map { UInt8(truncatingIfNeeded: length >> (8 * $0)) }
      #expect(status { () throws(Failure) in _ = try decode(bytes) } == .badData)
    }
    #expect(status { () throws(Failure) in _ = try decode([]) } == .badData)
    #expect(status { () throws(Failure) in _ = try decode(file(header: "")) } == .badData)
  }

  @Test
  func `finds every truncation and survives every flipped bit`() {
    let whole = SafetensorsFile(metadata: [.init("a", "b")], tensors: [(name: "w", shape: [2], values: [1, 2])])
      .encoded
    for length in 0..<whole.count {
      #expect(status { () throws(Failure) in _ = try decode(Array(whole[..<length])) } == .badData)
    }
    // A flip in a name or a value is legal here; the manifest's SHA-256 finds it. It must not trap.
    for bit in 0..<(8 * whole.count) {
      var damaged = whole
      damaged[bit / 8] ^= 1 << (bit % 8)
      _ = try? decode(damaged)
    }
  }
}
