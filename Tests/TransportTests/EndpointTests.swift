import Diagnostics
import Testing
import Transport

@Suite struct EndpointTests {
  @Test(arguments: [
    "ipc:///run/user/1000/descent-x/server", "tcp://127.0.0.1:5555", "tcp://127.0.0.1:*", "tcp://[::1]:5555",
  ])
  func `reads back as it was written`(text: String) throws {
    #expect(try Endpoint(parsing: text).description == text)
  }

  @Test(arguments: [
    "", "ipc://", "tcp://", "tcp://host", "tcp://:5555", "tcp://host:0", "tcp://host:65536", "udp://h:1",
  ])
  func `refuses what is no address`(text: String) {
    #expect { try Endpoint(parsing: text) } throws: { ($0 as? Failure)?.status == .badConfiguration }
  }

  @Test func `refuses a socket path that the kernel would cut off`() throws {
    let longest = "/" + String(repeating: "x", count: 106)
    #expect(try Endpoint(socketPath: longest) == .ipc(path: longest))
    #expect { try Endpoint(socketPath: longest + "x") } throws: { error in
      guard let failure = error as? Failure else { return false }
      return failure.status == .badConfiguration && failure.message.hasSuffix("at most 107 bytes, but has 108")
    }
  }
}
