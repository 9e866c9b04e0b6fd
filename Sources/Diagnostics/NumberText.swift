/// All digits of `value` in lower case, leading zeros included: two for a byte, sixteen for a fingerprint.
package func hexadecimal(_ value: some FixedWidthInteger & UnsignedInteger) -> String {
  let digits = String(value, radix: 16)
  return String(repeating: "0", count: value.bitWidth / 4 - digits.utf8.count) + digits
}

/// FNV-1a, 64 bits (Fowler, Noll, Vo), of `bytes`: against accidents, not against forgery.
package func fnv1a(_ bytes: some Sequence<UInt8>) -> UInt64 {
  bytes.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
}

/// "45,000".
package func grouped(_ number: UInt64) -> String {
  var groups: [Substring] = []
  var rest = Substring(String(number))
  while rest.count > 3 {
    groups.insert(rest.suffix(3), at: 0)
    rest = rest.dropLast(3)
  }
  return ([rest] + groups).joined(separator: ",")
}
