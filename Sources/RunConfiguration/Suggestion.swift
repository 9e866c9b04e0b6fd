/// Finds the name that a misspelt one was probably meant to be.
enum Suggestion {
  /// The candidate nearest to `name`, the earlier of two equally near ones, or nil if none is near enough to be a
  /// misspelling: at most a third of the name may be wrong.
  static func nearest(to name: String, among candidates: [String]) -> String? {
    var best: (candidate: String, distance: Int)?
    for candidate in candidates {
      let distance = editDistance(name, candidate)
      if distance <= max(1, candidate.utf8.count / 3), distance < best?.distance ?? .max {
        best = (candidate, distance)
      }
    }
    return best?.candidate
  }

  /// The least number of insertions, deletions, replacements and swaps of neighbours that turn one string
  /// into the other (optimal string alignment), case and `_` versus `-` not counted.
  static func editDistance(_ first: String, _ second: String) -> Int {
    let a = normalized(first)
    let b = normalized(second)
    if a.isEmpty || b.isEmpty { return max(a.count, b.count) }
    var beforeLast: [Int] = []
    var last = Array(0...b.count)
    for i in 1...a.count {
      var current = [i]
      for j in 1...b.count {
        let replaced = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)
        var distance = min(last[j] + 1, current[j - 1] + 1, replaced)
        if i > 1, j > 1, a[i - 1] == b[j - 2], a[i - 2] == b[j - 1] {
          distance = min(distance, beforeLast[j - 2] + 1)
        }
        current.append(distance)
      }
      beforeLast = last
      last = current
    }
    return last[b.count]
  }

  /// Names longer than any of ours are cut, so that hostile input costs little.
  private static func normalized(_ name: String) -> [Character] {
    name.prefix(64).map { $0 == "_" ? "-" : Character($0.lowercased()) }
  }
}
