import Diagnostics

/// Text of HTML: what it is made from cannot break out of it.
package struct HTML: Equatable {
  package private(set) var source: String

  private init(source: String) { self.source = source }

  /// A text as it stands, in elements and in quoted attributes. Control characters and those that turn the direction of
  /// writing are shown as escapes.
  package init(_ text: String) {
    var source = ""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "&": source += "&amp;"
      case "<": source += "&lt;"
      case ">": source += "&gt;"
      case "\"": source += "&quot;"
      case "'": source += "&#39;"
      case "\n": source += "\n"
      // Not characters of a document.
      case _ where scalar.value & 0xfffe == 0xfffe || (0xfdd0...0xfdef).contains(scalar.value): source += "\u{fffd}"
      default: source += printable(String(scalar))
      }
    }
    self.source = source
  }

  /// What another part of the program has made as markup: an SVG.
  package static func markup(_ source: String) -> HTML { HTML(source: source) }

  package static let empty = HTML(source: "")

  package static func + (left: HTML, right: HTML) -> HTML { HTML(source: left.source + right.source) }
  package static func += (left: inout HTML, right: HTML) { left.source += right.source }

  /// - Parameters:
  ///   - name: of the element, and `attributes`, their names: literals of this program. Their values are text.
  package static func element(_ name: String, _ attributes: KeyValuePairs<String, String>, _ content: HTML) -> HTML {
    let list = attributes.map { " \($0.key)=\"\(HTML($0.value).source)\"" }.joined()
    return HTML(source: "<\(name)\(list)>\(content.source)</\(name)>")
  }

  package static func element(_ name: String, _ attributes: KeyValuePairs<String, String>, _ text: String) -> HTML {
    element(name, attributes, HTML(text))
  }

  package static func element(_ name: String, _ content: HTML) -> HTML { element(name, [:], content) }

  package static func element(_ name: String, _ text: String) -> HTML { element(name, [:], text) }

  package static func joined(_ parts: [HTML]) -> HTML { HTML(source: parts.map(\.source).joined(separator: "\n")) }

  /// A table with a heading for each column, the first cell of each row being its name.
  package static func table(_ caption: String, head: [String], rows: [[HTML]]) -> HTML {
    let heads = head.map { element("th", ["scope": "col"], $0) }
    let lines = rows.map { row in
      element(
        "tr",
        joined(
          row.enumerated().map { index, cell in
            index == 0 ? element("th", ["scope": "row"], cell) : element("td", cell)
          }))
    }
    return element(
      "div", ["class": "wide", "tabindex": "0", "role": "region", "aria-label": caption],
      element(
        "table",
        joined([
          element("caption", caption), element("thead", element("tr", joined(heads))), element("tbody", joined(lines)),
        ])))
  }

  /// A picture that shrinks with the page, and scrolls on its own where it would become unreadable.
  package static func figure(_ svg: String) -> HTML { element("figure", ["class": "wide"], markup(svg)) }
}

/// A page that is one file: no script, no font and no picture from elsewhere, light or dark as the reader prefers, and
/// ready to be printed.
package struct HTMLPage {
  /// What every such page begins with; by it a later report knows what it may replace.
  package static let beginning = "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n" + generator
  private static let generator = "<meta name=\"generator\" content=\"descent report\">"

  package var title: String
  /// The part below the title, and the sections with their headings and the anchors of them.
  package var introduction: HTML
  package var sections: [(anchor: String, title: String, content: HTML)]

  package init(title: String, introduction: HTML, sections: [(anchor: String, title: String, content: HTML)]) {
    (self.title, self.introduction, self.sections) = (title, introduction, sections)
  }

  package var text: String {
    let links = sections.map { section in
      HTML.element("li", HTML.element("a", ["href": "#\(section.anchor)"], section.title))
    }
    let navigation =
      sections.count < 2
      ? HTML.empty : HTML.element("nav", ["aria-label": "Contents"], HTML.element("ul", HTML.joined(links)))
    let body = sections.map { section in
      HTML.element(
        "section", ["id": section.anchor, "aria-labelledby": "\(section.anchor)-title"],
        HTML.element("h2", ["id": "\(section.anchor)-title"], section.title) + section.content)
    }
    return """
      \(Self.beginning)
      <meta name="viewport" content="width=device-width, initial-scale=1">
      <meta name="color-scheme" content="light dark">
      <meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
      <title>\(HTML(title).source)</title>
      <style>
      \(Self.style)
      </style>
      </head>
      <body>
      <header>
      \(HTML.element("h1", title).source)
      \(introduction.source)
      </header>
      \(navigation.source)
      <main>
      \(HTML.joined(body).source)
      </main>
      <footer>Made by descent report, version \(HTML(DescentVersion.current).source).</footer>
      </body>
      </html>

      """
  }

  private static let style = """
    :root { --ground: #ffffff; --text: #1b1f24; --muted: #59616b; --line: #d5d9de; --panel: #f5f6f8; --link: #0060a0; }
    @media (prefers-color-scheme: dark) {
      :root { --ground: #16191d; --text: #e8ebee; --muted: #a9b1bb; --line: #363d45; --panel: #1f2328; --link: #6bb8f0; }
    }
    * { box-sizing: border-box; }
    body { margin: 0 auto; padding: 1.5rem; max-width: 64rem; background: var(--ground); color: var(--text);
      font: 16px/1.5 system-ui, "Helvetica Neue", Helvetica, Arial, "Liberation Sans", sans-serif; }
    h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .5rem; overflow-wrap: anywhere; }
    h2 { font-size: 1.25rem; margin: 2.5rem 0 .5rem; padding-top: .75rem; border-top: 1px solid var(--line);
      overflow-wrap: anywhere; }
    h3 { font-size: 1.05rem; margin: 1.5rem 0 .25rem; }
    p { margin: .5rem 0; max-width: 46rem; overflow-wrap: anywhere; }
    a { color: var(--link); }
    a:focus-visible, .wide:focus-visible, summary:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
    nav ul { margin: 1rem 0; padding: 0; list-style: none; display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; }
    .wide { overflow-x: auto; margin: .75rem 0; }
    .wide svg { display: block; width: 100%; height: auto; min-width: 34rem; max-width: 64rem; }
    table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
    caption { text-align: left; color: var(--muted); padding-bottom: .25rem; }
    th, td { padding: .25rem .9rem .25rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
    th { font-weight: 600; white-space: nowrap; }
    td { overflow-wrap: break-word; }
    thead th { color: var(--muted); }
    .definition, .default { color: var(--muted); }
    .notice { border-left: 4px solid #d55e00; padding: .25rem .75rem; background: var(--panel); }
    .facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .75rem; margin: 1rem 0; }
    .facts div { background: var(--panel); border-radius: .5rem; padding: .6rem .8rem; }
    .facts dt { color: var(--muted); font-size: .85rem; }
    .facts dd { margin: 0; font-size: 1.25rem; font-weight: 600; overflow-wrap: anywhere; }
    code, pre { font: .85rem/1.45 ui-monospace, "DejaVu Sans Mono", "Liberation Mono", monospace; }
    pre { background: var(--panel); padding: .75rem; border-radius: .5rem; overflow-x: auto; }
    code { overflow-wrap: anywhere; }
    footer { margin-top: 3rem; color: var(--muted); font-size: .85rem; }
    @media print {
      :root { --ground: #ffffff; --text: #000000; --muted: #444444; --line: #bbbbbb; --panel: #f2f2f2; --link: #000000; }
      body { max-width: none; padding: 0; font-size: 10pt; }
      nav { display: none; }
      .wide, pre { overflow: visible; }
      .wide svg { min-width: 0; }
      pre { white-space: pre-wrap; overflow-wrap: anywhere; }
      th { white-space: normal; }
      table { font-size: .75rem; }
      th, td { padding-right: .5rem; }
      h2, h3 { break-after: avoid; }
      figure, tr, .facts div { break-inside: avoid; }
    }
    """
}
