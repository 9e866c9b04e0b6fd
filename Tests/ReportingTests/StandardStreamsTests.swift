import Foundation
import Reporting
import TestSupport
import Testing

/// Streams are those of a process: each test has one of its own.
@Suite("Standard streams") struct StandardStreamsTests {
  @Test func `standard error is a pipe that is full and not read: nothing waits for it for longer than a second`()
    async throws
  {
    await #expect(processExitsWith: .success) {
      // A write that waits for the reader ends the process.
      alarm(60)
      let reader = replace(STDERR_FILENO)
      let clock = ContinuousClock()
      // More than any pipe holds.
      let first = clock.measure { for _ in 0..<40 { StandardError.write(String(repeating: "x", count: 100_000)) } }
      let second = clock.measure { for _ in 0..<1000 { StandardError.write("a line\n") } }
      #expect(first < .seconds(10) && second < .seconds(1))
      // It continues once the reader does.
      var bytes = [UInt8](repeating: 0, count: 1 << 20)
      while read(reader, &bytes, bytes.count) == bytes.count {}
      StandardError.write("again\n")
      let count = read(reader, &bytes, bytes.count)
      #expect(bytes[..<max(count, 0)].suffix(6).elementsEqual("again\n".utf8))
    }
    try Evidence.add(
      .limits, observed: "waits for 1 s once, then drops what is not read; the next line after a read arrives")
  }

  @Test func `standard output does not block and is full: every byte arrives`() async throws {
    await #expect(processExitsWith: .success) {
      let reader = replace(STDOUT_FILENO)
      _ = fcntl(STDOUT_FILENO, F_SETFL, O_NONBLOCK)
      let received = Thread.received(from: reader)
      let text = String(repeating: "0123456789", count: 100_000)
      StandardOutput.write(text)
      StandardOutput.write("end\n")
      close(STDOUT_FILENO)
      // Compared here: the testing library would look for the difference of a million elements.
      let isWhole = received() == Array((text + "end\n").utf8)
      #expect(isWhole)
      #expect(StandardOutput.failure == nil && !StandardOutput.hasNoReader)
    }
    try Evidence.add(.limits, observed: "1,000,004 bytes through a pipe with O_NONBLOCK and a slow reader")
  }

  @Test func `the reader of standard output goes away: no error is reported`() async throws {
    await #expect(processExitsWith: .success) {
      signal(SIGPIPE, SIG_IGN)
      close(replace(STDOUT_FILENO))
      StandardOutput.write("text")
      StandardOutput.write("text")
      #expect(StandardOutput.failure == nil && StandardOutput.hasNoReader)
    }
    try Evidence.add(.limits, observed: "EPIPE is kept apart from the errors")
  }

  @Test func `the three streams are closed: no file gets their numbers, and writing fails as before`() async throws {
    await #expect(processExitsWith: .success) {
      for number in STDIN_FILENO...STDERR_FILENO { close(number) }
      StandardStreams.occupy()
      let file = open("/dev/null", O_RDONLY)
      StandardOutput.write("text")
      StandardError.write("text")
      let isRefused =
        StandardOutput.failure?.status == .inputOutput
        && "\(StandardOutput.failure?.message ?? "")".hasSuffix("Bad file descriptor")
      exit(file > STDERR_FILENO && isRefused && write(STDERR_FILENO, "x", 1) < 0 ? EXIT_SUCCESS : EXIT_FAILURE)
    }
    try Evidence.add(.limits, observed: "the next file is number 3; standard output: Bad file descriptor")
  }
}

/// Puts a pipe in the place of a stream, and returns its other end, which does not block.
private func replace(_ stream: Int32) -> Int32 {
  var ends: [Int32] = [-1, -1]
  pipe(&ends)
  dup2(ends[1], stream)
  close(ends[1])
  _ = fcntl(ends[0], F_SETFL, O_NONBLOCK)
  return ends[0]
}

extension Thread {
  /// Reads slowly, in a thread, to the end of the file; the result waits for it.
  fileprivate static func received(from descriptor: Int32) -> () -> [UInt8] {
    let end = DispatchSemaphore(value: 0)
    nonisolated(unsafe) var all: [UInt8] = []
    _ = fcntl(descriptor, F_SETFL, 0)
    detachNewThread {
      var bytes = [UInt8](repeating: 0, count: 1 << 16)
      while case let count = read(descriptor, &bytes, bytes.count), count > 0 {
        all += bytes[..<count]
        usleep(2000)
      }
      end.signal()
    }
    return {
      end.wait()
      return all
    }
  }
}
