import Dashboard
import Diagnostics
import FoundationEssentials
import Reporting
import TestSupport
import Testing

/// Directories of runs, and what the page answers about them.
private struct Site {
  let directory = TemporaryDirectory()
  let page: DashboardPage

  init(token: String? = nil, host: String = "127.0.0.1", names: [String] = []) throws {
    page = DashboardPage([directory.path], access: try PageAccess(host: host, names: names, token: token))
  }

  func addRun(_ name: String, steps: [UInt64] = [0, 10]) throws {
    try FileManager.default.createDirectory(atPath: "\(directory.path)/\(name)/logs", withIntermediateDirectories: true)
    var file = RunFile(
      run: "r", seed: 7, datasetFingerprint: nil,
      start: .init(command: ["descent", "train"], time: .now(), host: "h", pid: 1, resumedFrom: nil))
    file.end(.finished, .epochs, signal: nil, message: "all epochs done", step: 10, at: .now())
    try file.save(to: "\(directory.path)/\(name)/run.json", at: .now())
    let writer = try MetricsWriter(path: "\(directory.path)/\(name)/metrics.jsonl")
    for step in steps {
      var record = MetricsRecord(step: step, examples: step * 64)
      (record.validationDataLoss, record.validationAccuracy) = (2.25 - Double(step) / 100, 0.125)
      try writer.append(record)
    }
  }

  func get(_ path: String, host: String? = "localhost:8231", _ headers: [String: String] = [:]) -> HTTPResponse {
    let lines = (host.map { ["Host: \($0)"] } ?? []) + headers.map { "\($0.key): \($0.value)" }
    let text = "GET \(path) HTTP/1.1\r\n" + lines.map { $0 + "\r\n" }.joined() + "\r\n"
    guard case .request(let request, _) = HTTPRequest.parse(Array(text.utf8)) else { return HTTPResponse(.badRequest) }
    return page.response(to: request)
  }
}

extension HTTPResponse {
  fileprivate var text: String {
    guard case .bytes(let bytes) = body else { return "" }
    return String(decoding: bytes, as: UTF8.self)
  }

  fileprivate func decoded<Value: Decodable>(_ type: Value.Type) throws -> Value {
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    return try decoder.decode(type, from: Data(text.utf8))
  }
}

private struct Runs: Decodable {
  struct Row: Decodable {
    let id: String
    let state: String
    let step: Int?
    let validationAccuracy: Double?
  }

  let runs: [Row]
}

private struct Detail: Decodable {
  struct Series: Decodable {
    let steps: [Int]
    let values: [Double]
  }

  struct Run: Decodable {
    let id: String
    let series: [String: Series]
  }

  let run: Run?
}

@Suite struct DashboardPageTests {
  @Test func `the page and its parts are there and load nothing from elsewhere`() throws {
    let site = try Site()
    for (path, type) in [
      ("/", "text/html; charset=utf-8"), ("/page.css", "text/css; charset=utf-8"),
      ("/page.js", "text/javascript; charset=utf-8"), ("/chart.js", "text/javascript; charset=utf-8"),
      ("/icon.svg", "image/svg+xml"),
    ] {
      let response = site.get(path)
      #expect(response.status == .ok && response.contentType == type)
      let text = response.text.replacing("http://www.w3.org/2000/svg", with: "")
      #expect(
        text.count > 100 && !text.contains("http:") && !text.contains("https:") && !text.contains("//cdn"), "\(path)")
    }
    #expect(!site.get("/page.js").text.contains("innerHTML") && !site.get("/chart.js").text.contains("innerHTML"))
  }

  @Test func `every answer forbids what the page does not need`() throws {
    let site = try Site()
    for path in ["/", "/none", "/metrics", "/api/runs"] {
      let text = String(decoding: site.get(path).bytes(isHead: true, keepsAlive: true), as: UTF8.self)
      #expect(text.contains("\r\nContent-Security-Policy: default-src 'none'; script-src 'self'; "), "\(path)")
      #expect(text.contains("\r\nX-Content-Type-Options: nosniff\r\n") && text.hasSuffix("\r\n\r\n"))
      #expect(!text.lowercased().contains("access-control"))
    }
  }

  @Test(arguments: ["localhost", "LOCALHOST:8231", "127.0.0.1:9", "[::1]:8231", "127.0.0.1"])
  func `names of this host are accepted`(_ host: String) throws {
    #expect(try Site().get("/", host: host).status == .ok)
  }

  @Test(arguments: [
    "evil.example", "localhost.evil.example", "10.0.0.1", "127.0.0.1.evil.example:8231", "localhost:80:80", "",
    "localhost:", "localhost:x", "[::1", "[::1]x", "user@localhost", "0x7f.1",
  ])
  func `another name is refused, as a page from elsewhere could have it`(_ host: String) throws {
    #expect(try Site().get("/api/runs", host: host).status == .misdirected)
  }

  @Test func `a request must say what it means to reach`() throws {
    #expect(try Site().get("/", host: nil).status == .badRequest)
  }

  @Test func `other addresses need a token`() throws {
    #expect(throws: Failure.self) { try PageAccess(host: "0.0.0.0") }
    #expect(throws: Failure.self) { try PageAccess(host: "10.0.0.1") }
    let token = "0123456789abcdef"
    let site = try Site(token: token, host: "0.0.0.0", names: ["train.example"])
    #expect(site.get("/", host: "10.0.0.1:8231").status == .unauthorized)
    #expect(site.get("/", host: "evil.example").status == .misdirected)
    #expect(site.get("/metrics", host: "train.example", ["Authorization": "Bearer \(token)"]).status == .ok)
    #expect(site.get("/metrics", host: "train.example", ["Authorization": "Bearer \(token)x"]).status == .unauthorized)
    #expect(site.get("/metrics", host: "train.example", ["Authorization": "Bearer "]).status == .unauthorized)
    #expect(site.get("/metrics?token=\(token)").status == .unauthorized, "only the page takes it from the address")
    let entry = site.get("/?token=\(token)", host: "[fe80::1]:8231")
    #expect(entry.status == .seeOther)
    let cookie = try #require(entry.moreHeaders.first { $0.name == "Set-Cookie" }?.value)
    #expect(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"))
    let pair = String(cookie.prefix { $0 != ";" })
    #expect(site.get("/", host: "10.0.0.1", ["Cookie": "a=b; \(pair)"]).status == .ok)
    #expect(site.get("/?token=wrong-wrong-wrong").status == .unauthorized)
  }

  @Test func `a token is the first line of a file and not short`() throws {
    let directory = TemporaryDirectory()
    let good = try directory.write("  abcdefghijklmnop \nmore".utf8, to: "good")
    #expect(try PageAccess.token(readingFrom: good) == "abcdefghijklmnop")
    for text in ["", "short\n", "with space inside it\n", "semicolon;abcdefghijkl", "ümlautümlautümlaut"] {
      let path = try directory.write(text.utf8, to: "bad")
      #expect(throws: Failure.self) { try PageAccess.token(readingFrom: path) }
    }
    #expect(throws: Failure.self) { try PageAccess.token(readingFrom: directory.path + "/none") }
  }

  @Test func `runs are listed with their numbers, and one run has its curves`() throws {
    let site = try Site()
    #expect(try site.get("/api/runs").decoded(Runs.self).runs.isEmpty)
    try site.addRun("a")
    try site.addRun("b", steps: [0, 5, 20])
    try FileManager.default.createSymbolicLink(atPath: site.directory.path + "/latest", withDestinationPath: "b")
    try waitUntil("the runs are listed") { try site.get("/api/runs").decoded(Runs.self).runs.count == 2 }
    let runs = try site.get("/api/runs").decoded(Runs.self).runs
    #expect(
      runs.map(\.id) == ["b", "a"] && runs.map(\.step) == [20, 10] && runs.map(\.state) == ["finished", "finished"])
    #expect(runs[0].validationAccuracy == 0.125)
    let run = try #require(try site.get("/api/run?id=b").decoded(Detail.self).run)
    #expect(run.series["validation_data_loss"]?.steps == [0, 5, 20])
    #expect(run.series["validation_data_loss"]?.values == [2.25, 2.2, 2.05])
  }

  @Test func `a rare event is sent however many checkpoints were saved since`() throws {
    let site = try Site()
    try site.addRun("a")
    func line(_ second: Int, _ level: String, _ event: String) -> String {
      "{\"ts\":\"2026-01-01T00:\(10 + second / 60):\(10 + second % 50).0Z\",\"level\":\"\(level)\",\"event\":\"\(event)\",\"msg\":\"m\"}\n"
    }
    let lines = line(0, "warning", "worker_evicted") + (60..<560).map { line($0, "info", "checkpoint") }.joined()
    let path = "\(site.directory.path)/a/logs/coordinator@h.jsonl"
    #expect(FileManager.default.createFile(atPath: path, contents: Data(lines.utf8)))
    let text = site.get("/api/run?id=a").text
    #expect(text.contains("\"kind\":\"lost\""))
    #expect(text.ranges(of: "\"kind\":\"saved\"").count == 100)
  }

  @Test(arguments: [
    "../a", "a/../a", "..", "/etc", "", "a/run.json", "a%00", "latest", "%2e%2e%2fa", ".", "a/",
  ])
  func `what is no name of a run leads nowhere`(_ name: String) throws {
    let site = try Site()
    try site.addRun("a")
    #expect(site.get("/api/run?id=a").status == .ok)
    for path in ["/api/run", "/events", "/templates.png", "/api/templates"] {
      let status = site.get("\(path)?view=run&id=\(name)").status
      #expect(status == .notFound || status == .badRequest, "\(path) \(name)")
    }
    #expect([.notFound, .badRequest].contains(site.get("/\(name)x").status))
  }

  @Test func `a name with markup, quotes and letters of other scripts is sent as text`() throws {
    let site = try Site()
    let name = "<img src=x onerror=alert(1)>\"\\'&é日本"
    try site.addRun(name)
    let response = site.get("/api/runs")
    #expect(response.contentType == "application/json; charset=utf-8")
    #expect(try response.decoded(Runs.self).runs.map(\.id) == [name])
    let encoded = name.utf8.map { "%" + hexadecimal($0) }.joined()
    #expect(try site.get("/api/run?id=\(encoded)").decoded(Detail.self).run?.id == name)
    let metrics = site.get("/metrics").text
    #expect(metrics.contains("{run=\"<img src=x onerror=alert(1)>\\\"\\\\'&é日本\""))
  }

  @Test func `two runs of one name in two directories are told apart`() throws {
    let (first, second) = (try Site(), try Site())
    try first.addRun("a")
    try second.addRun("a")
    let page = DashboardPage(
      [first.directory.path, second.directory.path, first.directory.path + "/a"],
      access: try PageAccess(host: "127.0.0.1"))
    guard
      case .request(let request, _) = HTTPRequest.parse(Array("GET /api/runs HTTP/1.1\r\nHost: localhost\r\n\r\n".utf8))
    else { return }
    #expect(try page.response(to: request).decoded(Runs.self).runs.map(\.id) == ["a", "a~2", "a~3"])
  }

  @Test func `a stream is sent everything first and then what has changed`() throws {
    let site = try Site()
    try site.addRun("a")
    try site.addRun("b")
    func open(_ path: String) throws -> Subscription {
      guard case .events(let subscription) = site.get(path).body else { throw Failure(.badData, "no stream") }
      return subscription
    }
    func next(_ subscription: inout Subscription) throws -> String? {
      site.page.refresh()
      return site.page.news(for: &subscription).map { String(decoding: $0, as: UTF8.self) }
    }
    var all = try open("/events?view=runs")
    var one = try open("/events?view=run&id=a")
    let first = try #require(try next(&all))
    #expect(first.hasPrefix("data: {\"complete\":true,") && first.hasSuffix("}\n\n") && first.contains("\"id\":\"b\""))
    #expect(!first.dropLast(2).contains("\n"), "one line")
    #expect(try #require(try next(&one)).contains("\"validation_data_loss\":{\"steps\":[0,10],"))
    #expect(try next(&all) == nil && next(&one) == nil)
    let writer = try MetricsWriter(path: "\(site.directory.path)/a/metrics.jsonl")
    try writer.truncate(after: 10)
    try writer.append(MetricsRecord(step: 11, examples: 0))
    var news: String?
    try waitUntil("the stream has news") {
      news = try next(&one)
      return news != nil
    }
    #expect(news?.contains("\"step\":11,") == true)
    let change = try #require(try next(&all))
    #expect(change.hasPrefix("data: {\"complete\":false,") && change.contains("\"step\":11,"))
    #expect(!change.contains("\"id\":\"b\""), "only what has changed")
    try FileManager.default.removeItem(atPath: "\(site.directory.path)/a")
    try waitUntil("the run is gone") { try next(&one) == "data: {\"run\":null}\n\n" }
  }
}
