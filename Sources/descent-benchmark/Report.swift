import Diagnostics
import Reporting

/// What a group of measurements shows: tables for people, the same as JSON.
struct Report {
  let group: Group
  private(set) var tables: [Table] = []
  /// Figures that have a bound, and what was reached.
  private(set) var targets: [[Cell]] = []
  /// Sentences under the tables.
  var notes: [String] = []

  mutating func table(_ title: String, _ rows: [[Cell]]) { tables.append(Table(title: title, rows: rows)) }

  mutating func target(_ target: String, _ bound: String, reached: String, isMet: Bool) {
    let met = Cell(column: "met", text: isMet ? "met" : "MISSED", json: .boolean(isMet))
    targets.append([Cell("target", target), Cell("bound", bound), Cell("reached", reached), met])
  }

  var text: String {
    (["== \(group.rawValue)\n"] + tables.map(\.text) + notes.map { "* \($0)\n" }).joined(separator: "\n")
  }

  var json: JSONValue {
    [
      "group": .string(group.rawValue), "tables": .array(tables.map(\.json)), "targets": .array(targets.map(\.json)),
      "notes": .strings(notes),
    ]
  }
}

/// Rows with the same columns.
struct Table {
  let title: String
  let rows: [[Cell]]

  /// Numbers to the right of their columns, texts to the left.
  var text: String {
    let columns = (rows.first ?? []).indices.map { index in
      let cells = rows.map { $0[index] }
      let name = cells[0].column
      let width = ([name] + cells.map(\.text)).map(\.count).max() ?? 0
      let texts = [name, String(repeating: "-", count: width)] + cells.map(\.text)
      return cells.contains { $0.isNumber } ? texts.map { $0.rightAligned(to: width) } : texts
    }
    return title + "\n" + Diagnostics.table((0..<rows.count + 2).map { line in columns.map { $0[line] } })
  }

  var json: JSONValue { ["title": .string(title), "rows": .array(rows.map(\.json))] }

  /// Of a page: the title is left to it.
  var markdown: String {
    let names = (rows.first ?? []).map(\.column)
    let lines = [names, names.map { _ in "---" }] + rows.map { $0.map(\.text) }
    return lines.map { "| " + $0.joined(separator: " | ") + " |\n" }.joined()
  }
}

/// A text or number of a row, and the name of its column.
struct Cell {
  let column, text: String
  let json: JSONValue
  var isNumber = false
}

extension Cell {
  init(_ column: String, _ text: String) { self.init(column: column, text: text, json: .string(text)) }

  /// `scale` times `value`, shown with so many digits after the point; JSON has all of them. What is not finite is a
  /// dash, and null.
  init(_ column: String, _ value: Double, scale: Double = 1, places: Int = 0) {
    let value = value * scale
    let text = Display.decimal(value, places: places)
    self.init(column: column, text: text, json: .measurement(value), isNumber: true)
  }

  init(_ column: String, _ count: Int) { self.init(column, Double(count)) }
}

extension [Cell] {
  var json: JSONValue { .object(map { JSONValue.Member($0.column, $0.json) }) }
}

/// Repetitions of one measurement, in the order in which they were taken.
extension [Double] {
  /// The median is what to compare; the lowest and the highest say how quiet the machine was. Of ten or more, a tenth
  /// is left out at either end. Not numbers where there is none.
  private var spread: [Double] {
    guard !isEmpty else { return [.nan, .nan, .nan] }
    let (sorted, tenth) = (sorted(), count / 10)
    return [(sorted[(count - 1) / 2] + sorted[count / 2]) / 2, sorted[tenth], sorted[count - 1 - tenth]]
  }

  var median: Double { spread[0] }

  /// By how much these are above `others`, as a fraction, pair by pair.
  func excess(over others: [Double]) -> [Double] { zip(self, others).map { $0 / $1 - 1 } }

  /// "1.20 (1.10 … 1.40)".
  func text(scale: Double = 1, places: Int) -> String {
    let shown = spread.map { Display.decimal($0 * scale, places: places) }
    return "\(shown[0]) (\(shown[1]) … \(shown[2]))"
  }

  func cells(_ median: String, scale: Double = 1, places: Int = 0) -> [Cell] {
    zip([median, "low", "high"], spread).map { Cell($0, $1, scale: scale, places: places) }
  }
}

func microseconds(_ seconds: Double) -> String { Display.decimal(seconds * 1e6, places: 1) + " µs" }
