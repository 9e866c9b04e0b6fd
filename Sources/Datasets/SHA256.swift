import CNettle
import Diagnostics
import Glibc

/// SHA-256 (FIPS 180-4) as Nettle computes it, with the processor's instructions for it where there are any; all at once
/// or in pieces.
public struct SHA256: Sendable {
  private var state = sha256_ctx()

  public init() { nettle_sha256_init(&state) }

  /// Appends bytes to what has been hashed so far.
  public mutating func update(_ bytes: UnsafeRawBufferPointer) {
    guard let base = bytes.baseAddress else { return }
    nettle_sha256_update(&state, bytes.count, base.assumingMemoryBound(to: UInt8.self))
  }

  /// The 32 bytes of the digest of everything that was appended.
  public consuming func digest() -> [UInt8] {
    var digest = [UInt8](repeating: 0, count: Int(SHA256_DIGEST_SIZE))
    descent_sha256_digest(&state, &digest)
    return digest
  }

  /// The digest as 64 lower-case hexadecimal digits, as `sha256sum` prints it.
  public consuming func hexDigest() -> String {
    let digits = Array("0123456789abcdef".utf8)
    return String(decoding: digest().flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
  }

  /// The digest of a buffer as 64 lower-case hexadecimal digits.
  public static func hexDigest(of bytes: UnsafeRawBufferPointer) -> String {
    var hash = SHA256()
    hash.update(bytes)
    return hash.hexDigest()
  }

  /// The digest of a file as 64 lower-case hexadecimal digits. Reads in pieces of 1 MiB.
  ///
  /// - Throws: `.missingInput` if the file cannot be opened, `.inputOutput` if reading fails.
  public static func hexDigest(ofFile path: String) throws(Failure) -> String {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw .unreadable(path) }
    defer { close(descriptor) }
    var hash = SHA256()
    let piece = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 64)
    defer { piece.deallocate() }
    while true {
      let count = read(descriptor, piece.baseAddress, piece.count)
      if count == 0 { return hash.hexDigest() }
      if count > 0 {
        hash.update(UnsafeRawBufferPointer(rebasing: piece[..<count]))
      } else if errno != EINTR {
        throw Failure(.inputOutput, "reading \(path) failed", found: systemErrorText())
      }
    }
  }
}
