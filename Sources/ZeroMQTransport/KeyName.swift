import Messaging

/// The name that a key stands under in the allow-list. It begins with the role that the key's owner may play:
/// `coordinator`, of which a run has one, `server` for its first server and `server-1` … for others, `worker` or
/// `worker-NAME`, `observer` or `observer-NAME`.
public struct KeyName: Sendable, Hashable, Comparable, CustomStringConvertible {
  public static let longest = 64
  public static let expectation = "coordinator, server, server-NUMBER, worker, worker-NAME, observer or observer-NAME"

  public let description: String
  public let role: NodeRole

  /// Nil for anything else. NAME consists of letters, digits, `.`, `_` and `-`: it becomes the name of a file.
  public init?(_ text: some StringProtocol) {
    let parts = text.split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
    guard text.utf8.count <= Self.longest,
      let role = NodeRole.allCases.first(where: { $0.description == parts[0] })
    else { return nil }
    if parts.count > 1, role == .server {
      guard let index = UInt8(parts[1]), index > 0, "\(index)" == parts[1] else { return nil }
    } else if parts.count > 1 {
      guard role == .worker || role == .observer, !parts[1].isEmpty, parts[1].utf8.allSatisfy(Self.isPlain)
      else { return nil }
    }
    self.role = role
    description = String(text)
  }

  public static let coordinator = KeyName(role: .coordinator, description: "coordinator")

  public static func server(_ index: ServerIndex) -> KeyName {
    KeyName(role: .server, description: index == .first ? "server" : "server-\(index)")
  }

  private init(role: NodeRole, description: String) {
    self.role = role
    self.description = description
  }

  private static func isPlain(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
      UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"):
      true
    default: false
    }
  }

  /// As people count: worker-2 before worker-10.
  public static func < (a: Self, b: Self) -> Bool {
    (a.role.rawValue, a.description.utf8.count, a.description) < (
      b.role.rawValue, b.description.utf8.count, b.description
    )
  }
}
