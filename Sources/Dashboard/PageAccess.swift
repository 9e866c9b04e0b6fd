import Diagnostics
import Files
import Glibc

/// Which requests the page answers: those that name it by a name it has, and, where there is a token, know that.
package struct PageAccess: Sendable {
  private static let cookie = "descent-token"
  /// Shorter ones are guessed.
  package static let shortestToken = 16

  /// Lower-case names and addresses, without the port.
  private let hostNames: Set<String>
  /// Any numeric address: a page that a browser has from elsewhere can reach this one under a name of its own, by a name
  /// server that answers with the address of this host, but never under an address.
  private let acceptsAddresses: Bool
  private let token: [UInt8]?

  /// - Parameters:
  ///   - host: the numeric address that the page listens on.
  ///   - names: by which it is reached in addition.
  ///   - token: nil for a page without one, which is for loopback alone.
  /// - Throws: `badConfiguration` for another address without a token.
  package init(host: String, names: [String] = [], token: String? = nil) throws(Failure) {
    guard token != nil || Self.isLoopback(host) else {
      throw Failure(
        .badConfiguration, "--bind \(host) would show the runs to every process on the network",
        remedy: "Name a file with a secret by --token-file, or omit --bind and use a tunnel: "
          + "ssh -L 8231:localhost:8231 HOST")
    }
    hostNames = Set((["localhost", "127.0.0.1", "::1", host] + names).map { $0.lowercased() })
    acceptsAddresses = !Self.isLoopback(host)
    self.token = token.map { Array($0.utf8) }
  }

  private static func isLoopback(_ host: String) -> Bool {
    host == "::1" || host.hasPrefix("127.") && host.split(separator: ".").count == 4
  }

  /// Reads a token: the first line of the file.
  ///
  /// - Throws: what reading throws, and `badConfiguration` for a token that is too short or not of visible ASCII.
  package static func token(readingFrom path: String) throws(Failure) -> String {
    let line = try FileSystem().text(of: path, limit: 4096).split(separator: "\n", omittingEmptySubsequences: false)[0]
    let token = line.trimming(\.isWhitespace)
    guard token.utf8.count >= shortestToken, token.utf8.allSatisfy({ (0x21...0x7e).contains($0) && $0 != 0x3b }) else {
      throw Failure(
        .badConfiguration, "\(path) must begin with a line of at least \(shortestToken) letters, digits or signs",
        remedy: "Make one: head -c 24 /dev/urandom | base64 > \(path)")
    }
    return token
  }

  /// The answer to a request that is not to be answered with content; nil for one that is.
  func refusal(of request: HTTPRequest) -> HTTPResponse? {
    guard let host = request.headers["host"] else { return HTTPResponse(.badRequest, "no Host") }
    guard accepts(host: host) else {
      return HTTPResponse(.misdirected, "this page is not called \(printable(String(host.prefix(100))))")
    }
    guard let token else { return nil }
    if request.path == "/", let given = request["token"], isToken(given, token) {
      var response = HTTPResponse(.seeOther, "see /")
      let attributes = "; Path=/; HttpOnly; SameSite=Strict"
      response.moreHeaders = [("Location", "/"), ("Set-Cookie", "\(Self.cookie)=\(given)\(attributes)")]
      return response
    }
    let authorization = request.headers["authorization"].flatMap { value in
      value.lowercased().hasPrefix("bearer ") ? value.dropFirst(7).trimming(\.isWhitespace) : nil
    }
    let cookies = (request.headers["cookie"] ?? "").split(separator: ";").map { $0.trimming(\.isWhitespace) }
    let cookie = cookies.first { $0.hasPrefix("\(Self.cookie)=") }?.dropFirst(Self.cookie.count + 1)
    for given in [authorization, cookie.map(String.init)].compactMap(\.self) where isToken(given, token) { return nil }
    return HTTPResponse(.unauthorized, "pass the token of the page: /?token=TOKEN, or Authorization: Bearer TOKEN")
  }

  /// Takes as long wherever they differ.
  private func isToken(_ given: String, _ token: [UInt8]) -> Bool {
    let given = Array(given.utf8)
    var difference = given.count ^ token.count
    for index in token.indices { difference |= Int((index < given.count ? given[index] : 0) ^ token[index]) }
    return difference == 0
  }

  private func accepts(host: String) -> Bool {
    var name = host.lowercased()
    if name.hasPrefix("[") {
      guard let end = name.firstIndex(of: "]") else { return false }
      guard Self.isPort(name[name.index(after: end)...]) else { return false }
      name = String(name[name.index(after: name.startIndex)..<end])
    } else if let colon = name.firstIndex(of: ":") {
      guard Self.isPort(name[colon...]) else { return false }
      name = String(name[..<colon])
    }
    if hostNames.contains(name) { return true }
    var address = in6_addr()
    return acceptsAddresses
      && (inet_pton(AF_INET, name, &address) == 1 || inet_pton(AF_INET6, name, &address) == 1)
  }

  /// Any: a tunnel has a port of its own.
  private static func isPort(_ text: Substring) -> Bool {
    text.isEmpty || text.first == ":" && UInt16(text.dropFirst()) != nil
  }
}
