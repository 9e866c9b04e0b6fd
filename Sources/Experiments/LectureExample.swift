import Diagnostics
import Optimization
import Reporting

/// A worked example of CS231n: the numbers that a slide or the notes print, and those that the code which trains finds.
public struct LectureExample: Sendable, Equatable {
  /// The lectures, by the titles of their notes.
  public enum Lecture: String, Sendable, CaseIterable {
    case imageClassification = "Image Classification"
    case linearClassification = "Linear Classification"
    case optimization = "Optimization: Stochastic Gradient Descent"
    case backpropagation = "Backpropagation, Intuitions"
    case neuralNetworks = "Neural Networks"
  }

  public let lecture: Lecture
  /// By which the page "The lectures in the code" names it: "svm-losses".
  public let name: String
  /// What is computed.
  public let what: String
  /// As they are printed: "2.9", "12.9".
  public let printed: [String]
  /// False where the lecture says only how they compare: then they are those of a closed form.
  public let isFromLecture: Bool
  /// In the same order.
  public let found: [Double]
  /// What computed them: "Loss.hinge".
  public let function: String
  /// What a reader of the lecture should know; nil for nothing.
  public let note: String?

  /// - Parameter printed: the numbers with spaces between them.
  package init(
    _ lecture: Lecture, _ name: String, _ what: String, printed: String, isFromLecture: Bool = true,
    found: [Double], by function: String, note: String? = nil
  ) {
    (self.lecture, self.name, self.what, self.function, self.note) = (lecture, name, what, function, note)
    self.printed = printed.split(separator: " ").map(String.init)
    (self.found, self.isFromLecture) = (found, isFromLecture)
  }

  /// Whether every number that was found rounds to the printed one.
  public var matches: Bool {
    printed.count == found.count
      && zip(printed, found).allSatisfy { printed, found in
        guard let expected = Double(printed) else { return false }
        // Half of the last printed digit, and the rounding of the decimal itself.
        return abs(found - expected) <= 0.5 * Self.lastDigit(of: printed) + 1e-12 * abs(expected)
      }
  }

  /// 0.01 for "2.04".
  private static func lastDigit(of printed: String) -> Double {
    (0..<Self.places(of: printed)).reduce(1) { digit, _ in digit / 10 }
  }

  private static func places(of printed: String) -> Int {
    printed.split(separator: ".").dropFirst().first?.count ?? 0
  }

  /// Every example, in the order of the lectures. The kernels compute their share in single precision.
  public static func all(kernel: KernelVariant) -> [LectureExample] {
    [distance(kernel)] + scores(kernel) + losses(kernel) + comparisons(kernel) + penalties + optimization + graphs
      + neuralNetworks(kernel)
  }
}

// MARK: - Reporting

extension LectureExample {
  package var json: JSONValue {
    [
      "name": .string(name), "lecture": .string(lecture.rawValue), "what": .string(what),
      "expected": .array(printed.map { .number($0) }),
      "expected_from": .string(isFromLecture ? "lecture" : "closed form"),
      "found": .array(found.map { .measurement($0) }),
      "computed_by": .string(function), "matches": .boolean(matches), "note": note.map(JSONValue.string) ?? .null,
    ]
  }

  /// One object.
  package static func json(_ examples: [LectureExample]) -> JSONValue {
    [
      "examples": .array(examples.map(\.json)), "count": .number(examples.count),
      "matching": .number(examples.count { $0.matches }),
    ]
  }

  /// What is computed, the printed numbers, and those that were found with two more digits.
  public var text: String {
    let numbers = zip(printed, found).map { printed, found in
      let places = Self.places(of: printed)
      // Whole numbers stay whole.
      return Display.decimal(found, places: found == found.rounded() ? places : places + 2)
    }
    let rows = [
      [isFromLecture ? "  lecture" : "  closed form", printed.joined(separator: ", ")],
      ["  found", numbers.joined(separator: ", ")], ["  by", function],
    ]
    let notes = (note.map { [["  note", $0]] } ?? []) + (matches ? [] : [["  DIFFERS"]])
    return "\(name): \(what)\n" + table(rows + notes)
  }

  /// All of them under the titles of the lectures.
  public static func text(_ examples: [LectureExample]) -> String {
    let parts = Lecture.allCases.map { lecture in
      let own = examples.filter { $0.lecture == lecture }.map(\.text)
      return ([lecture.rawValue + "\n"] + own).joined(separator: "\n")
    }
    return parts.joined(separator: "\n\n") + "\n\(examples.count { $0.matches }) of \(examples.count) match\n"
  }
}
