import Diagnostics
import Files

/// What a Python pickle holds, as far as data sets need it. Bytes stay in the mapped file.
enum PickleValue {
  case none
  case boolean(Bool)
  case integer(Int)
  /// A `str` of Python 2 or `bytes` of Python 3: a range of the file.
  case bytes(Range<Int>)
  /// A `str` of Python 3 in UTF-8: a range of the file.
  case text(Range<Int>)
  /// `bytes` that Python 3 has written for protocol 2, as Latin-1 text.
  case encoded([UInt8])
  case tuple([PickleValue])
  case list(PickleList)
  case dictionary(PickleDictionary)
  /// A class or function by its name, "numpy.ndarray"; it is never called.
  case global(String)
  case array(PickleArray)
  /// A NumPy type, such as "u1".
  case type(String)
}

/// Lists are changed after a reference to them is remembered.
final class PickleList {
  var elements: [PickleValue] = []
  /// Of the opcode that made it.
  let offset: Int

  init(at offset: Int) { self.offset = offset }
}

/// Pairs in their order.
final class PickleDictionary { var pairs: [(key: PickleValue, value: PickleValue)] = [] }

/// A NumPy array, filled by the BUILD after it.
final class PickleArray {
  var shape: [Int] = []
  var type = ""
  var isFortran = false
  var bytes: PickleValue = .none
  /// Of the opcode that filled it.
  var offset = 0
}

/// Reads pickles of protocol 2 (PEP 307) as CIFAR's Python versions use it: containers, numbers, strings and NumPy arrays.
///
/// Nothing is executed: of the functions that a pickle may name, four are known, and what they would do with their arguments
/// is done here. Every other one, and every other opcode, is an error.
struct PickleReader {
  /// More values than any of these files has; each takes memory.
  private static let valueLimit = 4_000_000
  /// So that values are not nested deeper than the stack allows: a batch has some ten.
  private static let containerLimit = 1000

  let file: MappedFile
  private var position = 0
  private var stack: [PickleValue] = []
  /// Where the marks are in the stack.
  private var marks: [Int] = []
  private var memo: [Int: PickleValue] = [:]
  private var values = 0
  private var containers = 0

  init(_ file: MappedFile) { self.file = file }

  /// The value that a file holds.
  ///
  /// - Throws: `.badData` with file and offset.
  static func read(_ file: MappedFile) throws(Failure) -> PickleValue {
    var reader = PickleReader(file)
    while true {
      let offset = reader.position
      let opcode = UInt8(try reader.integer(1, "an opcode"))
      if opcode == UInt8(ascii: ".") {
        guard reader.stack.count == 1, reader.marks.isEmpty, let value = reader.stack.first else {
          throw reader.failure("STOP", at: offset, found: "\(reader.stack.count) values", expected: "one")
        }
        guard reader.position == file.bytes.count else {
          throw reader.failure(
            "the end of the pickle", at: reader.position, found: "\(file.bytes.count - reader.position) more bytes",
            expected: "the end of the file")
        }
        return value
      }
      try reader.perform(opcode, at: offset)
    }
  }

  func failure(_ what: String, at offset: Int, found: String, expected: String, remedy: String? = nil) -> Failure {
    Failure(.badData, "\(file.path), byte \(offset): \(what)", found: found, expected: expected, remedy: remedy)
  }

  // MARK: Bytes

  private mutating func range(_ count: Int, _ what: String) throws(Failure) -> Range<Int> {
    guard count >= 0, count <= file.bytes.count - position else {
      throw failure(
        "the file ends inside of \(what)", at: position, found: "\(file.bytes.count - position) bytes",
        expected: "\(count)", remedy: "If it was copied or downloaded, it may be cut short: fetch it again")
    }
    defer { position += count }
    return position..<position + count
  }

  /// Little-endian.
  private mutating func integer(_ count: Int, _ what: String = "a number") throws(Failure) -> Int {
    file.bytes[try range(count, what)].reversed().reduce(0) { $0 << 8 | Int($1) }
  }

  /// Up to the next line feed.
  private mutating func line() throws(Failure) -> String {
    let rest = file.bytes[position...].prefix(256)
    guard let end = rest.firstIndex(of: UInt8(ascii: "\n")) else {
      throw failure("a name", at: position, found: "no line feed in 256 bytes", expected: "a line")
    }
    defer { position = end + 1 }
    return String(decoding: file.bytes[position..<end], as: UTF8.self)
  }

  // MARK: The stack

  private mutating func count() throws(Failure) {
    values += 1
    guard values <= Self.valueLimit else {
      throw failure(
        "the number of values", at: position, found: "over \(grouped(UInt64(Self.valueLimit)))",
        expected: "a batch of a data set")
    }
  }

  private mutating func pushContainer(_ value: PickleValue) throws(Failure) {
    containers += 1
    guard containers <= Self.containerLimit else {  // defence: nested-pickles
      throw failure(
        "the number of lists, tuples and dictionaries", at: position, found: "over \(Self.containerLimit)",
        expected: "a batch of a data set")
    }
    try push(value)
  }

  private mutating func push(_ value: PickleValue) throws(Failure) {
    try count()
    stack.append(value)
  }

  private mutating func pop(_ opcode: String, at offset: Int) throws(Failure) -> PickleValue {
    guard stack.count > (marks.last ?? 0), let value = stack.popLast() else {
      throw failure(opcode, at: offset, found: "no value on the stack", expected: "one")
    }
    return value
  }

  private mutating func popToMark(_ opcode: String, at offset: Int) throws(Failure) -> [PickleValue] {
    guard let mark = marks.popLast() else {
      throw failure(opcode, at: offset, found: "no mark on the stack", expected: "one")
    }
    defer { stack.removeSubrange(mark...) }
    return Array(stack[mark...])
  }

  // MARK: Opcodes

  private mutating func perform(_ opcode: UInt8, at offset: Int) throws(Failure) {
    switch opcode {
    case 0x80:
      let version = try integer(1)
      guard version <= 2 else {
        throw failure(
          "the protocol", at: offset, found: "\(version)", expected: "at most 2, that of CIFAR's files",
          remedy: "Write it with pickle.dump(..., protocol=2)")
      }
    case UInt8(ascii: "("): marks.append(stack.count)
    case UInt8(ascii: "N"): try push(.none)
    case 0x88: try push(.boolean(true))
    case 0x89: try push(.boolean(false))
    case UInt8(ascii: "K"): try push(.integer(try integer(1)))
    case UInt8(ascii: "M"): try push(.integer(try integer(2)))
    case UInt8(ascii: "J"): try push(.integer(Int(Int32(truncatingIfNeeded: try integer(4)))))
    case UInt8(ascii: "U"): try push(.bytes(try range(try integer(1), "a string")))
    case UInt8(ascii: "T"): try push(.bytes(try range(try integer(4), "a string")))
    case UInt8(ascii: "X"): try push(.text(try range(try integer(4), "a text")))
    case UInt8(ascii: "q"): try remember(try integer(1), at: offset)
    case UInt8(ascii: "r"): try remember(try integer(4), at: offset)
    case UInt8(ascii: "h"): try push(try remembered(try integer(1), at: offset))
    case UInt8(ascii: "j"): try push(try remembered(try integer(4), at: offset))
    case UInt8(ascii: ")"): try pushContainer(.tuple([]))
    case 0x85, 0x86, 0x87: try makeTuple(of: Int(opcode) - 0x84, at: offset)
    case UInt8(ascii: "t"):
      let elements = try popToMark("TUPLE", at: offset)
      try pushContainer(.tuple(elements))
    case UInt8(ascii: "]"): try pushContainer(.list(PickleList(at: offset)))
    case UInt8(ascii: "}"): try pushContainer(.dictionary(PickleDictionary()))
    case UInt8(ascii: "a"):
      let value = try pop("APPEND", at: offset)
      try append([value], "APPEND", at: offset)
    case UInt8(ascii: "e"):
      let values = try popToMark("APPENDS", at: offset)
      try append(values, "APPENDS", at: offset)
    case UInt8(ascii: "s"):
      let value = try pop("SETITEM", at: offset)
      let key = try pop("SETITEM", at: offset)
      try set([key, value], "SETITEM", at: offset)
    case UInt8(ascii: "u"):
      let pairs = try popToMark("SETITEMS", at: offset)
      try set(pairs, "SETITEMS", at: offset)
    case UInt8(ascii: "c"): try name(at: offset)
    case UInt8(ascii: "R"): try reduce(at: offset)
    case UInt8(ascii: "b"): try build(at: offset)
    default:
      throw failure(
        "an opcode that no file of CIFAR has", at: offset, found: Self.name(of: opcode),
        expected: "numbers, strings, lists, dictionaries and NumPy arrays of protocol 2",
        remedy: "Convert the file with NumPy: see `descent data import --help`")
    }
  }

  /// "INST (0x69)".
  private static func name(of opcode: UInt8) -> String {
    let names: KeyValuePairs<String, String> = [
      "i": "INST", "o": "OBJ", "\u{81}": "NEWOBJ", "\u{82}": "EXT1", "\u{83}": "EXT2", "\u{84}": "EXT4",
      "P": "PERSID", "Q": "BINPERSID", "I": "INT", "L": "LONG", "\u{8a}": "LONG1", "\u{8b}": "LONG4", "F": "FLOAT",
      "G": "BINFLOAT", "S": "STRING", "V": "UNICODE", "l": "LIST", "d": "DICT", "p": "PUT", "g": "GET", "0": "POP",
      "1": "POP_MARK", "2": "DUP", "B": "BINBYTES", "C": "SHORT_BINBYTES", "\u{93}": "STACK_GLOBAL", "\u{95}": "FRAME",
      "\u{94}": "MEMOIZE", "\u{8c}": "SHORT_BINUNICODE", "\u{92}": "NEWOBJ_EX",
    ]
    let name = names.first { $0.key == String(UnicodeScalar(opcode)) }?.value
    return (name.map { $0 + " (" } ?? "") + "0x" + hexadecimal(opcode) + (name == nil ? "" : ")")
  }

  private mutating func remember(_ index: Int, at offset: Int) throws(Failure) {
    guard let value = stack.last else {
      throw failure("BINPUT", at: offset, found: "no value on the stack", expected: "one")
    }
    try count()
    memo[index] = value
  }

  private func remembered(_ index: Int, at offset: Int) throws(Failure) -> PickleValue {
    guard let value = memo[index] else {
      throw failure("BINGET", at: offset, found: "\(index)", expected: "the number of a value before it")
    }
    return value
  }

  private mutating func makeTuple(of count: Int, at offset: Int) throws(Failure) {
    var elements: [PickleValue] = []
    for _ in 0..<count { elements.insert(try pop("TUPLE\(count)", at: offset), at: 0) }
    try pushContainer(.tuple(elements))
  }

  private func append(_ elements: [PickleValue], _ opcode: String, at offset: Int) throws(Failure) {
    guard case .list(let list) = stack.last else {
      throw failure(opcode, at: offset, found: "no list on the stack", expected: "one")
    }
    list.elements += elements
  }

  private func set(_ elements: [PickleValue], _ opcode: String, at offset: Int) throws(Failure) {
    guard case .dictionary(let dictionary) = stack.last, elements.count % 2 == 0 else {
      throw failure(opcode, at: offset, found: "no dictionary and pairs on the stack", expected: "both")
    }
    for index in stride(from: 0, to: elements.count, by: 2) {
      dictionary.pairs.append((elements[index], elements[index + 1]))
    }
  }
}

// MARK: - What NumPy's pickles call

extension PickleReader {
  private static let reconstructors = [
    "numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct",
  ]
  private static let knownNames = reconstructors + ["numpy.ndarray", "numpy.dtype", "_codecs.encode"]

  private mutating func name(at offset: Int) throws(Failure) {
    let module = try line()
    let name = module + "." + (try line())
    guard Self.knownNames.contains(name) else {  // defence: pickles
      throw failure(
        "a class or function that no file of CIFAR names", at: offset, found: printable(name),
        expected: "those of NumPy arrays", remedy: "Do not load this file in Python: a pickle can run any program")
    }
    try push(.global(name))
  }

  private mutating func reduce(at offset: Int) throws(Failure) {
    let arguments = try pop("REDUCE", at: offset)
    let function = try pop("REDUCE", at: offset)
    guard case .global(let name) = function, case .tuple(let arguments) = arguments else {
      throw failure("REDUCE", at: offset, found: "no function and arguments on the stack", expected: "both")
    }
    switch name {
    case _ where Self.reconstructors.contains(name):
      // Of an empty array of one of its classes; BUILD fills it.
      guard case .global("numpy.ndarray") = arguments.first else { break }
      return try push(.array(PickleArray()))
    case "numpy.dtype":
      guard let type = arguments.first.flatMap({ text(of: $0) }) else { break }
      return try push(.type(type))
    case "_codecs.encode":
      guard arguments.count == 2, case .text(let range) = arguments[0], text(of: arguments[1]) == "latin1" else {
        break
      }
      return try push(.encoded(try latin1(range)))
    default: break
    }
    throw failure("REDUCE", at: offset, found: "\(name) with other arguments", expected: "those of NumPy arrays")
  }

  /// The bytes that a text of Latin-1 characters stands for.
  private func latin1(_ range: Range<Int>) throws(Failure) -> [UInt8] {
    var result: [UInt8] = []
    var index = range.lowerBound
    while index < range.upperBound {
      let byte = file.bytes[index]
      if byte < 0x80 {
        result.append(byte)
        index += 1
      } else {
        // Two bytes of UTF-8, 1100_0010 or 1100_0011 and 10xx_xxxx.
        guard byte & 0xfe == 0xc2, index + 1 < range.upperBound, file.bytes[index + 1] & 0xc0 == 0x80 else {
          throw failure("a text", at: index, found: "0x" + hexadecimal(byte), expected: "characters of Latin-1")
        }
        result.append(byte << 6 | file.bytes[index + 1] & 0x3f)
        index += 2
      }
    }
    return result
  }

  /// Fills an array, or gives a type its order of bytes, which bytes do not have.
  private mutating func build(at offset: Int) throws(Failure) {
    let state = try pop("BUILD", at: offset)
    guard case .tuple(let fields) = state else {
      throw failure("BUILD", at: offset, found: "no tuple on the stack", expected: "one")
    }
    switch stack.last {
    case .type: return
    case .array(let array):
      guard fields.count == 5, case .tuple(let shape) = fields[1], case .type(let type) = fields[2],
        case .boolean(let isFortran) = fields[3]
      else { break }
      array.shape = shape.map { if case .integer(let size) = $0 { size } else { -1 } }
      (array.type, array.isFortran, array.bytes, array.offset) = (type, isFortran, fields[4], offset)
      return
    default: break
    }
    throw failure("BUILD", at: offset, found: "another value on the stack", expected: "a NumPy array or type")
  }

  /// The text of a string of any kind; nil for another value.
  func text(of value: PickleValue) -> String? {
    switch value {
    case .bytes(let range), .text(let range): String(decoding: file.bytes[range], as: UTF8.self)
    case .encoded(let bytes): String(decoding: bytes, as: UTF8.self)
    default: nil
    }
  }
}
