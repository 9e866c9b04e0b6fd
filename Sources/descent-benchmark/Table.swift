import Diagnostics
import JSONText
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
      "targets": .array(findings.map(\.json)), "notes": .strings(notes),
    ]
  }
}

/// A figure that has a bound, and what was reached.
struct Finding {
  var target: String
  var bound: String
  var reached: String
  var isMet: Bool

  var json: JSONValue {
    ["target": .string(target), "bound": .string(bound), "reached": .string(reached), "met": .boolean(isMet)]
  }

  static func table(_ findings: [Finding]) -> Table {
    Table(
      "Targets", ["target", "bound", "reached", ""],
      findings.map {
        [.text($0.target), .text($0.bound), .text($0.reached), .text($0.isMet ? "met" : "MISSED")]
      })
  }
}

/// Rows of texts and numbers under named columns.
struct Table {
  enum Cell {
    case text(String)
    /// Shown with so many digits after the point; JSON has all of them. What is not finite is a dash, and null.
    case number(Double, places: Int)

    static func count(_ number: Int) -> Cell { .number(Double(number), places: 0) }
    static func microseconds(_ seconds: Double, places: Int) -> Cell { .number(seconds * 1e6, places: places) }

    var text: String {
      switch self {
      case .text(let text): text
      case .number(let value, let places): Display.decimal(value, places: places)
      }
    }

    var json: JSONValue {
      switch self {
      case .text(let text): .string(text)
      case .number(let value, _): .measurement(value)
      }
    }

    var isNumber: Bool { if case .number = self { true } else { false } }
  }

  let title: String
  let columns: [String]
  var rows: [[Cell]]

  init(_ title: String, _ columns: [String], _ rows: [[Cell]] = []) {
    self.title = title
    self.columns = columns
    self.rows = rows
  }

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

/// "19,512".
func grouped(_ number: Double) -> String {
  guard number.isFinite, abs(number) < 1e15 else { return "-" }
  var rest = String(Int(abs(number).rounded()))
  var groups: [String] = []
  while rest.count > 3 {
    groups.insert(String(rest.suffix(3)), at: 0)
    rest = String(rest.dropLast(3))
  }
  return (number < 0 ? "-" : "") + ([rest] + groups).joined(separator: ",")
}
