/// What is said to a request of the ZeroMQ Authentication Protocol (RFC 27).
package struct KeyAnswer {
  /// version, request, status, text, user, metadata. The user becomes the mark of every message of the connection: the
  /// line of the allow-list.
  package let frames: [[UInt8]]
  /// The key that was asked about, if nobody here knows it.
  package let refusedKey: [UInt8]?

  /// - Parameters:
  ///   - request: version, request, domain, address, identity, mechanism, credentials; anything else is answered with
  ///     status 500.
  ///   - entry: whose key it is, if it is anybody's.
  package init(to request: [[UInt8]], domain: String, whose entry: ([UInt8]) -> AllowList.Entry?) {
    let version = Array("1.0".utf8)
    func answer(_ status: String, _ text: String, user: String = "") -> [[UInt8]] {
      [version, request.count > 1 ? request[1] : [], Array(status.utf8), Array(text.utf8), Array(user.utf8), []]
    }
    guard request.count == 7, request[0] == version, request[2] == Array(domain.utf8),
      request[5] == Array("CURVE".utf8),  // defence: mechanism
      request[6].count == PublicKey.byteCount
    else {
      frames = answer("500", "not a request for a CURVE key")
      refusedKey = nil
      return
    }
    if let entry = entry(request[6]) {
      frames = answer("200", "OK", user: entry.line)
      refusedKey = nil
    } else {
      frames = answer("400", "unknown key")
      refusedKey = request[6]
    }
  }
}
