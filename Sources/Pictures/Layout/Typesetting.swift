/// Lines of text that fit a width.
package enum Typesetting {
  /// The lines of a paragraph, broken between words, and inside of a word that is wider than a line.
  ///
  /// - Parameter limit: the most lines; the last one then ends in "…".
  package static func lines(
    _ text: String, width: Double, size: Double, isBold: Bool = false, limit: Int = .max
  ) -> [String] {
    func fits(_ line: some StringProtocol) -> Bool {
      StrokeFont.width(of: String(line), size: size, isBold: isBold) <= width
    }
    var lines: [String] = []
    for paragraph in text.split(separator: "\n", omittingEmptySubsequences: false) where !text.isEmpty {
      var line = ""
      for word in paragraph.split(separator: " ") {
        let longer = line.isEmpty ? String(word) : line + " " + word
        if fits(longer) {
          line = longer
          continue
        }
        if !line.isEmpty { lines.append(line) }
        line = String(word)
        while !fits(line), line.count > 1 {
          var part = line
          while !fits(part), part.count > 1 { part.removeLast() }
          lines.append(part)
          line.removeFirst(part.count)
        }
      }
      lines.append(line)
    }
    guard lines.count > limit else { return lines }
    return lines[..<(limit - 1)] + [shortened(lines[(limit - 1)...].joined(separator: " "), width, size, isBold)]
  }

  /// The text, or as much of its beginning as fits, and "…".
  package static func shortened(_ text: String, _ width: Double, _ size: Double, _ isBold: Bool = false) -> String {
    guard StrokeFont.width(of: text, size: size, isBold: isBold) > width else { return text }
    var part = text
    while !part.isEmpty, StrokeFont.width(of: part + "…", size: size, isBold: isBold) > width { part.removeLast() }
    return part.trimmingSuffix { $0 == " " } + "…"
  }
}

extension String {
  fileprivate func trimmingSuffix(while predicate: (Character) -> Bool) -> String {
    var text = self
    while let last = text.last, predicate(last) { text.removeLast() }
    return text
  }
}

extension Drawing {
  /// Adds lines of text from the height `top` on, and returns the height below them.
  mutating func addLines(
    _ lines: [String], left: Double, top: Double, size: Double, ink: Ink = .text, isBold: Bool = false,
    anchor: Label.Anchor = .start
  ) -> Double {
    var y = top
    for line in lines {
      let position = Position(x: left, y: y + size * 0.95)
      add(.text(Label(text: line, position: position, size: size, ink: ink, anchor: anchor, isBold: isBold)))
      y += size * 1.35
    }
    return y
  }
}
