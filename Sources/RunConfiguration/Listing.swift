import Diagnostics
import JSONText

extension ResolvedSettings {
  /// For people: a line for each setting with its value and where it came from, in columns under group headings.
  public var listing: String {
    let rows = entries.map { ($0, $0.definition.key.rawValue, $0.value?.text ?? "(not set)") }
    let keyWidth = rows.map(\.1.count).max() ?? 0
    let valueWidth = rows.map(\.2.count).filter { $0 <= 32 }.max() ?? 0
    var text = ""
    var group: SettingGroup?
    for (entry, key, value) in rows {
      if entry.definition.group != group {
        text += (group == nil ? "" : "\n") + entry.definition.group.rawValue + "\n"
        group = entry.definition.group
      }
      text += "  " + padded(key, to: keyWidth) + "  " + padded(value, to: valueWidth) + "  \(entry.origin)\n"
    }
    return text
  }

  /// For scripts: `{"data": {"value": null, "origin": "default"}, …}`, in the order of the table; a setting that is not
  /// set has the value null.
  public var json: String {
    let members = entries.map { entry in
      JSONValue.Member(
        entry.definition.key.rawValue,
        ["value": entry.value?.document ?? .null, "origin": .string(entry.origin.description)])
    }
    return JSONValue.object(members).indentedText
  }

  /// A configuration file that resolves to the same values, whatever the defaults become.
  public var yaml: String {
    var text = ""
    for entry in entries {
      let key = entry.definition.key.rawValue
      if let value = entry.value {
        text += "\(key): \(YAMLText.scalar(value.text))\n"
      } else {
        text += "# \(key):\n"
      }
    }
    return text
  }

  private func padded(_ text: String, to width: Int) -> String {
    text + String(repeating: " ", count: max(0, width - text.count))
  }
}

extension SettingValue {
  fileprivate var document: JSONValue {
    switch self {
    case .integer(let integer): .number(integer)
    case .number(let number): .measurement(number)
    case .text, .consistency: .string(text)
    }
  }
}

/// Scalars of YAML.
enum YAMLText {
  /// `text` as a scalar that every YAML reader takes for this text: plain where that is safe, quoted otherwise.
  static func scalar(_ text: String) -> String {
    if isPlain(text) { return text }
    var quoted = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"", "\\": quoted += "\\" + String(scalar)
      case "\n": quoted += "\\n"
      case "\t": quoted += "\\t"
      default:
        if scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value) || [0x2028, 0x2029].contains(scalar.value) {
          quoted += "\\U" + hexadecimal(scalar.value)
        } else {
          quoted.unicodeScalars.append(scalar)
        }
      }
    }
    return quoted + "\""
  }

  /// Numbers, and words and paths without anything that YAML could take for something else.
  private static func isPlain(_ text: String) -> Bool {
    let reserved = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"]
    guard let first = text.utf8.first, !reserved.contains(text.lowercased()) else { return false }
    let isWord = (first | 0x20 >= UInt8(ascii: "a") && first | 0x20 <= UInt8(ascii: "z")) || first == UInt8(ascii: "/")
    let isRelative = text.hasPrefix("./") || text.hasPrefix("../")
    let isNumber = Double(text) != nil && first >= UInt8(ascii: "0") && first <= UInt8(ascii: "9")
    guard isWord || isRelative || isNumber, text.utf8.last != UInt8(ascii: ":") else { return false }
    return text.utf8.allSatisfy { byte in
      (byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9"))
        || (byte | 0x20 >= UInt8(ascii: "a") && byte | 0x20 <= UInt8(ascii: "z"))
        || "/._-+=:".utf8.contains(byte)
    }
  }
}
