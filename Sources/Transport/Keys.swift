import CSodium
import CZeroMQ
import Files
import Messaging

/// A public key of CurveZMQ (RFC 26), a point of Curve25519, by which others know a process.
public struct PublicKey: Sendable, Hashable, CustomStringConvertible {
  public static let byteCount = 32
  /// Characters of its spelling in Z85 (RFC 32).
  public static let textCount = 40

  package let bytes: [UInt8]

  init(bytes: [UInt8]) {
    precondition(bytes.count == Self.byteCount, "a key has \(Self.byteCount) bytes")
    self.bytes = bytes
  }

  /// Nil for what is not Z85 of 32 bytes.
  public init?(_ text: some StringProtocol) {
    guard let bytes = Z85.decode(text) else { return nil }
    self.bytes = bytes
  }

  /// In Z85.
  public var description: String { Z85.encode(bytes) }

  /// Short enough to be compared by eye: the first eight bytes of the SHA-256 of the key, in hexadecimal.
  public var fingerprint: String { Self.fingerprint(of: bytes) }

  static func fingerprint(of bytes: [UInt8]) -> String {
    String(bytes.withUnsafeBytes { SHA256.hexDigest(of: $0) }.prefix(16))
  }

  /// Takes the same time whatever the difference.
  func isEqual(to other: [UInt8]) -> Bool {
    other.count == Self.byteCount && sodium_memcmp(bytes, other, Self.byteCount) == 0
  }
}

/// The long-term keys of one process. The memory of the secret one is wiped with the last holder.
///
/// They are made by libsodium and not by `zmq_curve_keypair`, which closes the random generator of a process that may
/// have a messaging context open (libzmq issue 4242).
public final class KeyPair: Sendable {
  public let publicKey: PublicKey
  /// Written by the initializer, and only read from then on.
  private nonisolated(unsafe) let secret: UnsafeMutableRawBufferPointer

  public static func generate() -> KeyPair {
    precondition(isLibraryReady, "libsodium could not be initialised")
    var publicBytes = [UInt8](repeating: 0, count: PublicKey.byteCount)
    var secretBytes = publicBytes
    crypto_box_keypair(&publicBytes, &secretBytes)
    defer { sodium_memzero(&secretBytes, secretBytes.count) }
    return KeyPair(publicKey: PublicKey(bytes: publicBytes), secretBytes: secretBytes)
  }

  private init(publicKey: PublicKey, secretBytes: [UInt8]) {
    self.publicKey = publicKey
    secret = .allocate(byteCount: PublicKey.byteCount, alignment: 16)
    secret.copyBytes(from: secretBytes)
  }

  deinit {
    sodium_memzero(secret.baseAddress, secret.count)
    secret.deallocate()
  }

  /// Nil if the text is not Z85, or the two are not halves of one pair.
  convenience init?(publicText: some StringProtocol, secretText: some StringProtocol) {
    precondition(Self.isLibraryReady, "libsodium could not be initialised")
    guard let publicKey = PublicKey(publicText), var secretBytes = Z85.decode(secretText) else { return nil }
    defer { sodium_memzero(&secretBytes, secretBytes.count) }
    var derived = [UInt8](repeating: 0, count: PublicKey.byteCount)
    guard crypto_scalarmult_base(&derived, secretBytes) == 0, publicKey.isEqual(to: derived) else { return nil }
    self.init(publicKey: publicKey, secretBytes: secretBytes)
  }

  /// For the file that the process keeps.
  package var secretText: String { Z85.encode(Array(secret)) }

  func withSecretBytes(_ body: (UnsafeRawBufferPointer) -> Void) { body(UnsafeRawBufferPointer(secret)) }

  static let isLibraryReady = sodium_init() >= 0
}

/// The spelling of keys that all tools of ZeroMQ use (RFC 32): five printable characters for four bytes.
private enum Z85 {
  static func encode(_ bytes: [UInt8]) -> String {
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: PublicKey.textCount + 1) { text in
      zmq_z85_encode(text.baseAddress, bytes, bytes.count)
      return String(cString: text.baseAddress.unsafelyUnwrapped)
    }
  }

  /// Nil for what is not the spelling of a key.
  static func decode(_ text: some StringProtocol) -> [UInt8]? {
    guard text.utf8.count == PublicKey.textCount, !text.utf8.contains(0) else { return nil }
    var bytes = [UInt8](repeating: 0, count: PublicKey.byteCount)
    return zmq_z85_decode(&bytes, String(text)) == nil ? nil : bytes
  }
}

/// The name that a key stands under in the allow-list. It begins with the role that the key's owner may play:
/// `coordinator`, of which a run has one, `server` for its first server and `server-1` … for others, `worker` or
/// `worker-NAME`, `observer` or `observer-NAME`.
public struct KeyName: Sendable, Hashable, Comparable, CustomStringConvertible {
  public static let longest = 64
  public static let expectation = "coordinator, server, server-NUMBER, worker, worker-NAME, observer or observer-NAME"

  public let description: String
  public let role: NodeRole

  public static let coordinator = KeyName(description: "coordinator", role: .coordinator)

  public static func server(_ index: ServerIndex) -> KeyName {
    KeyName(description: index == .first ? "server" : "server-\(index)", role: .server)
  }

  fileprivate static func isPlain(_ byte: UInt8) -> Bool {
    let scalar = Unicode.Scalar(byte)
    return ("0"..."9").contains(scalar) || ("a"..."z").contains(scalar) || ("A"..."Z").contains(scalar)
      || "._-".unicodeScalars.contains(scalar)
  }

  /// As people count: worker-2 before worker-10.
  public static func < (a: Self, b: Self) -> Bool {
    (a.role.rawValue, a.description.utf8.count, a.description) < (
      b.role.rawValue, b.description.utf8.count, b.description
    )
  }
}

extension KeyName {
  /// Made once: the name of a case is found by reflection, and the name of a key is read with every message.
  private static let roles = NodeRole.allCases.map { (name: "\($0)", role: $0) }

  /// Nil for anything but such a name. NAME consists of letters, digits, `.`, `_` and `-`: it becomes the name of a file.
  public init?(_ text: some StringProtocol) {
    let parts = text.split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
    guard text.utf8.count <= Self.longest,
      let role = Self.roles.first(where: { $0.name == parts[0] })?.role
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
}
