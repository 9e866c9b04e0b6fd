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

  @Test func `whatever bytes arrive, they are a request within the limits, incomplete or refused`() {
    let seeds = [
      "GET /api/run?id=a%2Fb&step=12 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
      "HEAD / HTTP/1.0\nHost: a\nA:\n\n", "GET /%ff%00?%=&&=+ HTTP/1.1\r\nHost:\r\n\r\n",
    ].map { Array($0.utf8) }
    var state: UInt64 = 1
    func next(_ bound: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(state >> 33) % bound
    }
    var accepted = 0
    for _ in 0..<20_000 {
      var bytes = seeds[next(seeds.count)]
      for _ in 0...next(4) {
        let place = next(bytes.count)
        switch next(4) {
        case 0: bytes[place] = UInt8(next(256))
        case 1: bytes.remove(at: place)
        case 2: bytes.insert(contentsOf: bytes[place..<min(bytes.count, place + 9)], at: next(bytes.count))
        default: bytes.insert([0, 0x0a, 0x0d, 0x20, 0x25, 0x3a, 0xff][next(7)], at: place)
        }
        if bytes.isEmpty { bytes = [0] }
      }
      guard case .request(let request, let byteCount) = HTTPRequest.parse(bytes) else { continue }
      accepted += 1
      #expect(byteCount <= bytes.count && byteCount <= HTTPRequest.sizeLimit)
      let texts = [request.path] + request.query.flatMap { [$0.key, $0.value] }
      #expect(request.path.hasPrefix("/") && texts.allSatisfy { !$0.unicodeScalars.contains { $0.value < 0x20 } })
    }
    #expect(accepted > 100, "the inputs are all refused")
  }
}
