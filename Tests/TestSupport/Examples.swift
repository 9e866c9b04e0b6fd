import Optimization

extension ExampleTable {
  /// Examples from bytes of memory: records of one label byte followed by its pixels.
  /// - Parameter repeated: how often the table lists all of them.
  public static func inMemory(
    _ records: [UInt8], recordSize: Int = 1 + ModelShape.cifar10.pixels, classes: Int = ModelShape.cifar10.classes,
    repeated: Int = 1
  ) -> ExampleTable {
    precondition(!records.isEmpty && records.count.isMultiple(of: recordSize))
    let table = ExampleTable(copying: records, recordByteCount: recordSize, classes: classes)
    let pointers = (0..<table.count).map(table.record(at:))
    return ExampleTable(
      records: Array(repeating: pointers, count: repeated).flatMap { $0 }, classes: classes, owner: table)
  }
}
