import Diagnostics
import RunConfiguration

/// The pages of a program in the language of man(7): one for itself and one for each subcommand, from the same declarations
/// as the help.
struct Manual {
  struct Page {
    /// "descent-train".
    let name: String
    let text: String
  }

  /// The program's own first.
  private(set) var pages: [Page] = []
  private let date: String

  /// - Parameter command: as ArgumentParser describes it (`ToolInfoV0`).
  init(_ command: JSONFields, date: String) throws(Failure) {
    self.date = date
    try add(command, above: [])
  }

  private mutating func add(_ command: JSONFields, above: [String]) throws(Failure) {
    let name: String = try command["commandName"]
    let shown: Bool = command.contains("shouldDisplay") ? try command["shouldDisplay"] : true
    guard shown, name != "help" else { return }
    let path = above + [name]
    let index = pages.count
    let subcommands =
      command.contains("subcommands") ? try command.objects("subcommands") { (field) throws(Failure) in field } : []
    pages.append(Page(name: path.joined(separator: "-"), text: ""))
    for subcommand in subcommands { try add(subcommand, above: path) }
    let below = try subcommands.map { (subcommand) throws(Failure) -> (name: String, abstract: String) in
      (try subcommand["commandName"], try Self.text("abstract", of: subcommand))
    }
    let page = pages[index].name
    let children = pages[(index + 1)...].map(\.name)
    let visible = below.filter { children.contains("\(page)-\($0.name)") }
    let related = children + (above.isEmpty ? [] : [above.joined(separator: "-")])
    pages[index] = Page(name: page, text: try text(of: command, path, visible, related))
  }

  private func text(
    of command: JSONFields, _ path: [String], _ subcommands: [(name: String, abstract: String)], _ related: [String]
  ) throws(Failure) -> String {
    let page = path.joined(separator: "-")
    let abstract = try Self.text("abstract", of: command).trimming { $0 == "." }
    let prose = Prose(try Self.text("discussion", of: command))
    let arguments =
      command.contains("arguments")
      ? try command.objects("arguments") { (fields) throws(Failure) in try ManualArgument(fields) }.compactMap(\.self)
      : []
    var roff = Roff()
    roff.title(page, date)
    roff.section("NAME")
    roff.raw("\(Roff.escaped(page)) \\-")
    roff.fill(abstract.prefix(1).lowercased() + abstract.dropFirst())
    roff.section("SYNOPSIS")
    let positional = arguments.filter { $0.kind == .positional }.map(\.synopsis)
    let options = arguments.contains { $0.kind == .option && !$0.isStandard } ? ["[\\fIoptions\\fR]"] : []
    let inner = subcommands.isEmpty ? [] : ["\\fIsubcommand\\fR"]
    roff.raw(
      (["\\fB\(Roff.escaped(path.joined(separator: " ")))\\fR"] + inner + options + positional).joined(separator: " "))
    roff.section("DESCRIPTION")
    roff.paragraphs(prose.description.isEmpty ? [.text(abstract + ".")] : prose.description)
    if !subcommands.isEmpty {
      roff.section("COMMANDS")
      for subcommand in subcommands { roff.item("\\fB\(Roff.escaped(subcommand.name))\\fR", subcommand.abstract) }
    }
    roff.options(arguments)
    if !prose.status.isEmpty || path.count == 1 {
      roff.section("EXIT STATUS")
      if path.count == 1 { roff.exitStatuses() } else { roff.paragraphs(prose.status) }
    }
    let settings = Set(arguments.compactMap(\.longName)).intersection(SettingTable.all.map(\.name))
    if path.count == 1 || !settings.isEmpty { roff.environment(path.count == 1 ? nil : settings) }
    if !prose.examples.isEmpty {
      roff.section("EXAMPLES")
      roff.paragraphs(prose.examples)
    }
    if !related.isEmpty {
      roff.section("SEE ALSO")
      roff.raw(related.map { "\\fB\(Roff.escaped($0))\\fR(1)" }.joined(separator: ",\n"))
    }
    return roff.text
  }

  /// Empty where the field is missing.
  fileprivate static func text(_ name: String, of fields: JSONFields) throws(Failure) -> String {
    fields.contains(name) ? try fields[name] : ""
  }
}

/// An option, flag or argument, as far as the manual names it.
struct ManualArgument {
  enum Kind: String { case positional, option }

  let kind: Kind
  /// "Cluster"; nil for those without a heading.
  let section: String?
  /// In bold and italics: "--run-dir path".
  let heading: String
  let synopsis: String
  let help: String
  let longName: String?
  /// --help and --version.
  var isStandard: Bool { ["help", "version"].contains(longName) }

  /// Nil for one that the help does not show either.
  init?(_ fields: JSONFields) throws(Failure) {
    guard try fields["shouldDisplay"] as Bool else { return nil }
    let kind: String = try fields["kind"]
    self.kind = kind == "positional" ? .positional : .option
    section = fields.contains("sectionTitle") ? try fields["sectionTitle"] : nil
    let names =
      fields.contains("names")
      ? try fields.objects("names") { (name) throws(Failure) -> String in
        let (kind, text): (String, String) = (try name["kind"], try name["name"])
        return (kind == "long" ? "--" : "-") + text
      } : []
    longName = names.first { $0.hasPrefix("--") }.map { String($0.dropFirst(2)) }
    let value = "\\fI\(Roff.escaped(try Manual.text("valueName", of: fields)))\\fR"
    let bold = names.map { "\\fB\(Roff.escaped($0))\\fR" }.joined(separator: ", ")
    heading = self.kind == .positional ? value : bold + (kind == "option" ? " \(value)" : "")
    let (isOptional, isRepeating): (Bool, Bool) = (try fields["isOptional"], try fields["isRepeating"])
    let repeated = value + (isRepeating ? " ..." : "")
    synopsis = isOptional ? "[\(repeated)]" : repeated
    let defaultValue = try Manual.text("defaultValue", of: fields)
    let isNamed = kind == "flag" || defaultValue.isEmpty
    help =
      try Manual.text("abstract", of: fields) + (isNamed ? "" : " Default: \(defaultValue).")
      + (Manual.text("discussion", of: fields).isEmpty ? "" : " " + Manual.text("discussion", of: fields))
  }
}

/// The text of a help, in its parts.
private struct Prose {
  enum Paragraph {
    case text(String)
    /// As it stands.
    case literal([Substring])
  }

  private(set) var description: [Paragraph] = []
  private(set) var status: [Paragraph] = []
  private(set) var examples: [Paragraph] = []

  init(_ text: String) {
    var block: [Substring] = []
    let lines: [Substring] = text.split(separator: "\n", omittingEmptySubsequences: false)
    for line in lines + [Substring()] {
      guard line.isEmpty else {
        block.append(line)
        continue
      }
      if !block.isEmpty { add(block) }
      block = []
    }
  }

  private mutating func add(_ block: [Substring]) {
    if block[0].hasPrefix("Examples:") {
      examples.append(.literal(block.dropFirst().map { $0.dropFirst(2) }))
    } else if block[0].hasPrefix("Exit status:") {
      // "0 done, …" after the heading.
      status.append(.text(Self.joined(block).dropFirst("Exit status:".count).trimming(\.isWhitespace)))
    } else if block[0].hasPrefix("Environment:") {
      // From the table.
      return
    } else if block.allSatisfy({ $0.hasPrefix("  ") }) {
      description.append(.literal(block.map { $0.dropFirst(2) }))
    } else {
      description.append(.text(Self.joined(block)))
    }
  }

  private static func joined(_ block: [Substring]) -> String { block.joined(separator: " ") }
}

/// A page that is being written.
private struct Roff {
  private(set) var text = ".\\\" Made by descent write-help.\n"

  /// What shows as `text`, in the middle of a line.
  static func escaped(_ text: some StringProtocol) -> String {
    var result = ""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\\": result += "\\(rs"
      case "-": result += "\\-"
      case "'": result += "\\(aq"
      case "`": result += "\\(ga"
      case "^": result += "\\(ha"
      case "~": result += "\\(ti"
      case _ where scalar.isASCII: result.unicodeScalars.append(scalar)
      default:
        let digits = String(scalar.value, radix: 16, uppercase: true)
        result += "\\[u" + String(repeating: "0", count: max(0, 4 - digits.count)) + digits + "]"
      }
    }
    return result
  }

  mutating func title(_ page: String, _ date: String) {
    raw(".TH \(Self.escaped(page.uppercased())) 1 \"\(date)\" \"Descent \(DescentVersion.current)\" \"Descent Manual\"")
  }

  mutating func section(_ name: String) { raw(".SH \(name)") }

  mutating func raw(_ line: String) { text += line + "\n" }

  mutating func item(_ heading: String, _ help: String) {
    raw(".TP\n\(heading)")
    fill(help)
  }

  mutating func paragraphs(_ paragraphs: [Prose.Paragraph]) {
    for (index, paragraph) in paragraphs.enumerated() {
      if index > 0 { raw(".PP") }
      switch paragraph {
      case .text(let text): fill(text)
      case .literal(let lines):
        raw(".RS 4\n.nf")
        for line in lines { raw(Self.protected(Self.escaped(line))) }
        raw(".fi\n.RE")
      }
    }
  }

  /// Lines of about 75 columns; what stands between backquotes in bold.
  mutating func fill(_ prose: String) {
    let parts = prose.split(separator: "`", omittingEmptySubsequences: false)
    let marked = parts.enumerated().map { index, part in
      index % 2 == 1 && index < parts.count - 1 ? "\\fB\(Self.escaped(part))\\fR" : Self.escaped(part)
    }
    var line = ""
    for word in marked.joined().split(whereSeparator: \.isWhitespace) {
      if !line.isEmpty, line.count + word.count + 1 > 75 {
        raw(Self.protected(line))
        line = ""
      }
      line += (line.isEmpty ? "" : " ") + word
    }
    if !line.isEmpty { raw(Self.protected(line)) }
  }

  /// A line that begins with a full stop would be a request.
  private static func protected(_ line: String) -> String { line.hasPrefix(".") ? "\\&" + line : line }

  mutating func options(_ arguments: [ManualArgument]) {
    var sections: [String?] = []
    for argument in arguments where !sections.contains(argument.section) { sections.append(argument.section) }
    guard !arguments.isEmpty else { return }
    section("OPTIONS")
    for section in sections {
      if let section { raw(".SS \(Self.escaped(section))") }
      for argument in arguments where argument.section == section { item(argument.heading, argument.help) }
    }
  }

  mutating func exitStatuses() {
    for status in ExitStatus.allCases { item("\\fB\(status.rawValue)\\fR", status.phrase) }
  }

  /// - Parameter settings: their names; nil for all, and the other variables.
  mutating func environment(_ settings: Set<String>?) {
    section("ENVIRONMENT")
    if settings == nil {
      for variable in ProgramVariable.all { item("\\fB\(Self.escaped(variable.name))\\fR", variable.meaning + ".") }
    } else {
      fill(
        "A setting is its default, a line of the configuration file, a variable or a flag, in rising precedence. These are "
          + "the variables:")
    }
    for setting in SettingTable.all where settings?.contains(setting.name) ?? true {
      item("\\fB\(setting.environmentName)\\fR", "\(setting.help). Takes \(setting.expectation).")
    }
  }
}
