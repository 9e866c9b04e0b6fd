import FoundationEssentials
import Logging
import Reporting
import TestSupport
import Testing

@Suite struct JSONLinesLogHandlerTests {
  private func lines(role: String, _ log: (inout Logger) -> Void) throws -> [String] {
    try TemporaryDirectory.with { directory in
      let path = directory.path + "/file"
      let file = try LogFile(path: path, run: "r1", role: role, name: role + "-3@host")
      var logger = Logger(label: "test") { _ in
        JSONLinesLogHandler(file: file) { UTCTime(microseconds: 1_234_567_890_123_456) }
      }
      log(&logger)
      let text = try String(contentsOf: URL(filePath: path), encoding: .utf8)
      #expect(text.isEmpty || text.hasSuffix("\n"))
      return text.split(separator: "\n").map(String.init)
    }
  }

  @Test func `a line states the process and the time, and then its fields by name`() throws {
    let lines = try lines(role: "worker") { logger in
      logger.warning(
        "worker \"2\" lost",
        metadata: [
          "event": "worker_lost", "step": .stringConvertible(7 as UInt64), "silent": .stringConvertible(2.5),
          "bad": .stringConvertible(Double.nan), "alive": .stringConvertible(false),
        ])
    }
    let expected =
      #"{"ts":"2009-02-13T23:31:30.123456Z","level":"warning","event":"worker_lost","msg":"worker \"2\" lost","#
      + #""run":"r1","role":"worker","name":"worker-3@host","pid":\#(ProcessInfo.processInfo.processIdentifier),"#
      + #""step":7,"alive":false,"bad":null,"silent":2.5}"#
    #expect(lines == [expected])
  }

  @Test func `fields cannot hide which process wrote a line`() throws {
    let lines = try lines(role: "server") { $0.info("x", metadata: ["role": "liar"]) }
    #expect(lines.first?.contains(#""role":"server""#) == true)
    #expect(lines.first?.contains(#""field_role":"liar""#) == true)
  }

  @Test func `each event is one line, whatever it contains`() throws {
    let lines = try lines(role: "server") { logger in
      logger.info("two\nlines")
      logger.info("again")
    }
    #expect(lines.count == 2)
  }

  @Test func `what is below the level is not written`() throws {
    let lines = try lines(role: "server") { logger in
      logger.debug("quiet")
      logger.logLevel = .debug
      logger.debug("loud")
    }
    #expect(lines.count == 1)
  }
}
