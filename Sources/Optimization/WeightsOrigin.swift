/// Where the first weights of a run are from, if they were not drawn from its seed.
public struct WeightsOrigin: Sendable, Equatable {
  /// As it was given. A checkpoint does not record it: paths of this host are not part of a model.
  public var path: String?
  /// The run and the step that they were trained in; nil if the file does not say.
  public var run: String?
  public var step: UInt64?
  /// Of the weights as they were found, `weightsSHA256`.
  public var weightsSHA256: String

  public init(path: String?, run: String?, step: UInt64?, weightsSHA256: String) {
    (self.path, self.run, self.step, self.weightsSHA256) = (path, run, step, weightsSHA256)
  }

  /// "run 20261126-072643-f842ac, step 1044, sha256 d7d8…".
  public var phrase: String {
    let place = [run.map { "run \($0)" }, step.map { "step \($0)" }].compactMap(\.self).joined(separator: ", ")
    return (place.isEmpty ? "a model file" : place) + ", sha256 \(weightsSHA256)"
  }
}
