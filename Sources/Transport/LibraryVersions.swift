import CSodium
import CZeroMQ

/// Of the libraries that are loaded.
package enum LibraryVersions {
  /// "4.3.4".
  package static var zeroMQ: String {
    var (major, minor, patch): (Int32, Int32, Int32) = (0, 0, 0)
    zmq_version(&major, &minor, &patch)
    return "\(major).\(minor).\(patch)"
  }

  /// "1.0.18".
  package static var sodium: String { String(cString: sodium_version_string()) }
}
