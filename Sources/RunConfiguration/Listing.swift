import Diagnostics
import JSONText

extension ResolvedSettings {
  /// For people: a line for each setting with its value and where it came from, in columns under group headings.
  public var listing: String {
    let rows = entries.map { ($0, $0.setting.name, $0.text ?? "(not set)") }
    let nameWidth = rows.map(\.1.count).max() ?? 0
    let valueWidth = rows.map(\.2.count).filter { $0 <= 32 }.max() ?? 0
    var text = ""
    var group: SettingGroup?
    for (entry, name, value) in rows {
      if entry.setting.group != group {
        text += (group == nil ? "" : "\n") + entry.setting.group.rawValue + "\n"
        group = entry.setting.group
      }
      text += "  " + padded(name, to: nameWidth) + "  " + padded(value, to: valueWidth) + "  \(entry.origin)\n"
    }
    return text
  }

  /// For scripts: `{"data": {"value": null, "origin": "default"}, …}`, in the order of the table; a setting that is not
  /// set has the value null.
  public var json: String {
    let members = entries.map { entry in
      let value = entry.text.map { entry.setting.isNumeric ? JSONValue.number($0) : .string($0) }
      return JSONValue.Member(
        entry.setting.name, ["value": value ?? .null, "origin": .string(entry.origin.description)])
    }
    return JSONValue.object(members).indentedText
  }

  /// A configuration file that resolves to the same values, whatever the defaults become.
  public var yaml: String {
    entries.map { entry in
      entry.text.map { "\(entry.setting.name): \(ConfigurationFile.scalar($0))\n" } ?? "# \(entry.setting.name):\n"
    }.joined()
  }

  private func padded(_ text: String, to width: Int) -> String {
    text + String(repeating: " ", count: max(0, width - text.count))
  }
}
