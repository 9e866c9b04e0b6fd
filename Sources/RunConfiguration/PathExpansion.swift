import Diagnostics
import Glibc

/// The path that a text stands for which no shell has read: `~` and `~user` at its beginning are home directories. Nil if
/// there is no such user.
public func expandingHome(_ path: String, _ environment: [String: String]) -> String? {
  guard path.hasPrefix("~") else { return path }
  let end = path.firstIndex(of: "/") ?? path.endIndex
  let user = String(path[path.index(after: path.startIndex)..<end])
  let named = user.isEmpty ? environment["HOME"].flatMap { $0.isEmpty ? nil : $0 } : nil
  let entry = user.isEmpty ? getpwuid(getuid()) : getpwnam(user)
  return (named ?? entry.map { String(cString: $0.pointee.pw_dir) }).map { $0 + path[end...] }
}

/// A path of a file or variable, where `$NAME` and `${NAME}` stand for variables as well, and `$$` for a dollar sign.
///
/// - Parameter place: for errors: "train.yaml:1: data".
/// - Throws: `badConfiguration` for a user or variable that does not exist.
func expanding(_ path: String, _ environment: [String: String], at place: String) throws(Failure) -> String {
  guard let text = expandingHome(path, environment) else {
    throw Failure(
      .badConfiguration, "\(place) is \"\(path.prefix(100))\", but there is no such user, or no home of it",
      remedy: "For a directory whose name begins with `~` write ./~")
  }
  let reference = /\$(?:\$|(?<bare>[A-Za-z_][A-Za-z0-9_]*)|\{(?<braced>[A-Za-z_][A-Za-z0-9_]*)\})/
  var missing: Substring?
  let expanded = text.replacing(reference) { match in
    guard let name = match.bare ?? match.braced else { return "$" }
    let value = environment[String(name)] ?? ""
    if value.isEmpty { missing = missing ?? name }
    return value
  }
  guard let missing else { return expanded }
  throw Failure(
    .badConfiguration, "\(place) is \"\(path.prefix(100))\", but the variable \(missing) is not set",
    remedy: "Set it, or write $$ for a dollar sign")
}
