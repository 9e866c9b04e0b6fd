import Diagnostics
import Foundation
import Messaging
import TestSupport
import Testing
import Transport

/// What the system refuses while messages are exchanged.
@Suite("Refused resources") struct RefusedResourcesTests {
  @Test func `shared memory is refused to a worker: messages go through sockets, and that is said once`() async throws {
    await #expect(processExitsWith: .success) {
      // memfd_create and ftruncate: a region may not be larger than a file.
      signal(SIGXFSZ, SIG_IGN)
      var limit = rlimit(rlim_cur: 4096, rlim_max: 4096)
      setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit)
      #expect(throws: Failure.self) { try MemoryChannels(weightsByteCount: 123_000, count: 6) }
      var reports: [String] = []
      let (server, worker) = try connected { reports.append($0.description) }
      #expect(worker.gradients == nil)
      for _ in 0..<3 {
        worker.send(.requestWork, to: .server(.first), addressing)
        #expect(nextMessage(server)?.0.type == .requestWork)
      }
      #expect(reports.count == 1 && reports[0].contains("File too large"))
      server.close()
      worker.close()
    }
    try Evidence.add(
      .limits, observed: "3 of 3 messages arrive; one warning: cannot create shared memory: File too large")
  }

  @Test func `a server shares no memory: its worker stops offering some`() throws {
    let (server, worker) = try connected()
    defer {
      server.close()
      worker.close()
    }
    for _ in 0..<40 {
      worker.send(.requestWork, to: .server(.first), addressing)
      #expect(nextMessage(server)?.0.type == .requestWork)
      // Its queue counts a message as sent once the socket is polled.
      worker.wait(for: [], until: .now)
    }
    #expect(worker.counters.sent == 40 + 16)
  }

  @Test func `a connection comes when no descriptor is left: it waits, and the process continues`() async throws {
    await #expect(processExitsWith: .success) {
      let pair = try Pair(.ipc)
      pair.worker.send(.requestWork, to: .server(.first), addressing)
      #expect(nextMessage(pair.server)?.0.type == .requestWork)
      let path = String(pair.endpoint.dropFirst("ipc://".count))
      let client = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
      let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
      var limit = rlimit()
      getrlimit(resource, &limit)
      let usual = limit
      limit.rlim_cur = 128
      setrlimit(resource, &limit)
      // Every number below is taken.
      while dup(client) >= 0 {}
      var address = sockaddr_un()
      address.sun_family = sa_family_t(AF_UNIX)
      withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
      let status = withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          connect(client, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
        }
      }
      #expect(status == 0)
      var greeting = [UInt8](repeating: 0, count: 10)
      #expect(recv(client, &greeting, 1, Int32(MSG_DONTWAIT)) < 0)
      usleep(100_000)
      pair.worker.send(.requestWork, to: .server(.first), addressing)
      #expect(nextMessage(pair.server)?.0.type == .requestWork)
      var restored = usual
      setrlimit(resource, &restored)
      var time = timeval(tv_sec: 10, tv_usec: 0)
      setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &time, socklen_t(MemoryLayout<timeval>.size))
      // The greeting of ZMTP.
      #expect(recv(client, &greeting, 10, 0) > 0 && greeting[0] == 0xFF)
      pair.close()
    }
    try Evidence.add(
      .limits, observed: "messages of others pass meanwhile; the connection is accepted once the limit is raised")
  }
}

/// A server without memory, and a worker that would share some.
private func connected(
  memoryFailed: @escaping (Failure) -> Void = { _ in }
) throws -> (server: NodeTransport, worker: NodeTransport) {
  let context = try MessagingContext()
  let server = NodeTransport(role: .server, incarnation: Pair.serverIncarnation, context: context)
  let worker = NodeTransport(role: .worker, incarnation: Pair.workerIncarnation, context: context)
  worker.memoryFailed = memoryFailed
  let path = TemporaryDirectory.untilExit().path + "/server"
  try worker.connectToServer(Endpoint(parsing: server.listen(at: Endpoint(socketPath: path))), sharingMemory: 123_000)
  return (server, worker)
}
