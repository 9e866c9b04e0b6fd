import CSodium
import CZeroMQ
import Files

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

/// The secret half of a key pair. Its memory is wiped when the last holder lets go of it.
final class SecretKey: Sendable {
  /// Written once, here, and only read from then on.
  private nonisolated(unsafe) let memory: UnsafeMutableRawBufferPointer

  init(bytes: [UInt8]) {
    precondition(bytes.count == PublicKey.byteCount, "a key has \(PublicKey.byteCount) bytes")
    memory = .allocate(byteCount: PublicKey.byteCount, alignment: 16)
    memory.copyBytes(from: bytes)
  }

  deinit {
    sodium_memzero(memory.baseAddress, memory.count)
    memory.deallocate()
  }

  func withBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result { body(UnsafeRawBufferPointer(memory)) }
}

/// The long-term keys of one process.
///
/// They are made by libsodium and not by `zmq_curve_keypair`, which closes the random generator of a process that may
/// have a messaging context open (libzmq issue 4242).
public struct KeyPair: Sendable {
  public let publicKey: PublicKey
  let secretKey: SecretKey

  public static func generate() -> KeyPair {
    precondition(isLibraryReady, "libsodium could not be initialised")
    var publicBytes = [UInt8](repeating: 0, count: PublicKey.byteCount)
    var secretBytes = publicBytes
    crypto_box_keypair(&publicBytes, &secretBytes)
    defer { sodium_memzero(&secretBytes, secretBytes.count) }
    return KeyPair(publicKey: PublicKey(bytes: publicBytes), secretKey: SecretKey(bytes: secretBytes))
  }

  private init(publicKey: PublicKey, secretKey: SecretKey) {
    self.publicKey = publicKey
    self.secretKey = secretKey
  }

  /// Nil if the text is not Z85, or the two are not halves of one pair.
  init?(publicText: some StringProtocol, secretText: some StringProtocol) {
    precondition(Self.isLibraryReady, "libsodium could not be initialised")
    guard let publicKey = PublicKey(publicText), var secretBytes = Z85.decode(secretText) else { return nil }
    defer { sodium_memzero(&secretBytes, secretBytes.count) }
    var derived = [UInt8](repeating: 0, count: PublicKey.byteCount)
    guard crypto_scalarmult_base(&derived, secretBytes) == 0, publicKey.isEqual(to: derived) else { return nil }
    self.init(publicKey: publicKey, secretKey: SecretKey(bytes: secretBytes))
  }

  /// For the file that the process keeps.
  package var secretText: String { secretKey.withBytes { Z85.encode(Array($0)) } }

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
