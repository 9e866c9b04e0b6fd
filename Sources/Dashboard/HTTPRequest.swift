import Diagnostics

/// The head of a request for the page, read from the bytes that a connection has received: GET and HEAD without a body are
/// all that the page serves, so that there is little to get wrong. A pure function of the bytes.
package struct HTTPRequest: Sendable, Equatable {
  /// Of the head, the empty line included.
  package static let sizeLimit = 8192

  package var isHead: Bool
  /// Decoded, "/api/run"; what it names is looked up in a table, never on the disk.
  package var path: String
  /// Decoded, in the order of the query.
  package var query: [KeyValue]
  /// By lower-case name. A name that stands twice is refused where it would be ambiguous.
  package var headers: [String: String]
  /// Whether the connection stays open for the next request.
  package var keepsAlive: Bool

  /// The first value of a parameter.
  package subscript(_ key: String) -> String? { query.first { $0.key == key }?.value }

  /// What the bytes of a connection are.
  package enum Parsed: Sendable, Equatable {
    /// The head is not complete yet.
    case incomplete
    /// A request, and how many bytes it took.
    case request(HTTPRequest, byteCount: Int)
    /// An answer with this status ends the connection.
    case refused(HTTPStatus)
  }

  package static func parse(_ bytes: [UInt8]) -> Parsed {
    guard let (head, byteCount) = head(of: bytes) else {
      return bytes.count >= sizeLimit ? .refused(.headersTooLarge) : .incomplete
    }
    guard byteCount <= sizeLimit else { return .refused(.headersTooLarge) }
    // One character a byte, so that nothing is repaired on the way.
    guard head.allSatisfy({ $0 == 0x0d || $0 == 0x0a || $0 == 0x09 || (0x20...0x7e).contains($0) || $0 >= 0x80 }) else {
      return .refused(.badRequest)
    }
    var lines = head.split(separator: 0x0a, omittingEmptySubsequences: false).map { line in
      line.last == 0x0d ? line.dropLast() : line
    }
    if lines.contains(where: { $0.contains(0x0d) }) { return .refused(.badRequest) }
    let first = lines.removeFirst().split(separator: 0x20, omittingEmptySubsequences: false)
    guard first.count == 3, !first[0].isEmpty, let version = text(first[2]),
      version == "HTTP/1.1" || version == "HTTP/1.0"
    else {
      return .refused(.badRequest)
    }
    guard let headers = headers(lines) else { return .refused(.badRequest) }
    guard first[0].elementsEqual("GET".utf8) || first[0].elementsEqual("HEAD".utf8) else {
      return .refused(.methodNotAllowed)
    }
    guard headers["transfer-encoding"] == nil, headers["content-length"] ?? "0" == "0", headers["upgrade"] == nil else {
      return .refused(.badRequest)
    }
    guard let (path, query) = target(first[1]) else { return .refused(.badRequest) }
    let connection = (headers["connection"] ?? "").lowercased()
    let keepsAlive = version == "HTTP/1.1" ? !connection.contains("close") : false
    let request = HTTPRequest(
      isHead: first[0].count == 4, path: path, query: query, headers: headers, keepsAlive: keepsAlive)
    return .request(request, byteCount: byteCount)
  }

  /// The bytes before the empty line, and the number of those up to its end.
  private static func head(of bytes: [UInt8]) -> (ArraySlice<UInt8>, Int)? {
    var start = 0
    while let feed = bytes[start...].firstIndex(of: 0x0a) {
      let line = bytes[start..<feed]
      if start > 0, line.isEmpty || line.elementsEqual([0x0d]) { return (bytes[..<(start - 1)], feed + 1) }
      start = feed + 1
    }
    return nil
  }

  private static func headers(_ lines: [ArraySlice<UInt8>]) -> [String: String]? {
    var headers: [String: String] = [:]
    for line in lines {
      guard let colon = line.firstIndex(of: UInt8(ascii: ":")), let name = text(line[..<colon])?.lowercased(),
        !name.isEmpty, name.utf8.allSatisfy(isTokenByte)
      else { return nil }
      let value = String(decoding: line[(colon + 1)...], as: UTF8.self).trimming { $0 == " " || $0 == "\t" }
      // Two readers must not disagree about what was asked for.
      if headers[name] != nil, ["host", "content-length", "transfer-encoding", "authorization"].contains(name) {
        return nil
      }
      headers[name] = headers[name].map { "\($0), \(value)" } ?? value
    }
    return headers
  }

  private static func isTokenByte(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"): true
    default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
    }
  }

  private static func text(_ bytes: ArraySlice<UInt8>) -> String? {
    bytes.allSatisfy { (0x21...0x7e).contains($0) } ? String(decoding: bytes, as: UTF8.self) : nil
  }

  private static func target(_ bytes: ArraySlice<UInt8>) -> (String, [KeyValue])? {
    guard bytes.first == UInt8(ascii: "/"), text(bytes) != nil else { return nil }
    let parts = bytes.split(separator: UInt8(ascii: "?"), maxSplits: 1, omittingEmptySubsequences: false)
    guard let path = decoded(parts[0], plusIsSpace: false) else { return nil }
    guard parts.count > 1 else { return (path, []) }
    var query: [KeyValue] = []
    for pair in parts[1].split(separator: UInt8(ascii: "&")) {
      let sides = pair.split(separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
      guard let key = decoded(sides[0], plusIsSpace: true),
        let value = sides.count > 1 ? decoded(sides[1], plusIsSpace: true) : ""
      else { return nil }
      query.append(KeyValue(key, value))
    }
    return (path, query)
  }

  /// Nil for what is no percent encoding of UTF-8, or holds a control character.
  private static func decoded(_ bytes: ArraySlice<UInt8>, plusIsSpace: Bool) -> String? {
    var result: [UInt8] = []
    var rest = bytes[...]
    while let byte = rest.popFirst() {
      switch byte {
      case UInt8(ascii: "%"):
        guard let high = rest.popFirst().flatMap(hexadecimalDigit), let low = rest.popFirst().flatMap(hexadecimalDigit)
        else { return nil }
        result.append(high << 4 | low)
      case UInt8(ascii: "+") where plusIsSpace: result.append(0x20)
      default: result.append(byte)
      }
    }
    guard !result.contains(where: { $0 < 0x20 || $0 == 0x7f }) else { return nil }
    return String(validating: result, as: UTF8.self)
  }

  private static func hexadecimalDigit(_ byte: UInt8) -> UInt8? {
    Character(Unicode.Scalar(byte)).hexDigitValue.map(UInt8.init)
  }
}

/// The statuses that the page answers with.
package enum HTTPStatus: Int, Sendable {
  case ok = 200
  case seeOther = 303
  case badRequest = 400
  case unauthorized = 401
  case forbidden = 403
  case notFound = 404
  case methodNotAllowed = 405
  case requestTimeout = 408
  case misdirected = 421
  case headersTooLarge = 431
  case unavailable = 503

  package var phrase: String {
    switch self {
    case .ok: "OK"
    case .seeOther: "See Other"
    case .badRequest: "Bad Request"
    case .unauthorized: "Unauthorized"
    case .forbidden: "Forbidden"
    case .notFound: "Not Found"
    case .methodNotAllowed: "Method Not Allowed"
    case .requestTimeout: "Request Timeout"
    case .misdirected: "Misdirected Request"
    case .headersTooLarge: "Request Header Fields Too Large"
    case .unavailable: "Service Unavailable"
    }
  }
}
