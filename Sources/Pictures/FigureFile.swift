import Diagnostics
import Files
import Glibc

extension Figure {
  /// How the colours are chosen.
  public enum Theme: String, Sendable, CaseIterable {
    case light, dark
  }

  /// Returns if a picture can be written there, as far as can be told without writing: for a command to call before its work.
  ///
  /// - Throws: `usage` for a name that ends neither in `.svg` nor in `.png`; `cannotCreate` where the directory does not
  ///   exist or may not be written to.
  public static func checkPath(_ path: String) throws(Failure) {
    _ = try FileFormat(path)
    let directory = FileSystem.split(path).directory
    let remedy = "Choose a directory that exists and that may be written to"
    let kind = FileSystem().kind(of: directory, followingLinks: true)
    guard kind == .directory else {
      let error = ErrorNumber(kind == nil ? ENOENT : ENOTDIR)
      throw .cannot("create \(path)", error, status: .cannotCreate, remedy: remedy)
    }
    guard access(directory, W_OK | X_OK) == 0 else {
      throw .cannot("create \(path)", status: .cannotCreate, remedy: remedy)
    }
    guard FileSystem().kind(of: path, followingLinks: true) != .directory else {
      throw .cannot("create \(path)", ErrorNumber(EISDIR), status: .cannotCreate)
    }
  }

  /// Writes the picture to a file, replacing one that is there.
  ///
  /// - Parameters:
  ///   - path: Its extension chooses the format, `.svg` or `.png`.
  ///   - theme: The colours. Where it is nil, an SVG follows the reader's preference and a PNG is light.
  /// - Throws: `usage` for another extension, `cannotCreate` or `inputOutput` where the file cannot be written.
  public func write(to path: String, theme: Theme? = nil) throws(Failure) {
    switch try FileFormat(path) {
    case .svg: try FileSystem().replace(path, with: svg(theme: theme))
    case .png: try FileSystem().replace(path, with: png(theme: theme ?? .light))
    }
  }

  private enum FileFormat: String {
    case svg, png

    init(_ path: String) throws(Failure) {
      let name = FileSystem.split(path).name.lowercased()
      guard let format = [FileFormat.svg, .png].first(where: { name.hasSuffix("." + $0.rawValue) }) else {
        throw Failure(.usage, "a picture must end in .svg or .png, but is \(printable(path))")
      }
      self = format
    }
  }
}
