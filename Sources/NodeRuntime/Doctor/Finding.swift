import Diagnostics

/// What one check of `descent doctor` has found.
package struct Finding: Sendable {
  package enum Verdict: String, Sendable {
    case ok
    /// Runs work, but slower or less conveniently than they could.
    case warning
    /// Runs fail, or fail under some circumstances.
    case error
  }

  /// "large pages".
  package let check: String
  package let verdict: Verdict
  package let found: String
  /// What to do; nil where all is well.
  package let remedy: String?
  /// The exit status that the error asks for.
  package let status: ExitStatus

  /// A check that could be made.
  package enum Result {
    case fine(String)
    case poor(String, remedy: String)
  }

  /// Makes a check; what it throws is an error of the machine.
  package init(_ check: String, _ body: () throws(Failure) -> Result) {
    self.check = check
    do throws(Failure) {
      switch try body() {
      case .fine(let found): (verdict, self.found, remedy) = (.ok, found, nil)
      case .poor(let found, let remedy): (verdict, self.found, self.remedy) = (.warning, found, remedy)
      }
      status = .success
    } catch {
      var failure = error
      failure.remedy = nil
      (verdict, found, remedy, status) = (.error, failure.description, error.remedy, error.status)
    }
  }

  /// Two lines at most.
  package var text: String {
    let indentation = 9 + 21
    return verdict.rawValue.padded(to: 9) + check.padded(to: 21) + printable(found) + "\n"
      + (remedy.map { String(repeating: " ", count: indentation) + printable($0) + "\n" } ?? "")
  }

  package var json: JSONValue {
    [
      "check": .string(check), "verdict": .string(verdict.rawValue), "found": .string(found),
      "remedy": remedy.map { .string($0) } ?? .null,
    ]
  }
}
