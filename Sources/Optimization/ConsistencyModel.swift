/// When the server replies to a push, and so how old the weights of a gradient may be.
///
/// Written `bsp`, `bsp:backup=2`, `ssp:4`, `asp` in settings; `description` and `init(parsing:)` are inverse.
public enum ConsistencyModel: Sendable, Equatable, CustomStringConvertible {
  /// Bulk synchronous: when all shards of the step are in and the update is applied. With `backup` > 0, when all but
  /// that many shards are in (Chen et al. 2016, "Revisiting distributed synchronous SGD"); late ones are dropped.
  case bsp(backup: Int)
  /// Stale synchronous: when the slowest worker is at most this many clocks behind (Ho et al. 2013).
  case ssp(Int)
  /// Asynchronous: at once.
  case asp

  /// Nil where the text is none of the four forms, or its number is negative or not a plain decimal.
  public init?(parsing text: String) {
    if text == "bsp" {
      self = .bsp(backup: 0)
    } else if text == "asp" {
      self = .asp
    } else if let backup = Self.number(in: text, after: "bsp:backup=") {
      self = .bsp(backup: backup)
    } else if let bound = Self.number(in: text, after: "ssp:") {
      self = .ssp(bound)
    } else {
      return nil
    }
  }

  public var description: String {
    switch self {
    case .bsp(backup: 0): "bsp"
    case .bsp(let backup): "bsp:backup=\(backup)"
    case .ssp(let bound): "ssp:\(bound)"
    case .asp: "asp"
    }
  }

  private static func number(in text: String, after prefix: String) -> Int? {
    guard text.hasPrefix(prefix) else { return nil }
    let digits = text.utf8.dropFirst(prefix.utf8.count)
    guard digits.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else { return nil }
    return Int(Substring(digits))
  }
}
