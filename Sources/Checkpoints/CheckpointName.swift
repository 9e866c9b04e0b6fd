/// The name of a checkpoint directory: `step-` and twelve digits, so that names sort as steps do.
///
/// A second checkpoint of the same step carries `-replacement`: a directory cannot be replaced in one step on every
/// file system, so the new one takes the name that is free, `latest` moves to it, and the old one is removed.
struct CheckpointName: Hashable {
  var step: UInt64
  var isReplacement: Bool

  init(step: UInt64, isReplacement: Bool = false) {
    self.step = step
    self.isReplacement = isReplacement
  }

  /// Nil for anything that is not exactly a name as `text` gives it, and so for every path.
  init?(_ text: String) {
    guard text.hasPrefix(Self.prefix) else { return nil }
    let isReplacement = text.hasSuffix(Self.replacementSuffix)
    let digits = text.dropFirst(Self.prefix.count).dropLast(isReplacement ? Self.replacementSuffix.count : 0)
    guard let step = UInt64(digits) else { return nil }
    self.init(step: step, isReplacement: isReplacement)
    guard self.text == text else { return nil }
  }

  var text: String {
    let digits = String(step)
    let zeros = String(repeating: "0", count: max(0, 12 - digits.count))
    return Self.prefix + zeros + digits + (isReplacement ? Self.replacementSuffix : "")
  }

  private static let prefix = "step-"
  private static let replacementSuffix = "-replacement"
}
