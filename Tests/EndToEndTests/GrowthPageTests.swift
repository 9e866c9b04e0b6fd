import Foundation
import TestSupport
import Testing

/// The page on larger clusters, whose tables are made by the benchmark.
@Suite struct GrowthPageTests {
  private static let root = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

  private func tables(of file: String) throws -> [String] {
    let output = try Program.run("descent-benchmark", ["cluster-tables", file])
    return output.standardOutput.components(separatedBy: "\n\n").filter { $0.hasPrefix("|") }
      .map { $0.components(separatedBy: "\n").filter { $0.hasPrefix("|") }.joined(separator: "\n") }
  }

  @Test func `each table of the page is the one that the model makes of the kept measurement`() throws {
    let tables = try tables(of: Self.root.appendingPathComponent("Tests/Evidence/cluster.json").path)
    #expect(tables.count == 10)
    let page = try String(
      contentsOf: Self.root.appendingPathComponent("Sources/Descent.docc/Growth.md"), encoding: .utf8)
    for table in tables { #expect(page.contains("\n\n\(table)\n\n"), "the page lacks:\n\(table)") }
  }

  @Test func `a file without a measurement of clusters is refused, and the command that makes one is named`() throws {
    try TemporaryDirectory.with { directory in
      let file = directory.appendingPathComponent("benchmark.json")
      try Data(#"{"machine": {"cores": 2}, "groups": []}"#.utf8).write(to: file)
      let output = try Program.run("descent-benchmark", ["cluster-tables", file.path], expecting: 65)
      #expect(output.standardError.contains("Scripts/benchmark.sh --json"))
    }
  }
}
