import Diagnostics
import Reporting

/// What a group of measurements shows: tables for people, the same as JSON, and the targets it speaks about.
struct GroupReport {
  var tables: [Table] = []
  var findings: [Finding] = []
  /// Sentences under the tables.
  var notes: [String] = []

  func text(of group: Group) -> String {
    (["== \(group.rawValue)"] + tables.map(\.text) + notes.map { "* \($0)" }).joined(separator: "\n\n") + "\n"
  }

  func json(of group: Group) -> JSONValue {
    [
      "group": .string(group.rawValue), "tables": .array(tables.map(\.json)),
      "targets": JSONValue(reflecting: findings), "notes": .strings(notes),
    ]
  }
}

/// A figure that has a bound, and what was reached.
struct Finding {
  var target: String
  var bound: String
  var reached: String
  var met: Bool

  static func table(_ findings: [Finding]) -> Table {
    Table(
      title: "Targets", columns: ["target", "bound", "reached", ""],
      rows: findings.map { [$0.target, $0.bound, $0.reached, $0.met ? "met" : "MISSED"].map { .text($0) } })
  }
}

/// Rows of texts and numbers under named columns.
struct Table {
  struct Cell {
    let text: String
    let json: JSONValue
    var isNumber = false

    static func text(_ text: String) -> Cell { Cell(text: text, json: .string(text)) }

    /// Shown with so many digits after the point; JSON has all of them. What is not finite is a dash, and null.
    static func number(_ value: Double, places: Int) -> Cell {
      Cell(text: Display.decimal(value, places: places), json: .measurement(value), isNumber: true)
    }

    static func count(_ number: Int) -> Cell { .number(Double(number), places: 0) }
  }

  let title: String
  let columns: [String]
  var rows: [[Cell]] = []

  /// Columns as wide as they need to be: numbers to the right, texts to the left.
  var text: String {
    let cells = rows.map { $0.map(\.text) }
    let widths = columns.indices.map { column in
      ([columns[column]] + cells.map { $0[column] }).map(\.count).max() ?? 0
    }
    let isNumeric = columns.indices.map { column in rows.contains { $0[column].isNumber } }
    func line(_ texts: [String]) -> String {
      let padded = texts.enumerated().map { column, text in
        isNumeric[column] ? text.rightAligned(to: widths[column]) : text.padded(to: widths[column])
      }
      return String(padded.joined(separator: "  ").reversed().drop { $0 == " " }.reversed())
    }
    return ([title, line(columns), line(widths.map { String(repeating: "-", count: $0) })] + cells.map(line))
      .joined(separator: "\n")
  }

  /// Each row an object; a column without a name is left out.
  var json: JSONValue {
    let rows = rows.map { row in
      JSONValue.object(
        zip(columns, row).filter { !$0.0.isEmpty }.map { JSONValue.Member($0.0, $0.1.json) })
    }
    return ["title": .string(title), "rows": .array(rows)]
  }
}

/// `fraction` as "12.3 %".
func percent(_ fraction: Double, places: Int = 1) -> String { Display.percent(fraction, places: places) }

func microseconds(_ seconds: Double) -> String { Display.decimal(seconds * 1e6, places: 1) + " µs" }

/// "19,512": a number that is not negative.
func grouped(_ number: Double) -> String {
  number.isFinite ? Diagnostics.grouped(UInt64(number.rounded())) : "-"
}

/// Repetitions of one measurement, in the order in which they were taken. The median is what to compare; the extremes say
/// how quiet the machine was.
extension [Double] {
  /// The middle one, or the mean of the two; not a number where there is none.
  var median: Double {
    guard !isEmpty else { return .nan }
    let (sorted, middle) = (sorted(), count / 2)
    return count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
  }
  var lowest: Double { self.min() ?? .nan }
  var highest: Double { self.max() ?? .nan }

  var medianAndExtremes: [Double] { [median, lowest, highest] }

  /// With the figure below which a tenth of them are, and the one below which nine tenths are.
  var medianAndDeciles: [Double] {
    let sorted = sorted()
    guard let last = sorted.indices.last else { return [.nan, .nan, .nan] }
    return [median, sorted[last / 10], sorted[last * 9 / 10]]
  }

  /// By how much these are above `others`, as a fraction, pair by pair.
  func excess(over others: [Double]) -> [Double] { zip(self, others).map { $0 / $1 - 1 } }

  /// "1.20 (1.10 … 1.40)".
  func text(places: Int, scale: Double = 1) -> String {
    let shown = medianAndExtremes.map { Display.decimal($0 * scale, places: places) }
    return "\(shown[0]) (\(shown[1]) … \(shown[2]))"
  }

  /// Cells of a table.
  func cells(places: Int) -> [Table.Cell] { map { .number($0, places: places) } }
  /// Cells of a table that shows these seconds in microseconds.
  func microseconds(places: Int) -> [Table.Cell] { map { .number($0 * 1e6, places: places) } }
}
