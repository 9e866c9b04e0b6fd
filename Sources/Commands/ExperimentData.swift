import ArgumentParser
import Datasets
import Diagnostics
import Experiments
import FoundationEssentials
import Optimization
import Reporting

extension Dataset {
  /// The first `limit` examples, or all.
  /// - Throws: `usage` if there are not so many.
  func first(_ limit: Int?) throws(Failure) -> [UInt32] {
    guard let limit else { return Array(0..<UInt32(count)) }
    guard limit <= count else {
      throw Failure(.usage, "--limit must be 1 to \(count), the training examples of \(directory), but is \(limit)")
    }
    return Array(0..<UInt32(limit))
  }

  /// The loss of a linear classifier over some of the examples.
  /// - Parameter meanImage: [D], in pixel units.
  func linearLoss(_ loss: Loss, over indices: [UInt32], meanImage: [Float]) throws(Failure) -> LossOverExamples {
    LossOverExamples(
      shape: ModelShape(classes: description.classes, pixels: description.pixels), loss: loss, examples: examples,
      indices: indices, meanImage: meanImage, kernel: try selectedKernel())
  }
}

extension WorkProgress {
  /// In the style that suits standard error.
  convenience init(_ noun: String, of total: Int) {
    self.init(
      noun, of: total,
      style: ProgressStyle(
        isQuiet: false, isTerminal: StandardError.isTerminal, environment: ProcessInfo.processInfo.environment))
  }
}

/// Numbers of examples: "1,16,all".
struct ExampleCounts: ExpressibleByArgument {
  /// Nil for all examples.
  private let counts: [Int?]

  init(_ counts: [Int?]) { self.counts = counts }

  init?(argument: String) {
    let parts = argument.split(separator: ",", omittingEmptySubsequences: false)
    counts = parts.map { $0 == "all" ? nil : Int($0) }
    guard zip(parts, counts).allSatisfy({ $0 == "all" || ($1 ?? 0) > 0 }) else { return nil }
  }

  var defaultValueDescription: String { counts.map { $0.map(String.init) ?? "all" }.joined(separator: ",") }

  /// The numbers, in the order in which they were given, each once.
  /// - Parameters:
  ///   - examples: all of them.
  ///   - option: for errors.
  /// - Throws: `usage` for a number that is larger.
  func resolved(examples: Int, option: String) throws(Failure) -> [Int] {
    var resolved: [Int] = []
    for count in counts.map({ $0 ?? examples }) where !resolved.contains(count) {
      guard count <= examples else {
        throw Failure(.usage, "\(option) must be 1 to \(examples), the training examples, or all, but one is \(count)")
      }
      resolved.append(count)
    }
    return resolved
  }
}
