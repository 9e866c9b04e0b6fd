import ArgumentParser
import Diagnostics
import FoundationEssentials
import Transport

struct KeygenCommand: Subcommand {
  static let configuration = CommandConfiguration(
    commandName: "keygen", abstract: "Make the keys by which the processes of a run know each other.",
    discussion: """
      Examples:
        descent keygen --output keys
        descent keygen --output keys --names coordinator,server,worker-0,worker-1,observer
        descent keygen --output keys --names worker-2

      A directory of keys holds the secret key NAME.key of each process, for its user alone; its public line NAME.pub; \
      and the allow-list, which lists the processes that may join. What a process may do follows from its name: coordinator, \
      server, worker or worker-NAME, observer or observer-NAME (may ask for the status). Keys are added to a \
      directory that is there, and never overwritten.

      Another host needs the allow-list and the secret keys of its own processes, and nothing else.
      """)

  @Option(help: "Directory to make, or to add to.", completion: .directory) var output: String
  @Option(help: "Names of the keys, with commas between them.")
  var names = KeyDirectory.usualNames(workers: 2).map(\.description).joined(separator: ",")
  @Flag(help: "Print JSON.") var json = false

  func validate() throws {
    let parsed = try parsedNames()
    guard !parsed.isEmpty else { throw ValidationError("--names must name at least one key") }
    guard Set(parsed).count == parsed.count else { throw ValidationError("--names must name each key once") }
  }

  private func parsedNames() throws -> [KeyName] {
    try names.split(separator: ",").map { text in
      guard let name = KeyName(text) else {
        throw ValidationError("the name of a key must be \(KeyName.expectation), but is \"\(text.prefix(100))\"")
      }
      return name
    }
  }

  func perform() throws {
    let made = try KeyDirectory(path: output).generate(try parsedNames())
    if json {
      let keys = made.map { entry -> JSONValue in
        [
          "name": .string("\(entry.name)"), "public_key": .string("\(entry.key)"),
          "fingerprint": .string(entry.key.fingerprint),
        ]
      }
      print((["directory": .string(output), "keys": .array(keys)] as JSONValue).indentedText, terminator: "")
    } else {
      for entry in made { print("\(entry.name)  \(entry.key)  fingerprint \(entry.key.fingerprint)") }
    }
  }
}
