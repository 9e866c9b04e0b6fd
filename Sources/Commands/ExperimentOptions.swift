import ArgumentParser
import Diagnostics
import Pictures
import RunConfiguration

/// How an experiment shows its result.
struct ResultOptions: ParsableArguments {
  @Flag(help: "Print JSON.") var json = false
  @Option(
    help: ArgumentHelp("Write a picture of the result to this file, .svg or .png.", valueName: "file"),
    completion: .file(extensions: ["svg", "png"]))
  var picture: String?

  /// Finds out before the work whether the picture can be written.
  func requirePlace() throws(Failure) {
    if let picture { try Figure.checkPath(picture) }
  }

  /// Writes the picture, if there is to be one, and prints the result.
  func show(json value: JSONValue, text: String, figure: @autoclosure () -> Figure) throws(Failure) {
    if let picture { try figure().write(to: picture) }
    print(json ? value.indentedText : text, terminator: "")
  }
}

/// Units of hidden layers, as the setting `hidden` accepts them.
struct HiddenLayers: ExpressibleByArgument {
  let units: [Int]

  init(_ units: [Int]) { self.units = units }

  init?(argument: String) {
    guard let settings = try? ResolvedSettings.resolve(only: ["hidden"], flags: [("hidden", argument)]) else {
      return nil
    }
    self.init(settings.hidden)
  }

  var defaultValueDescription: String { units.isEmpty ? "0" : units.map(String.init).joined(separator: ",") }
}
