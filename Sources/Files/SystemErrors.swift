import Diagnostics
import Glibc

extension ErrorNumber {
  /// What `errno` says now.
  package static var last: ErrorNumber { ErrorNumber(errno) }

  /// "Permission denied".
  package var text: String { self == .isALink ? "a symbolic link" : String(cString: strerror(code)) }
}

extension Failure {
  /// A system call that should have changed something: "cannot create runs/x: Permission denied".
  ///
  /// - Parameters:
  ///   - status: nil for `cannotCreate` where the place or its free space is the reason, `inputOutput` otherwise.
  package static func cannot(
    _ action: String, _ error: ErrorNumber = .last, status: ExitStatus? = nil, remedy: String? = nil
  ) -> Failure {
    let (usual, advice): (ExitStatus, String?) =
      switch error.code {
      case ENOSPC, EDQUOT: (.cannotCreate, "Free some space; what was saved before is untouched")
      case EACCES, EPERM, EROFS, EEXIST, ENOENT, ENOTDIR, EISDIR, ENAMETOOLONG, ELOOP: (.cannotCreate, nil)
      default: (.inputOutput, SystemLimits.remedy(for: error))
      }
    return Failure(status ?? usual, "cannot \(action): \(error.text)", remedy: remedy ?? advice)
  }

  /// A file or directory that could not be read: "cannot read train.yaml: No such file or directory".
  ///
  /// - Parameter remedy: where it does not exist.
  package static func cannotRead(_ path: String, _ error: ErrorNumber, remedy: String? = nil) -> Failure {
    let status: ExitStatus =
      switch error.code {
      case ENOENT, ENOTDIR, EACCES, EPERM, ENAMETOOLONG: .missingInput  // defence: missing-data
      case ELOOP: .badData
      default: .inputOutput
      }
    return Failure(
      status, "cannot read \(path): \(error.text)",
      remedy: error == .notFound ? remedy : SystemLimits.remedy(for: error))
  }
}

/// The result of a system call, unless it is negative.
@discardableResult
func check<Result: BinaryInteger>(_ result: Result) throws(ErrorNumber) -> Result {
  guard result >= 0 else { throw .last }
  return result
}

/// Makes a call again as long as a signal interrupts it.
@discardableResult
func retrying<Result>(_ call: @autoclosure () throws(ErrorNumber) -> Result) throws(ErrorNumber) -> Result {
  while true {
    do throws(ErrorNumber) {
      return try call()
    } catch {
      if error != .interrupted { throw error }
    }
  }
}
