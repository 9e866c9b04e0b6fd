import Diagnostics
import Files

/// Data that Descent does not read, recognized by the names in a directory so that an error can say what they are and
/// what to do.
struct ForeignData {
  /// "the Python version of CIFAR-10".
  let what: String
  /// A sentence without a full stop.
  let remedy: String

  static let fetching = "Get the binary version with Scripts/fetch-cifar10.sh DIR"
  static let converting =
    "Convert them to records of one label byte, 0 to 9, and 3,072 pixel bytes: see `descent data check --help`"

  /// What is in a directory that holds no file of the CIFAR-10 binary version; nil for nothing that is known.
  init?(in directory: String, names: [String]) {
    func holds(_ wanted: String...) -> Bool { wanted.allSatisfy(names.contains) }
    let archive = names.first { Self.isArchive($0) }
    if holds("data_batch_1") || holds("cifar-10-batches-py") {
      self.init(what: "the Python version of CIFAR-10", remedy: Self.fetching)
    } else if holds("data_batch_1.mat") || holds("cifar-10-batches-mat") {
      self.init(what: "the MATLAB version of CIFAR-10", remedy: Self.fetching)
    } else if holds("train.bin", "test.bin") || holds("train", "test", "meta") || holds("cifar-100-binary")
      || holds("cifar-100-python")
    {
      self.init(what: "CIFAR-100, which has 100 classes", remedy: "Descent trains on 10 classes. \(Self.fetching)")
    } else if names.contains(where: { $0.contains("-ubyte") && $0.contains("idx") }) {
      self.init(
        what: "MNIST or a set like it (IDX files), which is grey and of 28×28 pixels",
        remedy: "Descent trains on pictures of 32×32 pixels in colour. \(Self.converting)")
    } else if let archive {
      self.init(what: "an archive", remedy: Self.unpacking(directory + "/" + archive))
    } else if let picture = Self.picture(in: directory, names) {
      self.init(what: "pictures (\(picture))", remedy: Self.converting)
    } else if names.contains(where: { $0.hasSuffix(".npy") || $0.hasSuffix(".npz") }) {
      self.init(what: "NumPy arrays", remedy: Self.converting)
    } else {
      return nil
    }
  }

  private init(what: String, remedy: String) { (self.what, self.remedy) = (what, remedy) }

  static func isArchive(_ name: String) -> Bool {
    [".tar.gz", ".tgz", ".tar", ".zip", ".tar.xz", ".tar.bz2"].contains { name.lowercased().hasSuffix($0) }
  }

  static func unpacking(_ archive: String) -> String {
    archive.lowercased().hasSuffix(".zip") ? "Unpack it: unzip \(archive)" : "Unpack it: tar -xf \(archive)"
  }

  /// The first picture in the directory, or in the first directories of it, one of each class.
  private static func picture(in directory: String, _ names: [String]) -> String? {
    func isPicture(_ name: String) -> Bool {
      [".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif"].contains { name.lowercased().hasSuffix($0) }
    }
    if let name = names.first(where: isPicture) { return name }
    let fileSystem = FileSystem()
    for folder in names.prefix(16) where fileSystem.kind(of: directory + "/" + folder) == .directory {
      let inner = (try? fileSystem.entries(of: directory + "/" + folder)) ?? []
      if let name = inner.first(where: isPicture) { return folder + "/" + name }
    }
    return nil
  }
}
