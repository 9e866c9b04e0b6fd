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
    let form = text.prefix { !("0"..."9").contains($0) }
    let digits = text.dropFirst(form.count)
    switch (form, Int(digits)) {
    case ("bsp", nil) where digits.isEmpty: self = .bsp(backup: 0)
    case ("asp", nil) where digits.isEmpty: self = .asp
    case ("bsp:backup=", let backup?): self = .bsp(backup: backup)
    case ("ssp:", let bound?): self = .ssp(bound)
    default: return nil
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
}
