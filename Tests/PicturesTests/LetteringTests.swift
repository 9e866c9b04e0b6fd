import Pictures
import Testing

@Suite struct LetteringTests {
  private let printable = (33...126).compactMap { Unicode.Scalar($0) }
  private let signs = Array("–−×·²³λημαβσ±…°→≤≥≈Δ⁻₂".unicodeScalars)

  @Test func `every printable character has strokes that no other has, inside of its width`() {
    let glyphs = (printable + signs).map { (scalar: $0, glyph: StrokeFont.glyph($0)) }
    let missing = StrokeFont.glyph("\u{4e00}")
    for (index, (scalar, glyph)) in glyphs.enumerated() {
      #expect(glyph.strokes.joined().count >= 2 && glyph.strokes != missing.strokes, "\(scalar)")
      for (other, otherGlyph) in glyphs[..<index] where other != "Σ" {
        #expect(otherGlyph.strokes != glyph.strokes, "\(scalar) is drawn as \(other)")
      }
      for point in glyph.strokes.joined() {
        #expect(point.x >= -1 && point.x <= glyph.advance + 1 && point.y >= -25 && point.y <= 80, "\(scalar)")
      }
    }
  }

  @Test func `every two printable characters differ in pixels`() {
    var pictures: [[UInt8]: Unicode.Scalar] = [:]
    for scalar in printable {
      let pixels = Figure(String(Character(scalar)), panels: []).image(theme: .light).pixels
      #expect(pixels.contains { $0 < 64 }, "\(scalar) is too pale")
      #expect(pictures.updateValue(scalar, forKey: pixels) == nil, "\(scalar) has a double")
    }
  }

  @Test func `letters with accents are letters and accents`() {
    let (plain, accented) = (StrokeFont.glyph("e"), StrokeFont.glyph("é"))
    #expect(accented.advance == plain.advance)
    #expect(Array(accented.strokes.prefix(plain.strokes.count)) == plain.strokes)
    #expect(accented.strokes.count == plain.strokes.count + 1)
    #expect(StrokeFont.glyph("Ü").strokes.count == StrokeFont.glyph("U").strokes.count + 2)
  }

  @Test func `a paragraph breaks between words, and inside of a word that is wider than the line`() {
    let text = "one two three four"
    let width = StrokeFont.width(of: "one two", size: 10)
    #expect(Typesetting.lines(text, width: width, size: 10) == ["one two", "three", "four"])
    #expect(Typesetting.lines(text, width: width, size: 10, limit: 2) == ["one two", "three…"])
    let long = Typesetting.lines("aaaaaaaaaa", width: StrokeFont.width(of: "aaaa", size: 10), size: 10)
    #expect(long == ["aaaa", "aaaa", "aa"])
    #expect(Typesetting.lines("", width: 10, size: 10).isEmpty)
    #expect(Typesetting.lines("a\nb", width: 100, size: 10) == ["a", "b"])
    #expect(Typesetting.lines("wide", width: 0, size: 10) == ["w", "i", "d", "e"])
  }
}
