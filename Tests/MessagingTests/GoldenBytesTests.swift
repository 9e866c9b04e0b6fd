import Messaging
import TestSupport
import Testing

/// The bytes of every message type beside the names of their fields. A change that encoder and decoder make alike passes
/// every round trip; here it shows.
@Suite struct GoldenBytesTests {
  static let golden = GoldenText("Golden/messages.txt")

  /// Fields in the order of the wire, by the number of the type: `name:kind`. A `text` has a 16-bit length in front, a
  /// `list` of 64-bit numbers a 32-bit count; `shards`, `sizes` and `blocks` an 8-bit count of 64-bit words, 32-bit numbers
  /// and bytes; other kinds are bytes.
  private static let layouts: [UInt16: String] = [
    1: "role:1 name:text processID:4 host:text datasetFingerprint:8 endpoint:text formerExit:text",
    2: "sharesMemory:1 " + plan + " servers:1 " + server + " " + server,
    3: "status:4 reason:text",
    4: "isReady:1 assignmentEpoch:8 examples:8 loss:8 waitingFor:8 waitingMilliseconds:4 rejectedPushes:8 "
      + "stalePushes:8 takenOverShards:8 lateShards:8 untrusted:8 paces:4 worker:8 answers:8 timesLast:8 "
      + "medianSeconds:8 p99Seconds:8 awaitedSeconds:8 memberSeconds:8",
    6: "shardClocks:list " + totals + " hasScale:1 scale:blocks",
    7: "members:4 incarnation:8 name:text shards:shards incarnation:8 name:text shards:shards",
    8: "serial:8 occasion:1 " + totals + " " + statistics
      + " gradientNorm:8 shardClocks:list hasScale:1 scale:blocks stepSecondsP50:8 stepSecondsP99:8", 9: "serial:8",
    10: "hold:1", 12: "status:4 reason:text", 33: item, 34: item + " " + statistics, 48: offer, 49: offer,
  ]
  private static let plan =
    "classes:4 pixels:4 hidden:sizes activation:text activationParameter:4 preprocessing:1 loss:1 margin:4 "
    + "reduction:1 dropout:4 l2:4 l1:4 maxNorm:4 batchSize:4 shardCount:4 seed:8 initialization:1 "
    + "initialStandardDeviation:4 learningRate:4 warmupSteps:8 horizon:8 schedule:1 stepEvery:8 stepFactor:4 optimizer:1 "
    + "momentum:8 exampleCount:4 validationCount:4 validationStart:4 totalSteps:8 evaluateEvery:8 checkpointEvery:8 "
    + "consistency:text"
  private static let server = "rangeEnd:4 endpoint:text"
  private static let totals = "examples:8 lateShards:8 takenOverShards:8 staleness:list"
  private static let statistics = "examples:8 lossSum:8 correct:8 isFinite:1 peaks:blocks"
  private static let item = "item:8 shards:shards scale:blocks"
  private static let offer = "processID:4 memory:4 doorbell:4 byteCount:8"
  private static let envelope =
    "magic:4 version:2 type:2 run:8 membershipEpoch:8 incarnation:8 step:8 sequence:8 fieldsLength:4 payloadLength:4 "
    + "bodyChecksum:4 headerChecksum:4"

  @Test(.enabled(if: GoldenBytesTests.golden.canBeCompared, "Golden/messages.txt is not recorded"))
  func `every message type has the bytes of the listing`() throws {
    var text = ""
    for message in Samples.messages {
      let frames = Frames(message)
      text += "\(message.type) (\(message.type.rawValue))\n"
      if message.type == .join { text += Self.listing(frames.header, Self.envelope) }
      text += Self.listing(frames.fields, Self.layouts[message.type.rawValue] ?? "")
      if !frames.payload.isEmpty { text += Self.row("payload", frames.payload.prefix(16)) }
      text += "\n"
    }
    #expect(!text.contains("?"), "a field has no name in `layouts`")
    #expect(try Self.golden.difference(from: text) == nil)
  }

  /// One row or more for each field, and the rest without a name.
  private static func listing(_ bytes: [UInt8], _ layout: String) -> String {
    var rest = bytes[...]
    func number(_ width: Int) -> Int { rest.prefix(width).reversed().reduce(0) { $0 << 8 | Int($1) } }
    var text = ""
    for field in layout.split(separator: " ") {
      let parts = field.split(separator: ":")
      let width =
        switch parts[1] {
        case "text": 2 + number(2)
        case "list": 4 + 8 * number(4)
        case "shards": 1 + 8 * number(1)
        case "sizes": 1 + 4 * number(1)
        case "blocks": 1 + number(1)
        default: Int(parts[1]) ?? 0
        }
      text += row(String(parts[0]), rest.prefix(width))
      rest = rest.dropFirst(width)
    }
    return rest.isEmpty ? text : text + row("?", rest)
  }

  /// Hexadecimal, 16 bytes a line.
  private static func row(_ name: String, _ bytes: ArraySlice<UInt8>) -> String {
    stride(from: 0, to: max(bytes.count, 1), by: 16).map { offset in
      let label = offset == 0 ? name : ""
      let hex = bytes.dropFirst(offset).prefix(16).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }
      return "  " + label + String(repeating: " ", count: max(1, 26 - label.count)) + hex.joined(separator: " ") + "\n"
    }.joined()
  }
}
