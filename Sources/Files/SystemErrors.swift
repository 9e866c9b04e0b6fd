import Diagnostics
import Glibc

extension ErrorNumber {
  /// What `errno` says now.
  package static var last: ErrorNumber { ErrorNumber(errno) }

  /// "Permission denied".
  package var text: String {
    switch self {
    case .unsupportedByServer: "Operation not supported by the file server"
    case .takenOver: "another process has taken over the directory"
    default: String(cString: strerror(code))
    }
  }

  /// ENOTSUPP, a number of the kernel's own that network file systems let through; the C library has no name for it.
  private static let unsupportedByServer = ErrorNumber(524)

  /// Whether the file system does not offer what a call asked for.
  var isUnsupported: Bool { [ENOSYS, EOPNOTSUPP].contains(code) || self == .unsupportedByServer }

  /// Whether the file system, and not the disk or the user's permissions, refuses a symbolic link: EPERM on FAT, EIO or
  /// EACCES through some FUSE drivers and SMB servers.
  var isRefusalOfLinks: Bool { isUnsupported || [EPERM, EACCES, EINVAL, EIO].contains(code) }

  /// Whether the permissions of a file cannot be changed.
  var isRefusalOfPermissions: Bool { isUnsupported || code == EPERM }

  /// Whether a directory cannot be synchronized: EINVAL on SMB, EACCES for a directory that may be changed but not read.
  var isRefusalOfDirectorySynchronization: Bool {
    isUnsupported || [EINVAL, EBADF, EACCES, EPERM, EISDIR, ENOTTY].contains(code)
  }

  /// Whether the file system has no locks: Lustre without `-o flock`, NFS whose lock service does not run.
  var isRefusalOfLocks: Bool { isUnsupported || [ENOLCK, EINVAL, EBADF, ENOTTY].contains(code) }

  /// Whether a file cannot be mapped: FUSE with direct I/O, 9p, GPFS.
  var isRefusalOfMapping: Bool { isUnsupported || [ENODEV, EINVAL, EACCES, EPERM, EBADF].contains(code) }
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
      case ENOSPC, EDQUOT:
        (.cannotCreate, "Free some space (df, and df -i for the number of files); what was saved before is untouched")
      case _ where error.isUnsupported:
        (.cannotCreate, "The file system does not offer that; choose a directory on another one")
      case EACCES, EPERM, EROFS, EEXIST, ENOENT, ENOTDIR, EISDIR, ENAMETOOLONG, ELOOP: (.cannotCreate, nil)
      default: (.inputOutput, SystemLimits.remedy(for: error))
      }
    return Failure(status ?? usual, "cannot \(action): \(error.text)", remedy: remedy ?? advice)
  }

  /// A link in the place of a directory that is to be made.
  package static func danglingLink(_ path: String, _ target: String) -> Failure {
    Failure(
      .cannotCreate, "cannot create the directory \(path): it is a link to \(target), which leads to nothing",
      remedy: "Create the directory that the link names, or remove the link")
  }

  /// A file or directory that could not be read: "cannot read train.yaml: No such file or directory".
  ///
  /// - Parameter remedy: where it does not exist.
  package static func cannotRead(_ path: String, _ error: ErrorNumber, remedy: String? = nil) -> Failure {
    let status: ExitStatus =
      switch error.code {
      case ENOENT, ENOTDIR, EACCES, EPERM, ENAMETOOLONG, ELOOP: .missingInput  // defence: missing-data
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
