import Glibc

/// A TCP connection to loopback that says what it likes.
public final class RawConnection {
  private let descriptor: Int32

  /// - Parameter endpoint: `tcp://127.0.0.1:PORT`.
  public init?(to endpoint: String) {
    guard let port = endpoint.split(separator: ":").last.flatMap({ UInt16($0) }) else { return nil }
    descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { return nil }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    let status = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    guard status == 0 else {
      close(descriptor)
      return nil
    }
  }

  deinit { close(descriptor) }

  /// What the other end has closed takes nothing more, which is no error here.
  public func send(_ bytes: [UInt8]) {
    _ = Glibc.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL))
  }

  /// Whether the other end closes the connection within that time. What it says before is thrown away.
  public func isClosed(withinMilliseconds limit: Int) -> Bool {
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    let deadline = now.milliseconds + limit
    var buffer = [UInt8](repeating: 0, count: 4096)
    while now.milliseconds < deadline {
      var item = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
      if poll(&item, 1, Int32(deadline - now.milliseconds)) > 0, recv(descriptor, &buffer, buffer.count, 0) <= 0 {
        return true
      }
      clock_gettime(CLOCK_MONOTONIC, &now)
    }
    return false
  }
}

extension timespec {
  fileprivate var milliseconds: Int { tv_sec * 1000 + tv_nsec / 1_000_000 }
}

/// What is said on such connections.
public enum Greeting {
  private static let signature: [UInt8] = [0xFF, 0, 0, 0, 0, 0, 0, 0, 0, 0x7F]

  /// ZMTP 1.0: an identity of so many bytes, then whole messages, without any handshake.
  public static func version1(identity: [UInt8], frames: [[UInt8]]) -> [UInt8] {
    func frame(_ bytes: [UInt8], more: Bool) -> [UInt8] {
      let length = bytes.count + 1
      let header: [UInt8] =
        length < 255 ? [UInt8(length)] : [0xFF] + withUnsafeBytes(of: UInt64(length).bigEndian) { Array($0) }
      return header + [more ? 1 : 0] + bytes
    }
    return frame(identity, more: false)
      + frames.enumerated().flatMap { frame($1, more: $0 < frames.count - 1) }
  }

  /// ZMTP 2.0 of a DEALER.
  public static func version2(identity: [UInt8], frames: [[UInt8]]) -> [UInt8] {
    func frame(_ bytes: [UInt8], more: Bool) -> [UInt8] {
      let flags: UInt8 = (more ? 1 : 0) | (bytes.count > 255 ? 2 : 0)
      let length: [UInt8] =
        bytes.count > 255 ? withUnsafeBytes(of: UInt64(bytes.count).bigEndian) { Array($0) } : [UInt8(bytes.count)]
      return [flags] + length + bytes
    }
    return signature + [1, 5] + frame(identity, more: false)
      + frames.enumerated().flatMap { frame($1, more: $0 < frames.count - 1) }
  }

  /// ZMTP 3.0 up to where the handshake of the mechanism begins.
  public static func version3(mechanism: String) -> [UInt8] {
    let name = Array(mechanism.utf8)
    return signature + [3, 0] + name + [UInt8](repeating: 0, count: 20 - name.count + 32)
  }

  /// The head of a command of that length.
  public static func command(claiming length: UInt64) -> [UInt8] {
    [6] + withUnsafeBytes(of: length.bigEndian) { Array($0) }
  }

  /// A connection that has begun to speak and stops in the middle.
  public static let half: [UInt8] = Array(signature.prefix(5))
}
