import Diagnostics
import Publishing
import TestSupport
import Testing

@Suite struct HTMLTests {
  @Test func `a text cannot leave its element or its attribute, nor hide what it is`() {
    let hostile = "</td><script>alert('1')</script>&\"\u{202e}\u{0}\u{1b}[2J\u{ffff}"
    let shown =
      #"&lt;/td&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;&quot;\u{202e}\u{0}\u{1b}[2J"# + "\u{fffd}"
    #expect(HTML(hostile).source == shown)
    #expect(HTML.element("td", ["title": hostile], hostile).source == "<td title=\"\(shown)\">\(shown)</td>")
    #expect(HTML("two\nlines, é 😀").source == "two\nlines, é 😀")
  }

  @Test func `the first cell of a row is its heading`() {
    let table = HTML.table("what", head: ["a", "b"], rows: [[HTML("1"), HTML("<")]]).source
    #expect(table.contains(#"<th scope="row">1</th>"# + "\n<td>&lt;</td>"))
    #expect(table.contains(#"<th scope="col">a</th>"#) && table.contains("<caption>what</caption>"))
  }

  @Test func `a page names no place to load from, and begins with what a later report recognizes`() {
    let page = HTMLPage(
      title: "<i>", introduction: .empty, sections: [("one", "One", .empty), ("two", "Two <", .empty)]
    ).text
    #expect(page.hasPrefix(HTMLPage.beginning) && page.hasSuffix("</html>\n"))
    #expect(page.contains("<title>&lt;i&gt;</title>") && page.contains(##"<a href="#two">Two &lt;</a>"##))
    for word in ["http:", "https:", "//", "url(", "@import", "<script", "<link"] {
      #expect(!page.contains(word), "\(word)")
    }
    for rule in ["default-src 'none'", "prefers-color-scheme: dark", "@media print"] { #expect(page.contains(rule)) }
  }
}

@Suite struct OutputFileTests {
  private func status(_ body: () throws(Failure) -> Void) -> Diagnostics.ExitStatus? {
    do throws(Failure) {
      try body()
      return nil
    } catch {
      return error.status
    }
  }

  @Test func `only what the command has written is replaced`() throws {
    let directory = TemporaryDirectory()
    let own = try directory.write(Array((HTMLPage.beginning + "rest").utf8), to: "own.html")
    let empty = try directory.write([], to: "empty.html")
    let foreign = try directory.write(Array("<!DOCTYPE html>".utf8), to: "foreign.html")
    for path in [own, empty, directory.path + "/new.htm"] {
      #expect(status { () throws(Failure) in try OutputFile.page(path).write("x") } == nil)
    }
    #expect(status { () throws(Failure) in _ = try OutputFile.page(foreign) } == .cannotCreate)
    #expect(status { () throws(Failure) in _ = try OutputFile.page(directory.path + "/x.txt") } == .usage)
    #expect(status { () throws(Failure) in _ = try OutputFile.page(directory.path + "/.html") } == .usage)
    #expect(status { () throws(Failure) in _ = try OutputFile.page(own + "/x.html") } == .cannotCreate)
    #expect(status { () throws(Failure) in _ = try OutputFile.table(own) } == .usage)
    _ = try directory.write([], to: "directory.html/x")
    #expect(
      status { () throws(Failure) in _ = try OutputFile.page(directory.path + "/directory.html") } == .cannotCreate)
  }
}
