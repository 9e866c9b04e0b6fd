import Foundation
import Fuzzing
import TestSupport
import Testing

/// What continuous integration can afford of fuzzing: the same inputs every time, found and new ones.
/// `Scripts/fuzz.sh` looks for new ones by what the code does.
@Suite struct FuzzingTests {
  /// Inputs of every target; the most they may take together is about ten seconds.
  private static func count(of target: FuzzTarget) -> Int {
    switch target {
    case .cifar, .configuration, .machines, .picture: 10_000
    case .imports: 2_000
    default: 20_000
    }
  }

  private func corpus(_ target: FuzzTarget) throws -> [[UInt8]] {
    let directory = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .appendingPathComponent("Fuzzing/Corpora/\(target.rawValue)")
    let names = try FileManager.default.contentsOfDirectory(atPath: directory.path).sorted()
    #expect(!names.isEmpty)
    return try names.map { Array(try Data(contentsOf: directory.appendingPathComponent($0))) }
  }

  @Test(arguments: FuzzTarget.allCases)
  func `mutated bytes for a parser: refused with a typed error, or read so that they encode the same again`(
    target: FuzzTarget
  ) throws {
    let corpus = try target.seeds + corpus(target)
    let began = Date()
    var (executions, digest) = (0, Set<Int>())
    func run(_ input: [UInt8]) {
      executions += 1
      digest.insert(input.hashValue)
      do {
        try input.withUnsafeBytes { try target.run($0) }
      } catch {
        Issue.record("\(target.rawValue): \(error): \(Data(input).base64EncodedString())")
      }
    }
    for input in corpus { run(input) }
    var mutator = Mutator(seed: 1)
    for _ in 0..<Self.count(of: target) { run(mutator.next(from: corpus, limit: target.largestInput)) }
    let seconds = Date().timeIntervalSince(began)
    #expect(digest.count > executions / 4, "the inputs repeat themselves")
    try Evidence.add(
      .bytes, target.rawValue, times: executions,
      observed: "\(digest.count) different ones from a corpus of \(corpus.count), all as expected, "
        + "in \(String(format: "%.1f", seconds)) s")
  }

  @Test func `the same seed gives the same inputs`() {
    let corpus: [[UInt8]] = [[1, 2, 3], Array("text".utf8)]
    var (first, second, other) = (Mutator(seed: 5), Mutator(seed: 5), Mutator(seed: 6))
    let inputs = (0..<100).map { _ in first.next(from: corpus, limit: 64) }
    #expect(inputs == (0..<100).map { _ in second.next(from: corpus, limit: 64) })
    #expect(inputs != (0..<100).map { _ in other.next(from: corpus, limit: 64) })
    #expect(inputs.allSatisfy { $0.count <= 64 })
  }
}
