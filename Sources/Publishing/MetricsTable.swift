import Diagnostics
import Files

/// `metrics.jsonl` as a table: a row for each evaluation, a column for each field.
public struct MetricsTable: Sendable {
  /// In the order in which they first appear.
  package private(set) var columns: [String] = []
  /// The members of each line, steps strictly increasing.
  package private(set) var rows: [[JSONValue.Member]] = []

  /// What can be read of the file: lines of one object with a step. One whose step is not later than those before takes
  /// their place, and a run that is going on may have written half of the last one.
  public init(readingFrom path: String) {
    self.init((try? FileSystem().read(path, limit: .max, followingLinks: true)) ?? [], source: path)
  }

  package init(_ bytes: [UInt8], source: String) {
    var steps: [UInt64] = []
    var known: Set<String> = []
    for line in bytes.split(separator: UInt8(ascii: "\n")) {
      guard let fields = try? JSONFields(parsing: Array(line), source: source), let step: UInt64 = try? fields["step"]
      else { continue }
      // A run that was resumed there has computed them again.
      while let last = steps.last, last >= step {
        steps.removeLast()
        rows.removeLast()
      }
      steps.append(step)
      // Files of the version before call the losses so.
      let members = fields.members.map { member in
        JSONValue.Member(Self.formerNames[member.name] ?? member.name, member.value)
      }
      for member in members where known.insert(member.name).inserted { columns.append(member.name) }
      rows.append(members)
    }
  }

  private static let formerNames = ["train_loss": "train_data_loss", "validation_loss": "validation_data_loss"]

  /// Whether nothing was evaluated.
  public var isEmpty: Bool { rows.isEmpty }

  /// Comma-separated values (RFC 4180) with lines that end in a line feed: the names of the fields, then a line for each
  /// evaluation. Numbers have the digits of the file, and what was not measured is empty.
  public var csv: String {
    let head = columns.map(Self.cell).joined(separator: ",") + "\n"
    return head
      + rows.map { row in
        columns.map { column in Self.cell(Self.text(row.first { $0.name == column }?.value ?? .null)) }
          .joined(separator: ",") + "\n"
      }.joined()
  }

  private static func text(_ value: JSONValue) -> String {
    switch value {
    case .null: ""
    case .number(let text), .string(let text): text
    default: value.compactText
    }
  }

  /// Quoted where a reader would take it for several cells.
  private static func cell(_ text: String) -> String {
    guard text.utf8.contains(where: { [0x0a, 0x0d, 0x22, 0x2c].contains($0) }) else { return text }
    return "\"" + text.replacing("\"", with: "\"\"") + "\""
  }
}
