/// All digits of `value` in lower case, leading zeros included: two for a byte, sixteen for a fingerprint.
package func hexadecimal(_ value: some FixedWidthInteger & UnsignedInteger) -> String {
  let digits = String(value, radix: 16)
  return String(repeating: "0", count: value.bitWidth / 4 - digits.utf8.count) + digits
}
