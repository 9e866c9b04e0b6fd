import Diagnostics
import Files
import Glibc
import Messaging
import TestSupport
import Testing
import Transport

@Suite struct KeyTests {
  @Test(arguments: [
    ("coordinator", NodeRole.coordinator), ("server", .server), ("server-1", .server), ("worker", .worker),
    ("worker-0", .worker),
    ("worker-rack_2.gpu-7", .worker), ("observer", .observer), ("observer-anna", .observer),
  ])
  func `a name begins with the role`(text: String, role: NodeRole) {
    #expect(KeyName(text)?.role == role)
    #expect(KeyName(text)?.description == text)
  }

  @Test(arguments: [
    "", "-", "Worker-0", "worker-", "worker/0", "worker-../x", "worker 0", "coordinator-2", "server-b", "server-0",
    "server-01", "server-256", "workers-1",
    "worker-é", "worker-" + String(repeating: "x", count: 58),
  ])
  func `what is no name is refused`(text: String) {
    #expect(KeyName(text) == nil)
  }

  @Test func `a server's name contains its index`() {
    #expect(KeyName.server(.first) == KeyName("server"))
    #expect(KeyName.server(ServerIndex(2)) == KeyName("server-2"))
  }

  @Test func `names are in the order of their numbers`() {
    let names = ["worker-10", "worker-2", "server", "worker", "coordinator"].compactMap { KeyName($0) }
    #expect(names.sorted().map(\.description) == ["coordinator", "server", "worker", "worker-2", "worker-10"])
  }

  @Test func `a public key reads back as it was written`() {
    let key = KeyPair.generate().publicKey
    #expect(PublicKey("\(key)") == key)
    #expect(key.fingerprint.count == 16)
    // The example of RFC 32 is too short for a key; the zero key and the highest one are known by heart.
    #expect(PublicKey(String(repeating: "0", count: 40)) != nil)
    for text in ["", "0", String(repeating: "#", count: 40), String(repeating: "\"", count: 40)] {
      #expect(PublicKey(text) == nil, "\(text)")
    }
  }

  // MARK: The directory

  private let directory = TemporaryDirectory()
  private var keys: KeyDirectory { KeyDirectory(path: directory.path) }
  private func generate(_ names: String...) throws { _ = try keys.generate(names.compactMap { KeyName($0) }) }

  private func mode(_ name: String) -> mode_t {
    var status = stat()
    return stat("\(directory.path)/\(name)", &status) == 0 ? status.st_mode & 0o777 : 0
  }

  /// The status and the text of the failure; nil if there is none.
  private func failure(_ body: () throws -> Void) -> Failure? {
    do { try body() } catch { return error as? Failure }
    return nil
  }

  @Test func `secret keys are for the owner alone, whatever the mask`() throws {
    try generate("coordinator", "worker-0")
    #expect(mode("coordinator.key") == 0o600)
    #expect(mode("worker-0.key") == 0o600)
    #expect(mode("worker-0.pub") == 0o644)
    #expect(mode("allow-list") == 0o644)
    #expect(try keys.allowList().entries.map(\.name.description) == ["coordinator", "worker-0"])
  }

  @Test func `keys are added and never overwritten`() throws {
    try generate("coordinator", "worker-0")
    let before = try keys.allowList().entries
    try generate("worker-1")
    #expect(try keys.allowList().entries.prefix(2) == before[...])
    #expect(failure { try generate("worker-2", "worker-0") }?.status == .cannotCreate)
    #expect(try keys.names().map(\.description) == ["coordinator", "worker-0", "worker-1"])
  }

  @Test(arguments: [0o640, 0o604, 0o644, 0o660])
  func `a secret key that others can reach is refused`(mode: Int) throws {
    try generate("worker-0")
    _ = try keys.take(for: .worker)
    chmod("\(directory.path)/worker-0.key", mode_t(mode))
    let failure = failure { _ = try keys.take(for: .worker) }
    #expect(failure?.status == .badConfiguration)
    #expect(failure?.message.contains("worker-0.key") == true)
    #expect(failure?.remedy?.contains("chmod 600") == true)
  }

  @Test(arguments: ["allow-list", ""])
  func `an allow-list that others can change is refused`(what: String) throws {
    try generate("worker-0")
    chmod("\(directory.path)/\(what)", what.isEmpty ? 0o777 : 0o666)
    #expect(failure { _ = try keys.take(for: .worker) }?.status == .badConfiguration)
  }

  @Test func `a key is taken by one process at a time and given back`() throws {
    try generate("worker-0", "worker-1", "server")
    let first = try keys.take(for: .worker)
    do {
      let second = try keys.take(for: .worker)
      #expect([first.name.description, second.name.description] == ["worker-0", "worker-1"])
      #expect(failure { _ = try keys.take(for: .worker) }?.status == .cannotCreate)
    }
    #expect(try keys.take(for: .worker).name.description == "worker-1")
    #expect(failure { _ = try keys.take(for: .worker, named: first.name) }?.status == .cannotCreate)
    #expect(try keys.take(for: .worker, named: KeyName("worker-1")).name.description == "worker-1")
    withExtendedLifetime(first) {}
  }

  /// As a process of another host leaves it that has died.
  private func leaveLease(_ name: String) throws {
    let file = try File("\(directory.path)/\(name).lease-1", for: .creating)
    var record = ProcessRecord(inode: try file.status().inode)
    (record.boot, record.host) = ("another", "another")
    try file.write(Array(record.line.utf8))
  }

  @Test func `a key that a process on another host had is free after its lease, and the wait is said`() throws {
    try generate("worker-0")
    try leaveLease("worker-0")
    var said: [String] = []
    let taken = try keys.take(for: .worker, lease: .milliseconds(400)) { said.append($0) }
    #expect(said == ["waiting for the lease of the key worker-0, up to 0.5 s"])
    let names = try FileSystem().entries(of: directory.path)
    #expect(names == ["allow-list", "worker-0.key", "worker-0.lease-2", "worker-0.pub"])
    withExtendedLifetime(taken) {}
  }

  @Test func `a key that may be in use on another host is passed over while there is a free one`() throws {
    try generate("worker-0", "worker-1")
    try leaveLease("worker-0")
    let taken = try keys.take(for: .worker) { Issue.record("it waits: \($0)") }
    #expect(taken.name.description == "worker-1")
  }

  @Test func `looking at the keys reserves none`() throws {
    try generate("worker-0")
    try leaveLease("worker-0")
    _ = try keys.take(for: .worker, lease: nil) { Issue.record("it waits: \($0)") }
    let names = try FileSystem().entries(of: directory.path)
    #expect(names == ["allow-list", "worker-0.key", "worker-0.lease-1", "worker-0.pub"])
  }

  @Test func `a key is given back although something still holds it: its lease names no process`() throws {
    try generate("worker-0")
    let taken = try keys.take(for: .worker)
    taken.release()
    #expect(try FileSystem().text(of: "\(directory.path)/worker-0.lease-1").hasPrefix("released\n"))
    withExtendedLifetime(taken) {}
  }

  @Test func `observers share their key`() throws {
    try generate("observer")
    let first = try keys.take(for: .observer)
    #expect(try keys.take(for: .observer).fingerprint == first.fingerprint)
  }

  @Test func `what is missing is named`() throws {
    #expect(failure { _ = try KeyDirectory(path: "/nowhere").take(for: .server) }?.status == .missingInput)
    try generate("worker-0")
    let missing = failure { _ = try keys.take(for: .server) }
    #expect(missing?.status == .missingInput)
    #expect(missing?.found == "worker-0.key")
    #expect(failure { _ = try keys.take(for: .server, named: KeyName("worker-0")) }?.status == .badConfiguration)
  }

  @Test func `a damaged key and one that the list contradicts are refused`() throws {
    try generate("worker-0", "server")
    let path = "\(directory.path)/worker-0.key"
    let file = try #require(fopen(path, "w"))
    fputs("public \(KeyPair.generate().publicKey)\nsecret \(KeyPair.generate().secretText)\n", file)
    fclose(file)
    #expect(failure { _ = try keys.take(for: .worker) }?.status == .badData)
    let whole = KeyPair.generate()
    let again = try #require(fopen(path, "w"))
    fputs("public \(whole.publicKey)\nsecret \(whole.secretText)\n", again)
    fclose(again)
    #expect(failure { _ = try keys.take(for: .worker) }?.status == .badConfiguration)
  }

  // MARK: As platforms deliver them

  /// Rewrites every file of the directory.
  private func rewrite(_ change: (String) -> String) throws {
    for name in try FileSystem().entries(of: directory.path) {
      let path = "\(directory.path)/\(name)"
      let text = try FileSystem().text(of: path)
      try FileSystem().replace(path, with: change(text), permissions: name.hasSuffix(".key") ? 0o600 : 0o644)
    }
  }

  @Test(arguments: ["\r\n", "byte order mark", "no end of the last line", "blank lines at the end", "tabs"])
  func `keys and an allow-list as editors and secret stores leave them: taken`(_ what: String) throws {
    try generate("worker-0", "server")
    let listed = try keys.allowList().entries
    try rewrite { text in
      switch what {
      case "\r\n": text.replacing("\n", with: "\r\n")
      case "byte order mark": "\u{FEFF}" + text
      case "tabs": text.replacing(" ", with: "\t")
      case "blank lines at the end": text + "\n\n"
      default: String(text.dropLast())
      }
    }
    let key = try keys.take(for: .worker)
    #expect(key.fingerprint == listed[0].key.fingerprint)
    #expect(try keys.allowList().entries == listed)
    try Evidence.add(
      .addresses, what == "\r\n" ? "carriage returns" : what, observed: "\(key.name) is taken")
  }

  @Test
  func `keys behind the links of a Kubernetes secret: taken`()
    throws
  {
    try generate("worker-0", "server")
    let listed = try keys.allowList().entries
    let secret = TemporaryDirectory()
    let files = FileSystem()
    try files.makeDirectory("\(secret.path)/..2026", permissions: 0o755)
    for name in try files.entries(of: directory.path) {
      try files.rename("\(directory.path)/\(name)", to: "\(secret.path)/..2026/\(name)")
      try files.makeSymbolicLink("\(secret.path)/\(name)", target: "..data/\(name)")
    }
    try files.makeSymbolicLink("\(secret.path)/..data", target: "..2026")
    chmod(secret.path, 0o1777)
    let mounted = KeyDirectory(path: secret.path)
    #expect(try mounted.take(for: .worker).fingerprint == listed[0].key.fingerprint)
    #expect(try mounted.allowList().entries == listed)
    #expect(try mounted.names().map(\.description) == ["server", "worker-0"])
    try Evidence.add(.addresses, observed: "worker-0 is taken")
  }

  @Test(arguments: [
    ("a user's own, 0600", 1000, 0o600, 1000, false, true), ("a user's own, 0400", 1000, 0o400, 1000, false, true),
    ("a user's own, 0640", 1000, 0o640, 1000, false, false),
    ("a user's own, 0640, read-only", 1000, 0o640, 1000, true, false),
    ("Kubernetes fsGroup, 0440", 0, 0o440, 1000, true, true), ("Kubernetes fsGroup, 0640", 0, 0o640, 1000, true, true),
    ("Kubernetes fsGroup, 0440, in a pod of root", 0, 0o440, 0, true, true),
    ("Kubernetes without fsGroup, 0644", 0, 0o644, 1000, true, false),
    ("systemd with an access list, 0440", 0, 0o440, 61_000, true, true),
    ("systemd for root, 0400", 0, 0o400, 0, true, true),
    ("Docker, 0444", 0, 0o444, 1000, true, false), ("Docker, 0444, as root", 0, 0o444, 0, true, false),
    ("root's on a disk, 0440, as root", 0, 0o440, 0, false, false), ("root's, 0660", 0, 0o660, 1000, false, false),
  ])
  func `a secret key by owner, mode and user: for its user alone, or given by root to a group`(
    _ what: String, _ owner: UInt32, _ mode: UInt32, _ user: UInt32, _ isReadOnly: Bool, _ isAccepted: Bool
  ) throws {
    let forbidden = File.forbiddenPermissions(.secret, owner: owner, user: user, isFixed: isReadOnly)
    #expect((mode & forbidden == 0) == isAccepted)
    try Evidence.add(.addresses, what, observed: mode & forbidden == 0 ? "accepted" : "refused")
  }

  // MARK: The allow-list

  private func list(_ text: String) throws -> AllowList { try AllowList(text: text, path: "allow-list") }

  @Test func `comments and blanks mean nothing`() throws {
    let key = KeyPair.generate().publicKey
    let list = try list("# who\n\n  worker-0 \t \(key)  \r\n#worker-1 x\n")
    #expect(list.entries.map(\.line) == ["worker-0 \(key)"])
  }

  @Test func `what is no list is refused with its line`() throws {
    let key = KeyPair.generate().publicKey
    let other = KeyPair.generate().publicKey
    for text in [
      "worker-0", "worker-0 short", "nobody \(key)", "worker-0 \(key) more", "worker-0 \(key)\nworker-0 \(other)",
      "worker-0 \(key)\nworker-1 \(key)",
    ] {
      let failure = failure { _ = try list("# first\n" + text) }
      #expect(failure?.status == .badConfiguration, "\(text)")
      #expect(failure?.message.hasPrefix("allow-list:") == true, "\(text)")
    }
    let many = (0...AllowList.maximumEntries).map { "worker-\($0) \(KeyPair.generate().publicKey)\n" }.joined()
    #expect(failure { _ = try list(many) }?.status == .badConfiguration)
  }
}
