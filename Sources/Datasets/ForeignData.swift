import Diagnostics
import Files

/// Data that training does not read, recognized by names so that an error can say what they are and what to do.
struct ForeignData {
  /// "the Python version of CIFAR-10".
  let what: String
  /// A sentence without a full stop.
  let remedy: String

  private static let combining =
    "Write images and labels into one file with numpy.savez(\"FILE.npz\", images=..., labels=...), and import it: descent "
    + "data import FILE.npz DIR"

  /// What is in a directory that holds no data set; nil for nothing that is known.
  init?(in directory: String, names: [String]) {
    if let importable = Self.importable(ImportSource(path: directory, names: names)) {
      self = importable
    } else if names.contains("data_batch_1.mat") || names.contains("cifar-10-batches-mat") {
      self.init(
        what: "the MATLAB version of CIFAR-10", remedy: "Get the binary version with Scripts/fetch-cifar10.sh DIR")
    } else if let archive = names.first(where: Self.isArchive) {
      self.init(what: "an archive", remedy: Self.unpacking(directory + "/" + archive))
    } else if let picture = names.first(where: ImageFile.hasPictureName) {
      self.init(
        what: "pictures (\(picture)) that no folder gives a class",
        remedy: "Put the pictures of each class into a folder of its own, and import them: "
          + shellCommand(["descent", "data", "import", directory]) + " DIR")
    } else if let array = names.first(where: { $0.hasSuffix(".npz") }) {
      self.init(what: "NumPy arrays (\(array))", remedy: Self.importing(directory + "/" + array))
    } else if names.contains(where: { $0.hasSuffix(".npy") }) {
      self.init(what: "NumPy arrays", remedy: Self.combining)
    } else {
      return nil
    }
  }

  /// What a file is in the place of a directory; nil for nothing that is known.
  init?(file path: String) {
    if let importable = Self.importable(ImportSource(path: path, names: nil)) {
      self = importable
    } else if Self.isArchive(path) {
      self.init(what: "an archive", remedy: Self.unpacking(path) + ", and give the directory that it makes")
    } else if path.hasSuffix(".npy") {
      self.init(what: "a NumPy array", remedy: Self.combining)
    } else {
      return nil
    }
  }

  private init(what: String, remedy: String) { (self.what, self.remedy) = (what, remedy) }

  private static func importable(_ source: ImportSource) -> ForeignData? {
    DatasetImport.importer(of: source).map { ForeignData(what: $0.what, remedy: importing(source.path)) }
  }

  private static func importing(_ source: String) -> String {
    "Import it into a directory DIR: " + shellCommand(["descent", "data", "import", source]) + " DIR"
  }

  private static func isArchive(_ name: String) -> Bool {
    [".tar.gz", ".tgz", ".tar", ".zip", ".tar.xz", ".tar.bz2"].contains { name.lowercased().hasSuffix($0) }
  }

  private static func unpacking(_ archive: String) -> String {
    archive.lowercased().hasSuffix(".zip") ? "Unpack it: unzip \(archive)" : "Unpack it: tar -xf \(archive)"
  }
}
