import Diagnostics
import Glibc
import Messaging

/// The keys of a process and the allow-list of its peers. Holds the lock on its key file while it lives.
public final class Credentials: Sendable {
  public let name: KeyName
  let keys: KeyPair
  let access: AccessList
  private let file: ProtectedFile

  /// - Throws: `badConfiguration` if the allow-list knows another key under this name.
  init(name: KeyName, keys: KeyPair, access: AccessList, file: ProtectedFile) throws(Failure) {
    self.name = name
    self.keys = keys
    self.access = access
    self.file = file
    if let listed = access.list.key(of: name), listed != keys.publicKey {
      throw Failure(
        .badConfiguration, "\(access.path) has another key for \(name) than \(file.path)",
        found: "fingerprint \(listed.fingerprint)", expected: keys.publicKey.fingerprint)
    }
    // A core file would hold the secret key.
    var none = rlimit(rlim_cur: 0, rlim_max: 0)
    setrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &none)
  }

  public var fingerprint: String { keys.publicKey.fingerprint }

  /// The key that a node must prove to hold.
  func requireKey(of name: KeyName) throws(Failure) -> PublicKey {
    try access.list.requireKey(of: name, path: access.path)
  }
}

/// How a process authenticates its peers.
public enum ConnectionSecurity: Sendable {
  /// Not at all: every process that reaches the address is a peer. For Unix-domain sockets in a private directory and
  /// for loopback; for other addresses only where the user has insisted on it.
  case plaintext(beyondThisHost: Bool)
  /// CurveZMQ: all connections are encrypted, and both ends prove to hold a key that the other knows.
  case keys(Credentials)

  var credentials: Credentials? { if case .keys(let credentials) = self { credentials } else { nil } }
}

extension Endpoint {
  /// Refuses an address beyond this host without keys, because any process there could pass for a peer.
  ///
  /// - Throws: `badConfiguration`.
  public func requireProtection(by security: ConnectionSecurity) throws(Failure) {
    guard isBeyondThisHost, case .plaintext(beyondThisHost: false) = security else { return }
    throw Failure(
      .badConfiguration, "an address beyond this host needs keys", found: "\(self)",
      expected: "--keys DIR, or 127.0.0.1, ::1 or localhost",
      remedy: "Make keys with `descent keygen --output DIR`; Deploy/security.md says how to use them")
  }
}
