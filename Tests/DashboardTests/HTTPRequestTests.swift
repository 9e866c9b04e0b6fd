import Dashboard
import Diagnostics
import Testing

@Suite struct HTTPRequestTests {
  private func parse(_ text: String) -> HTTPRequest.Parsed { HTTPRequest.parse(Array(text.utf8)) }

  private func request(_ text: String) throws -> HTTPRequest {
    guard case .request(let request, let byteCount) = parse(text) else {
      Issue.record("\(parse(text))")
      throw Failure(.badData, "no request")
    }
    #expect(byteCount == text.utf8.count)
    return request
  }

  @Test func `a request is read with its path, parameters and headers`() throws {
    let request = try request(
      "GET /api/run?id=a%2Fb+c%C3%A9&id=2&flag HTTP/1.1\r\nHost: localhost:8231\r\nX-Twice: 1\r\nx-twice:\t2 \r\n\r\n")
    #expect(request.path == "/api/run")
    #expect(request.query == [KeyValue("id", "a/b cé"), KeyValue("id", "2"), KeyValue("flag", "")])
    #expect(request["id"] == "a/b cé" && request["flag"] == "" && request["none"] == nil)
    #expect(request.headers == ["host": "localhost:8231", "x-twice": "1, 2"])
    #expect(!request.isHead && request.keepsAlive)
  }

  @Test func `lines may end with a line feed alone, and HTTP 1.0 ends the connection`() throws {
    let request = try request("HEAD / HTTP/1.0\nHost: a\n\n")
    #expect(request.isHead && !request.keepsAlive)
    #expect(try !self.request("GET / HTTP/1.1\r\nConnection: Close\r\n\r\n").keepsAlive)
  }

  @Test func `every prefix of a request is incomplete, and what follows is left`() {
    let text = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
    for length in 0..<text.utf8.count {
      #expect(HTTPRequest.parse(Array(text.utf8.prefix(length))) == .incomplete, "\(length)")
    }
    guard case .request(_, let byteCount) = parse(text + "GET /b HT") else {
      Issue.record("no request")
      return
    }
    #expect(byteCount == text.utf8.count)
  }

  @Test(arguments: [
    "", " / HTTP/1.1", "GET  / HTTP/1.1", "GET / HTTP/2.0", "GET /", "GET HTTP/1.1", "GET http://evil/ HTTP/1.1",
    "GET * HTTP/1.1", "GET /%zz HTTP/1.1", "GET /%0a HTTP/1.1", "GET /%00 HTTP/1.1", "GET /%ff HTTP/1.1",
    "GET /% HTTP/1.1", "GET / HTTP/1.1\r\nHost", "GET / HTTP/1.1\r\nHo st: a", "GET / HTTP/1.1\r\n: a",
    "GET / HTTP/1.1\r\nHost: a\r\nHost: b", "GET / HTTP/1.1\r\nContent-Length: 5", "GET / HTTP/1.1\r\n folded: a",
    "GET / HTTP/1.1\r\nTransfer-Encoding: chunked", "GET / HTTP/1.1\r\nUpgrade: websocket",
    "GET / HTTP/1.1\r\nA: b\rc", "GET / HTTP/1.1\r\nA: \u{1}", "\u{16}\u{3}\u{1}hello",
  ])
  func `what is no request of ours is refused`(_ head: String) {
    #expect(parse(head + "\r\n\r\n") == .refused(.badRequest))
  }

  @Test(arguments: ["POST", "PUT", "DELETE", "OPTIONS", "CONNECT", "TRACE", "PATCH", "get", "G"])
  func `other methods are refused`(_ method: String) {
    #expect(parse("\(method) / HTTP/1.1\r\nHost: a\r\n\r\n") == .refused(.methodNotAllowed))
  }

  @Test func `a head of more than 8 kB is refused, ended or not`() {
    let start = "GET / HTTP/1.1\r\nA: "
    let rest = HTTPRequest.sizeLimit - start.utf8.count
    #expect(parse(start + String(repeating: "a", count: rest - 1)) == .incomplete)
    #expect(parse(start + String(repeating: "a", count: rest)) == .refused(.headersTooLarge))
    #expect(parse(start + String(repeating: "a", count: rest) + "\r\n\r\n") == .refused(.headersTooLarge))
  }
}
