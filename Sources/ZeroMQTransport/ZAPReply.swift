/// The reply to a request of the ZeroMQ Authentication Protocol (RFC 27).
package struct ZAPReply {
  /// Version, request id, status code, status text, user id, metadata. libzmq attaches the user id, a line of the
  /// allow-list, to every message of the connection.
  package let frames: [[UInt8]]
  /// The key of the request, if it is not on the allow-list.
  package let refusedKey: [UInt8]?

  /// - Parameters:
  ///   - request: version, request id, domain, address, identity, mechanism, credentials; anything else gets status 500.
  ///   - entry: looks up a key in the allow-list.
  package init(to request: [[UInt8]], domain: String, entry: ([UInt8]) -> AllowList.Entry?) {
    let version = Array("1.0".utf8)
    func reply(_ status: String, _ text: String, user: String = "") -> [[UInt8]] {
      [version, request.count > 1 ? request[1] : [], Array(status.utf8), Array(text.utf8), Array(user.utf8), []]
    }
    guard request.count == 7, request[0] == version, request[2] == Array(domain.utf8),
      request[5] == Array("CURVE".utf8),  // defence: mechanism
      request[6].count == PublicKey.byteCount
    else {
      frames = reply("500", "not a request for a CURVE key")
      refusedKey = nil
      return
    }
    if let entry = entry(request[6]) {
      frames = reply("200", "OK", user: entry.line)
      refusedKey = nil
    } else {
      frames = reply("400", "unknown key")
      refusedKey = request[6]
    }
  }
}
