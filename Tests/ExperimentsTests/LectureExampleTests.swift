import Diagnostics
import Experiments
import Foundation
import Optimization
import Testing

@Suite struct LectureExampleTests {
  private let examples = LectureExample.all(kernel: .best)

  @Test func `every number rounds to the one that the lecture prints`() {
    for example in examples {
      #expect(example.matches, "\(example.name): \(example.printed), found \(example.found)")
      #expect(!example.found.isEmpty && !example.function.isEmpty)
    }
    #expect(Set(examples.map(\.name)).count == examples.count)
    #expect(examples.count > 30)
  }

  @Test func `they have more digits than are printed, and these are right`() throws {
    func found(_ name: String) throws -> [Double] { try #require(examples.first { $0.name == name }).found }
    func expect(_ name: String, _ values: [Double], within error: Double = 1e-13) throws {
      let found = try found(name)
      #expect(found.count == values.count, "\(name)")
      #expect(zip(found, values).allSatisfy { abs($0 - $1) <= error * max(1, abs($1)) }, "\(name): \(found)")
    }
    // By the C library.
    let probability = exp(3.2) / (exp(3.2) + exp(5.1) + exp(-1.7))
    try expect("softmax-loss", [-log(probability)])
    try expect("softmax-loss-base-10", [-log10(probability)])
    try expect("softmax-loss-kernel", [-log(probability)], within: 1e-6)
    try expect("softmax-probabilities", [exp(3.2), exp(5.1), exp(-1.7)])
    try expect("svm-losses", [2.9, 0, 12.9, 15.8 / 3])
    try expect("svm-losses-kernel", [2.9, 0, 12.9, 15.8 / 3], within: 1e-6)
    try expect("first-losses", [2, 9, log(10)])
    try expect("cat-scores", [-96.8, 437.9])
    try expect("cat-ship-row", [0.25 * 231 + 0.2 * 24 - 0.3 * 2])
    try expect("cat-scores-bias-trick", [-96.8, 437.9])
    try expect("cat-scores-kernel", [-96.8, 437.9], within: 1e-6)
    try expect(
      "softmax-never-satisfied",
      [
        log(1 + exp(-12) + exp(-7)), log(1 + 2 * exp(-1)), 0, log(1 + exp(-12.1) + exp(-7.1)), log(1 + 2 * exp(-1.1)),
        0,
      ])
    let s = 1 / (1 + exp(-1.0))
    try expect("sigmoid-gate", [s, s * (1 - s)])
    try expect("sigmoid-activation", [s, s * (1 - s)])
    try expect("sigmoid-kernel", [s, s * (1 - s)], within: 1e-6)
    try expect("graph-sigmoid-inputs", [-1, 2, -2, -3, 1].map { $0 * s * (1 - s) })
    try expect("numerical-gradient", [-2.5, 0.6, 0], within: 1e-9)
  }

  @Test func `all instruction sets find the same bits`() {
    let results = KernelVariant.supported.map { LectureExample.json(LectureExample.all(kernel: $0)).compactText }
    #expect(Set(results).count == 1)
  }

  @Test func `a difference in the last printed digit is noticed, as is a number too few`() {
    func matches(_ printed: String, _ found: [Double]) -> Bool {
      LectureExample(.optimization, "x", "x", printed: printed, found: found, by: "x").matches
    }
    #expect(matches("2.04", [2.0404]) && matches("2.04", [2.035]) && !matches("2.04", [2.0451]))
    #expect(matches("-0.20 164.0", [-0.1966, 164.02]) && !matches("-0.20", [0.1966]))
    #expect(!matches("456", [455.4]) && matches("456", [456]))
    #expect(!matches("1 2", [1]) && !matches("1", [1, 2]) && !matches("1", [.nan]) && !matches("one", [1]))
  }

  @Test func `the text has every example below the title of its lecture`() throws {
    let text = LectureExample.text(examples)
    for example in examples { #expect(text.contains("\(example.name): ")) }
    let places = try LectureExample.Lecture.allCases.map { try #require(text.range(of: $0.rawValue)).lowerBound }
    #expect(places == places.sorted())
    #expect(text.hasSuffix("\(examples.count) of \(examples.count) match\n"))
    // 5.27 with two more digits; whole numbers stay whole.
    #expect(text.contains("2.900, 0, 12.900, 5.2667\n") && !text.contains("DIFFERS"))
  }
}

/// The page "The lectures in the code" and what it refers to.
@Suite struct LecturesPageTests {
  private let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()

  private func text(_ path: String) throws -> String {
    try String(contentsOf: root.appending(path: path), encoding: .utf8)
  }

  private func sources(in directory: String) throws -> String {
    let files = try #require(FileManager.default.enumerator(atPath: root.appending(path: directory).path))
    let names = files.compactMap { $0 as? String }.filter { $0.hasSuffix(".swift") }
    return try names.sorted().map { try text("\(directory)/\($0)") }.joined()
  }

  private func page() throws -> String { try text("Sources/Descent.docc/LecturesInTheCode.md") }

  @Test func `it names every worked example, and no other`() throws {
    let page = try page()
    let section = try #require(page.split(separator: "\n## ").first { $0.hasPrefix("Worked examples\n") })
    let named = section.matches(of: /\n\| `([a-z0-9-]+)` \|/).map { String($0.1) }
    #expect(named == LectureExample.all(kernel: .best).map(\.name))
  }

  @Test func `each test suite that it names exists`() throws {
    let lines = try sources(in: "Tests").split(separator: "\n").filter { $0.hasSuffix("Tests {") }
    let suites = Set(try page().matches(of: /`([A-Za-z0-9]+Tests)`/).map { String($0.1) })
    #expect(suites.count > 20)
    for suite in suites.sorted() { #expect(lines.contains { $0.hasSuffix("struct \(suite) {") }, "\(suite)") }
  }

  @Test func `each command that it names exists`() throws {
    let commands = try sources(in: "Sources/Commands")
    let named = try page().matches(of: /`descent ([a-z-]+)/).map { String($0.1) }
    #expect(named.count > 5)
    for name in named { #expect(commands.contains("commandName: \"\(name)\""), "\(name)") }
  }

  @Test func `the first page leads to it`() throws {
    #expect(try text("Sources/Descent.docc/Descent.md").contains("<doc:LecturesInTheCode>"))
  }
}
