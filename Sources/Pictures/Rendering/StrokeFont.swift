import Optimization

/// The letters of PNG pictures: each glyph is a few strokes of a round pen, drawn here, so that no font file is needed and
/// a picture has the same pixels on every machine. The widths are those of Helvetica, which SVG asks for: one layout serves
/// both.
package enum StrokeFont {
  /// In hundredths of an em, y upwards from the baseline.
  package struct Glyph: Equatable {
    package var advance: Double
    /// Each a sequence of corners joined by straight lines.
    package var strokes: [[Position]]
  }

  /// Thickness of the pen in hundredths of an em.
  static func penWidth(isBold: Bool) -> Double { isBold ? 11.5 : 8 }

  /// Width of a line of text in the units of `size`.
  package static func width(of text: String, size: Double, isBold: Bool = false) -> Double {
    let advance = text.unicodeScalars.reduce(0.0) { $0 + glyph($1).advance }
    return advance / 100 * size * (isBold ? boldStretch : 1)
  }

  /// Bold letters are wider.
  static let boldStretch = 1.06

  /// A scalar without a glyph is an empty rectangle.
  package static func glyph(_ scalar: Unicode.Scalar) -> Glyph {
    if let glyph = glyphs[scalar] { return glyph }
    if scalar.properties.generalCategory == .nonspacingMark { return Glyph(advance: 0, strokes: []) }
    if scalar.properties.generalCategory == .spaceSeparator { return glyph(" ") }
    return raised(scalar) ?? accented(scalar) ?? missing
  }

  private static let missing = Glyph(source: "55.6 M8 0 L48 0 48 66 8 66 8 0")

  private static let glyphs = Dictionary(
    uniqueKeysWithValues: glyphLines.split(separator: "\n").map { line in
      (line.unicodeScalars[line.startIndex], Glyph(source: String(line.unicodeScalars.dropFirst())))
    })

  private static let accents = accentLines.split(separator: "\n").map { line in
    let parts = line.split(separator: " ", maxSplits: 1)
    return (name: parts[0], glyph: Glyph(source: "0 " + parts[1]))
  }

  /// Superscripts and subscripts are small digits and signs.
  private static func raised(_ scalar: Unicode.Scalar) -> Glyph? {
    let (normal, superscripts, subscripts) = ("0123456789−+n", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ", "₀₁₂₃₄₅₆₇₈₉₋₊ₙ")
    for (text, height) in [(superscripts, 30.0), (subscripts, -14.0)] {
      for (small, large) in zip(text.unicodeScalars, normal.unicodeScalars) where small == scalar {
        let glyph = glyph(large)
        let strokes = glyph.strokes.map { $0.map { Position(x: $0.x * 0.6, y: $0.y * 0.6 + height) } }
        return Glyph(advance: glyph.advance * 0.6 + 1, strokes: strokes)
      }
    }
    return nil
  }

  /// "LATIN SMALL LETTER E WITH ACUTE" is an e with an accent.
  private static func accented(_ scalar: Unicode.Scalar) -> Glyph? {
    let words = (scalar.properties.name ?? "").split(separator: " ")
    guard words.count == 6, words[0] == "LATIN", words[2] == "LETTER", words[3].utf8.count == 1, words[4] == "WITH",
      let accent = accents.first(where: { $0.name == words[5] })
    else { return nil }
    let isSmall = words[1] == "SMALL"
    guard let letter = (isSmall ? words[3].lowercased() : String(words[3])).unicodeScalars.first else { return nil }
    // An accent takes the place of the dot.
    var glyph = glyph(letter == "i" ? "\u{131}" : letter)
    let shift = Position(x: glyph.advance / 2, y: accent.name == "CEDILLA" || isSmall ? 0 : 19)
    glyph.strokes += accent.glyph.strokes.map { $0.map { $0 + shift } }
    return glyph
  }
}

extension StrokeFont.Glyph {
  /// - Parameter source: the advance, then strokes: `M x y` begins one, `L x y …` goes on straight, `C x1 y1 x2 y2 x y …`
  ///   along cubic Bézier curves, and `O x y rx ry` is an ellipse.
  fileprivate init(source: String) {
    var words = source.split { $0 == " " || $0 == "\n" }.map(String.init)[...]
    advance = words.popFirst().flatMap(Double.init) ?? 0
    strokes = []
    var command: Character = "M"
    while let word = words.first {
      var word = word
      if let first = word.first, first.isLetter {
        command = first
        word.removeFirst()
        words[words.startIndex] = word
      }
      let numbers = words.prefix(command == "O" ? 4 : command == "C" ? 6 : 2).compactMap { Double($0) }
      words = words.dropFirst(numbers.count)
      draw(command, numbers)
    }
  }

  private mutating func draw(_ command: Character, _ numbers: [Double]) {
    switch command {
    case "M": strokes.append([Position(x: numbers[0], y: numbers[1])])
    case "L": strokes[strokes.count - 1].append(Position(x: numbers[0], y: numbers[1]))
    case "C":
      let start = strokes[strokes.count - 1][strokes[strokes.count - 1].count - 1]
      for part in 1...8 {
        let (t, rest) = (Double(part) / 8, 1 - Double(part) / 8)
        let weights = (rest * rest * rest, 3 * rest * rest * t, 3 * rest * t * t, t * t * t)
        let x0 = weights.0 * start.x + weights.1 * numbers[0]
        let y0 = weights.0 * start.y + weights.1 * numbers[1]
        let x1 = weights.2 * numbers[2] + weights.3 * numbers[4]
        let y1 = weights.2 * numbers[3] + weights.3 * numbers[5]
        strokes[strokes.count - 1].append(Position(x: x0 + x1, y: y0 + y1))
      }
    default:
      strokes.append(
        (0...24).map { part in
          let turns = Double(part) / 24
          return Position(
            x: numbers[0] + numbers[2] * ElementaryFunctions.cosineOfTurns(turns),
            y: numbers[1] + numbers[3] * ElementaryFunctions.cosineOfTurns(turns - 0.25))
        })
    }
  }
}
