import CSodium
import Diagnostics

/// SHA-256 (FIPS 180-4), as libsodium computes it.
public enum SHA256 {
  /// The digest as 64 lower-case hexadecimal digits, as `sha256sum` prints it.
  public static func hexDigest(of bytes: UnsafeRawBufferPointer) -> String {
    var digest = [UInt8](repeating: 0, count: Int(crypto_hash_sha256_BYTES))
    crypto_hash_sha256(&digest, bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), UInt64(bytes.count))
    return digest.map { hexadecimal($0) }.joined()
  }
}
