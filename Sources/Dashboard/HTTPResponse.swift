/// An answer, or the beginning of a stream of events.
package struct HTTPResponse: Sendable {
  package enum Body: Sendable {
    case bytes([UInt8])
    /// Server-sent events follow for as long as the connection lasts.
    case events(Subscription)
  }

  package var status: HTTPStatus
  package var contentType: String
  package var body: Body
  package var moreHeaders: [(name: String, value: String)] = []

  package init(_ status: HTTPStatus, _ contentType: String, _ body: Body) {
    (self.status, self.contentType, self.body) = (status, contentType, body)
  }

  /// A status with a sentence.
  package init(_ status: HTTPStatus, _ text: String = "") {
    self.init(status, "text/plain; charset=utf-8", .bytes(Array("\(text.isEmpty ? status.phrase : text)\n".utf8)))
    if status == .methodNotAllowed { moreHeaders = [("Allow", "GET, HEAD")] }
    if status == .unauthorized { moreHeaders = [("WWW-Authenticate", "Bearer")] }
    if status == .unavailable { moreHeaders = [("Retry-After", "5")] }
  }

  /// Nothing is loaded from elsewhere, nothing is kept by caches, and no other page can frame, read or guess the content.
  private static let policy = [
    "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
      + "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options: nosniff",
    "X-Frame-Options: DENY",
    "Referrer-Policy: no-referrer",
    "Cross-Origin-Resource-Policy: same-origin",
    "Cross-Origin-Opener-Policy: same-origin",
    "Cache-Control: no-store",
  ]

  /// What is sent.
  ///
  /// - Parameters:
  ///   - isHead: the headers alone.
  ///   - keepsAlive: a stream of events never does.
  package func bytes(isHead: Bool, keepsAlive: Bool) -> [UInt8] {
    var lines = ["HTTP/1.1 \(status.rawValue) \(status.phrase)", "Content-Type: \(contentType)"]
    var content: [UInt8] = []
    var isOpen = keepsAlive
    switch body {
    case .bytes(let bytes):
      lines.append("Content-Length: \(bytes.count)")
      content = isHead ? [] : bytes
    case .events: isOpen = false
    }
    lines.append("Connection: \(isOpen ? "keep-alive" : "close")")
    lines += moreHeaders.map { "\($0.name): \($0.value)" } + Self.policy
    return Array((lines.joined(separator: "\r\n") + "\r\n\r\n").utf8) + content
  }
}
