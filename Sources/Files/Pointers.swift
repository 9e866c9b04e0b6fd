import CLinux
import Diagnostics

// What a file system may lack, and what stands in its place.

extension FileSystem {
  /// Makes `path` a pointer to `target`, whatever link or file it was before: at every instant it is the old one or the
  /// new one. A pointer is a symbolic link or, where the file system has none, a file with the target as its text.
  package func replacePointer(_ path: String, target: String) throws(Failure) {
    try replace(path) { (temporary) throws(Failure) in
      do throws(ErrorNumber) {
        try retrying(try disk.makeSymbolicLink(temporary, target: target))
      } catch {
        if error.isRefusalOfLinks {  // defence: pointer-files
          try createDurably([(temporary, Array((target + "\n").utf8))])
        } else {
          throw .cannot("create the link \(temporary)", error)
        }
      }
    }
  }

  /// The target of a pointer (`replacePointer`), or of a link that a tool has stored as a file; nil for anything else.
  package func pointerTarget(_ path: String) -> String? {
    if let target = symbolicLinkTarget(path) { return target }
    guard kind(of: path) == .file else { return nil }  // defence: pointer-text fails
    guard let status = status(of: path), (1...4096).contains(status.byteCount),
      let bytes = try? read(path, limit: 4096), let text = String(validating: bytes, as: UTF8.self)
    else { return nil }
    let lines = text.utf8.split(separator: UInt8(ascii: "\n"))
    return lines.count == 1 && !text.utf8.contains(0) ? String(Substring(lines[0])) : nil
  }

  /// The directory that a pointer in the form of a file leads to; any other path as it is, without slashes at its end.
  package func followingPointer(_ path: String) -> String {
    var path = path
    while path.utf8.count > 1, path.utf8.last == UInt8(ascii: "/") { path = String(path.utf8.dropLast()) ?? path }
    guard kind(of: path) == .file, let target = pointerTarget(path) else { return path }
    let (parent, _) = Self.split(path)
    let place = target.hasPrefix("/") ? target : parent == "." ? target : "\(parent)/\(target)"
    return kind(of: place, followingLinks: true) == .directory ? place : path
  }

  /// - Throws: `missingInput` where a path leads to something that may not be read, or cannot be followed; nothing where
  ///   it leads to nothing.
  package func requireReadableIfPresent(_ path: String) throws(Failure) {
    do throws(ErrorNumber) {
      disk.close(try retrying(try disk.open(path, followingLinks: true)))
    } catch {
      guard error != .notFound, error != .notADirectory else { return }  // defence: unreadable fails
      throw .cannotRead(path, error)
    }
  }

  /// Whether only the kernel of this host can change what lies at `path`, so that its locks exclude every other process. On
  /// network and FUSE file systems another host, or another mount, may do so without seeing the locks that are held here.
  ///
  /// - Parameter path: of something that exists; anything else is not local.
  package func isLocal(_ path: String) -> Bool { Self.localKinds.contains(UInt64(descent_file_system_kind(path))) }

  /// As statfs(2) names them: ext2 to ext4, XFS, Btrfs, tmpfs, overlay, F2FS, ZFS, bcachefs, ramfs, JFS, NILFS, FAT, exFAT,
  /// NTFS, eCryptfs and ReiserFS.
  private static let localKinds: Set<UInt64> = [
    0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994, 0x794C_7630, 0xF2F5_2010, 0x2FC1_2FC1, 0xCA45_1A4E, 0x8584_58F6,
    0x3153_464A, 0x3434, 0x4D44, 0x2011_BAB0, 0x7366_746E, 0xF15F, 0x5265_4973,
  ]

  /// Why the names in a directory cannot be made durable; nil where they can.
  package func reasonAgainstSynchronizing(_ directory: String) -> String? {
    do throws(ErrorNumber) {
      let descriptor = try retrying(try disk.open(directory, followingLinks: true))
      defer { disk.close(descriptor) }
      try disk.synchronize(descriptor)
      return nil
    } catch {
      return error.isRefusalOfDirectorySynchronization ? error.text : nil
    }
  }

  /// Why no symbolic link can be made in a directory; nil where it can.
  package func reasonAgainstLinks(in directory: String) -> String? {
    let path = temporaryPath(for: "\(directory)/link")
    do throws(ErrorNumber) {
      try retrying(try disk.makeSymbolicLink(path, target: "."))
      try retrying(try disk.unlink(path))
      return nil
    } catch {
      return error.isRefusalOfLinks ? error.text : nil
    }
  }
}
